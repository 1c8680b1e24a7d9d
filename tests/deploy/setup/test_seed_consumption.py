"""A seed is taken whole or not yet, whatever moment the power goes, and it is gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import TESTS

from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice, render_seed
from vedette.deploy.setup import flow, services, staged_configuration
from vedette.deploy.setup.answers import read_seed_with_paths
from vedette.deploy.setup.seed_consumption import consume_seed
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.errors import Problem

V1 = TESTS / "bundles" / "v1"
PASSWORD, CAMERA_PASSWORD = "s3cret-of-broker", "s3cret of the camera"
STEPS = ("open", "write", "fsync", "replace", "rename", "link", "symlink", "unlink", "mkdir", "chmod", "chown")
"""Calls that change a disk or make a change last."""


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A boot partition with a seed and a bundle; the configuration will lie in `etc` beside it."""
    monkeypatch.setattr(staged_configuration, "_MEMORY", tmp_path)
    return write_card(tmp_path / "firmware")


def write_card(folder: Path, instance: str = "box7-1", **broker: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(V1 / "weave.vedette", folder / "weave.vedette")
    login = SeedBroker(**{"url": "mqtt://broker:1883", "username": "box7", "password": PASSWORD, **broker})
    camera = SeedCamera(
        name="door", source="rtsp://10.0.0.2/live", username="u", password=CAMERA_PASSWORD, bundle="weave.vedette"
    )
    keys = {"vedette.pub": (V1 / "vedette.pub").read_text()}
    seed = Seed(
        instance=instance, device=SeedDevice(name="box7", site="plant"), broker=login, cameras=(camera,), keys=keys
    )
    (folder / "vedette.seed").write_text(render_seed(seed))
    return folder


def consume(card: Path) -> str:
    folder = card.parent / "etc"
    seed = card / "vedette.seed"
    return consume_seed(seed, folder, read_seed_with_paths, lambda each: flow.apply_seed(each, folder))


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of all files, and what links name."""
    return {
        str(path.relative_to(folder)): (
            (str(path.readlink()).encode(), 0)
            if path.is_symlink()
            else (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def result(card: Path) -> str:
    return (card / "vedette.seed.result").read_text()


def test_a_seed_becomes_a_configuration_and_is_gone(card: Path) -> None:
    assert consume(card) == "ok: instance box7-1, device box7, cameras door"
    folder = card.parent / "etc"
    settings = load_config(folder, "door")
    assert (settings.device.name, settings.device.site, settings.source) == ("box7", "plant", "rtsp://10.0.0.2/live")
    assert read_secret(settings.broker.password_file, "") == PASSWORD
    assert read_secret(settings.password_file, "") == CAMERA_PASSWORD
    modes = {name: mode for name, (_, mode) in tree(folder).items()}
    assert {mode for name, mode in modes.items() if "secrets" in name} <= {0o600, 0o640}
    assert modes["vedette.toml"] == modes["cameras/door.toml"] == 0o644
    assert not (card / "vedette.seed").exists()
    assert result(card) == "ok: instance box7-1, device box7, cameras door\n"
    assert (card / "weave.vedette").exists(), "the bundle is no secret, and belongs to whoever made the card"


def test_the_seed_of_an_instance_is_taken_once(card: Path) -> None:
    consume(card)
    before = tree(card.parent / "etc")
    write_card(card)
    assert "was taken before, nothing changes" in consume(card)
    assert tree(card.parent / "etc") == before
    assert not (card / "vedette.seed").exists()
    write_card(card, url="mqtt://elsewhere:1883")
    with pytest.raises(Problem, match="another seed of the instance box7-1"):
        consume(card)
    assert tree(card.parent / "etc") == before
    assert result(card).startswith("failed: this box took another seed")
    write_card(card, instance="box7-2", url="mqtt://elsewhere:1883")
    assert consume(card).startswith("ok: instance box7-2,")
    assert load_config(card.parent / "etc", "door").broker.url == "mqtt://elsewhere:1883"
    assert b"broker:1883" in (card.parent / "etc" / "vedette.toml.bak").read_bytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace('"weave.vedette"', '"none.vedette"'), "none.vedette"),
        (lambda text: text.replace("[keys]", "[nokeys]"), "nokeys"),
        (lambda text: text[: text.index("[keys]")], "unknown key"),
        (lambda text: text.replace("[device]", '[device]\ntimezone = "Mars/Base"'), "Mars/Base"),
        (lambda text: text.replace("mqtt://broker", "http://broker"), "broker.url names no broker"),
        (lambda text: text.replace('bundle = "', 'rules = [{use = "presense"}]\nbundle = "'), "presense"),
        (lambda text: text.replace('"rtsp:', f'"{PASSWORD}:'), "source: unknown '…'"),
    ],
)
def test_a_wrong_seed_stays_and_says_why_without_secrets(card: Path, change: Callable[[str], str], reason: str) -> None:
    seed = card / "vedette.seed"
    changed = change(seed.read_text())
    assert changed != seed.read_text()
    seed.write_text(changed)
    with pytest.raises(Problem) as raised:
        consume(card)
    assert PASSWORD not in raised.value.message + raised.value.hint + result(card)
    assert seed.exists()
    assert reason in result(card)
    assert result(card).startswith("failed: ")
    assert result(card).count("\n") == 1
    assert not (card.parent / "etc").exists()


def test_units_are_enabled_before_the_seed_is_destroyed(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[object] = []
    monkeypatch.setattr(
        services, "enable_units", lambda cameras, _: order.append((cameras, (card / "vedette.seed").exists()))
    )
    consume(card)
    assert order == [(["door"], True)]


def test_each_file_is_synced_before_it_appears_and_its_folder_after(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a power cut, which loses what is not synced, finds what a killed process leaves."""
    happened: list[tuple[str, str]] = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "write")}

    def note(name: str) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **more: Any) -> Any:
            place = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
            happened.append((name, place))
            if name in ("replace", "rename"):
                happened.append(("appeared", str(arguments[0])))
            return real[name](target, *arguments, **more)

        return call

    for name in real:
        monkeypatch.setattr(os, name, note(name))
    consume(card)
    monkeypatch.undo()
    seed = str(card / "vedette.seed")
    destroyed = happened.index(("write", seed))
    appeared = [(place, path) for place, (what, path) in enumerate(happened) if what == "appeared"]
    assert len(appeared) >= 9
    for place, path in appeared:
        partial = happened[place - 1][1]
        assert Path(path).is_symlink() or ("fsync", partial) in happened[:place], path
        after = happened[place : destroyed if place < destroyed else None]
        assert ("fsync", str(Path(path).parent)) in after, path
    assert ("fsync", str(card / "vedette.seed.result")) in happened[:destroyed]
    assert happened.index(("fsync", seed)) < happened.index(("unlink", seed)), "overwritten on the disk, then removed"


class Killer:
    """Runs the consumption in a process that is killed at one of its steps."""

    def __init__(self, card: Path) -> None:
        self.card = card

    def run(self, step: int) -> bool:
        """Kills at that step, in the middle of it if it is a write; False if there are fewer steps."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._arm(step)
                consume(self.card)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"step {step}: {status}"
        return os.WIFSIGNALED(status)

    def _arm(self, step: int) -> None:
        left = step

        def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal left
                if left == 0:
                    if name == "write":
                        real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*arguments, **more)

            return call

        for name in STEPS:
            setattr(os, name, wrap(name, getattr(os, name)))


def check_invariant(card: Path, wanted: dict[str, tuple[bytes, int]], step: object) -> None:
    """Every file is there whole or not at all; once the seed is touched, all are there."""
    folder, seed = card.parent / "etc", card / "vedette.seed"
    there = tree(folder) if folder.exists() else {}
    for name, (content, _) in there.items():
        if ".part" not in name and name != "seeds.json":
            assert content == wanted[name][0], (step, name)
    if not seed.exists() or b"\0" in seed.read_bytes():
        assert {*wanted} <= {*there}, step
        assert result(card).startswith("ok"), step


def kill_and_repeat(card: Path, wanted: dict[str, tuple[bytes, int]], steps: Iterator[tuple[int, ...]]) -> int:
    """Kills at the steps of each row, one after the other, then lets it run; returns how many kills there were."""
    kills = 0
    for row in steps:
        shutil.rmtree(card.parent / "etc", ignore_errors=True)
        write_card(card)
        for step in row:
            if (card / "vedette.seed").exists():
                killed = Killer(card).run(step)
                kills += killed
                check_invariant(card, wanted, row)
                if not killed and len(row) == 1:
                    return kills
        if (card / "vedette.seed").exists():
            consume(card)
        found = tree(card.parent / "etc")
        found = {name: each for name, each in found.items() if name != "seeds.json" and not name.startswith(".seeds")}
        assert found == {name: each for name, each in wanted.items() if name != "seeds.json"}, row
        assert not (card / "vedette.seed").exists(), row
        assert result(card).startswith("ok"), row
    return kills


@pytest.fixture
def wanted(card: Path) -> dict[str, tuple[bytes, int]]:
    """The files of a consumption that nothing disturbs."""
    consume(card)
    return tree(card.parent / "etc")


@pytest.mark.slow
def test_killed_at_some_steps_it_is_complete_after_the_next_start(card: Path, wanted: Any) -> None:
    assert kill_and_repeat(card, wanted, iter((step,) for step in range(3, 1000, 13))) >= 5


@pytest.mark.slow
def test_kill_seed_consumption(card: Path, wanted: Any, record_proof: Callable[..., None]) -> None:
    """At every step, and again at every eighth step after each twelfth."""
    kills = kill_and_repeat(card, wanted, iter((step,) for step in range(1000)))
    rows = iter((first, second) for first in range(0, kills, 12) for second in range(0, kills, 8))
    twice = kill_and_repeat(card, wanted, rows)
    record_proof(kills + twice, 0, steps=kills)
    assert kills >= 50
