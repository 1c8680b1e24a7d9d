"""Files keep what nobody asked for, replace nothing without a trace, and say the same on a second run."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest
from altered_bundles import sign_altered
from paths import TESTS

from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice
from vedette.deploy.setup.answers import Flags, collect_answers
from vedette.deploy.setup.configuration_files import plan_files, render_toml
from vedette.deploy.setup.durable_files import PlannedFile, write_file
from vedette.deploy.setup.flow import describe_difference, write_files
from vedette.deploy.setup.services import start_units
from vedette.runtime.bundle import keys
from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.credential_warnings import list_warnings
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import ProbationRecord

V1 = TESTS / "bundles" / "v1"


def make_seed(**broker: str) -> Seed:
    camera = SeedCamera(name="door", source="v4l2:/dev/video0", bundle=str(V1 / "weave.vedette"))
    pub = (V1 / "vedette.pub").read_text()
    login = SeedBroker(**{"url": "mqtts://b:8883", "username": "u", "password": "p", **broker})
    return Seed(device=SeedDevice(name="box"), broker=login, cameras=(camera,), keys={"vedette.pub": pub})


def write(seed: Seed, folder: Path) -> dict[str, str]:
    return {str(Path(each.path).relative_to(folder)): each.action for each in write_files(plan_files(seed, folder))}


def test_written_files_are_read_by_the_daemon_without_a_warning_and_a_second_run_changes_nothing(
    tmp_path: Path,
) -> None:
    seed = make_seed(ca="CA\n", certificate="CERT\n", key="KEY\n")
    assert set(write(seed, tmp_path).values()) == {"written"}
    settings = load_config(tmp_path, "door")
    assert list_warnings(settings) == []
    assert Path(settings.broker.key_file).read_text() == "KEY\n"
    assert settings.keys == tmp_path / "keys"
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o750
    assert set(write(seed, tmp_path).values()) == {"unchanged"}
    assert not list(tmp_path.rglob("*.bak*"))


def test_what_was_not_asked_for_stays(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    device = tmp_path / "vedette.toml"
    device.write_text(
        '# ours\n[device]\nname = "box"\nhot = 70.0\n[outbox]\njournal = 5\n[broker]\nurl = "mqtt://old"\n'
    )
    camera = tmp_path / "cameras" / "door.toml"
    camera.write_text(
        'source = "v4l2:/dev/video9"\nbundle = "old"\n[gate]\nseconds = 2.0\n'
        '[[rules]]\nuse = "presence"\nhysteresis = 0.0\n'
    )
    write(make_seed(), tmp_path)
    found = tomllib.loads(device.read_text())
    assert (found["device"]["hot"], found["outbox"], found["broker"]["url"]) == (70.0, {"journal": 5}, "mqtts://b:8883")
    assert (tmp_path / "vedette.toml.bak").read_text().startswith("# ours")
    settings = load_config(tmp_path, "door")
    assert settings.gate.seconds == 2.0
    assert settings.rules == ({"use": "presence", "hysteresis": 0.0},)


def test_a_file_that_would_say_the_same_keeps_its_comments(tmp_path: Path) -> None:
    write(make_seed(), tmp_path)
    path = tmp_path / "cameras" / "door.toml"
    path.write_text(f"# the gate to the yard\n{path.read_text()}")
    assert set(write(make_seed(), tmp_path).values()) == {"unchanged"}
    assert path.read_text().startswith("# the gate")


def test_no_backup_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for number in range(4):
        write_file(PlannedFile(path, b"%d" % number))
    write_file(PlannedFile(path, b"0"))
    write_file(PlannedFile(path, b"3"))
    kept = {each.read_text() for each in tmp_path.glob("a.toml.bak*")}
    assert kept == {"0", "1", "2", "3"}
    assert len(list(tmp_path.iterdir())) == 5, "one of each, and no partial file"


def test_a_key_is_trusted_once_and_takes_no_other_signers_file(tmp_path: Path) -> None:
    write(make_seed(), tmp_path)
    keys.generate_key_pair(tmp_path / "new")
    other = (tmp_path / "new" / "vedette.pub").read_text()
    seed = Seed(
        device=SeedDevice(name="box"), keys={"vedette.pub": other, "again.pub": (V1 / "vedette.pub").read_text()}
    )
    assert [name for name, action in write(seed, tmp_path).items() if action == "written"] == [
        f"keys/vedette-{keys.key_id(keys.read_public_key(tmp_path / 'new' / 'vedette.pub'))}.pub"
    ]
    assert len(keys.Keyring.read(tmp_path / "keys").keys) == 2
    for name in ("../x.pub", "x.key", ".pub"):
        with pytest.raises(ConfigProblem, match="no name of a key file"):
            plan_files(Seed(device=SeedDevice(name="box"), keys={name: other}), tmp_path)


def test_a_difference_shows_no_secret(tmp_path: Path) -> None:
    text = "\n".join(describe_difference(plan_files(make_seed(password="hush"), tmp_path)))
    assert "hush" not in text
    assert "broker-password: would be written (a secret, not shown)" in text
    assert '+url = "mqtts://b:8883"' in text


def test_a_bundle_goes_into_the_store_and_the_next_release_is_on_probation(tmp_path: Path, key_folder: Path) -> None:
    box, store = tmp_path / "box", ModelStore(tmp_path / "box" / "state")
    public = {"vedette.pub": (key_folder / "vedette.pub").read_text()}

    def set_up(release: int) -> bytes:
        path = sign_altered(tmp_path / f"{release}.vedette", key_folder, release=release)
        camera = SeedCamera(name="door", source="v4l2:/dev/video0", bundle=str(path))
        write(Seed(device=SeedDevice(name="box"), cameras=(camera,), keys=public), box)
        return (box / "cameras" / "door.toml").read_bytes()

    first = set_up(1)
    assert store.find_model("weave").current == 1
    assert load_config(box, "door").bundle == store.bundle_path("weave")
    assert not list((box / "cameras").glob("*.vedette"))
    assert set_up(2) == first
    model, probation = store.find_model("weave"), ProbationRecord(store, "weave").running()
    assert (model.current, model.previous) == (2, 1)
    assert probation is not None
    assert probation.release == 2


def test_a_bundle_that_the_camera_names_by_its_path_stays_there(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "door.toml").write_text(
        f'source = "v4l2:/dev/video0"\nbundle = "{V1 / "weave.vedette"}"\n[[rules]]\nuse = "presence"\n'
    )
    write(make_seed(), tmp_path)
    assert load_config(tmp_path, "door").installed == ""
    assert not (tmp_path / "state").exists()


def test_two_releases_of_a_product_on_one_box_are_refused(tmp_path: Path, key_folder: Path) -> None:
    paths = [sign_altered(tmp_path / f"{each}.vedette", key_folder, release=each) for each in (1, 2)]
    cameras = tuple(SeedCamera(name=f"c{path.stem}", source="v4l2:/dev/video0", bundle=str(path)) for path in paths)
    with pytest.raises(ConfigProblem, match="c1 and c2 ask for different bundles of weave"):
        plan_files(Seed(device=SeedDevice(name="box"), cameras=cameras), tmp_path)


def test_rules_can_be_added_below_and_keep_their_tables(tmp_path: Path) -> None:
    rules = [{"use": "zone", "zones": {"yard": [[0.0, 0.5], [0.5, 0.5], [0.5, 1.0]]}}, {"use": "presence"}]
    text = render_toml({"source": "s", "gate": {"seconds": 1}, "rules": rules})
    assert text.count("[[rules]]") == 2
    added = f'{text}\n[[rules]]\nuse = "presence"\nname = "more"\n'
    assert tomllib.loads(added)["rules"] == [*rules, {"use": "presence", "name": "more"}]


def test_flags_go_before_the_present_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(make_seed(), tmp_path)
    seed = collect_answers(Flags(site="plant"), tmp_path, None)
    assert (seed.device.name, seed.device.site, seed.broker.url) == ("box", "plant", "mqtts://b:8883")
    assert set(write(seed, tmp_path).values()) >= {"replaced", "unchanged"}
    assert load_config(tmp_path, "door").broker.password_file, "it stays, though nobody said it again"
    monkeypatch.chdir(V1)
    second = collect_answers(Flags(camera="yard", source="file:/x", bundle="weave.vedette"), tmp_path, None)
    assert [(each.name, each.bundle) for each in second.cameras] == [("yard", str(V1 / "weave.vedette"))]
    write(second, tmp_path)
    third = collect_answers(Flags(camera="gate", source="file:/x"), tmp_path, None)
    assert third.cameras[0].bundle == "installed:weave", "the product that all cameras run"
    with pytest.raises(ConfigProblem, match="several"):
        collect_answers(Flags(source="file:/y"), tmp_path, None)
    for wrong in (Flags(camera="../x"), Flags(device="a b"), Flags(password_file=tmp_path / "none")):
        with pytest.raises(Problem):
            collect_answers(wrong, tmp_path, None)


def test_units_are_enabled_started_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "systemctl"
    test = f'case "$*" in *is-*) test -e {tmp_path}/active;; *) touch {tmp_path}/active;; esac'
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{test}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    system = Path("/etc/vedette")
    (result,) = start_units(["door"], system, changed=True, booted=tmp_path)
    assert result.state == "started"
    assert [line.rpartition("password ")[2] for line in (tmp_path / "calls").read_text().splitlines()] == [
        "--quiet is-active vedette@door.service",
        "enable vedette@door.service",
        "restart vedette@door.service",
    ]
    assert start_units(["door"], system, changed=False, booted=tmp_path)[0].state == "running"
    assert start_units(["door"], system, changed=True, booted=tmp_path)[0].state == "restarted"
    assert start_units(["door"], system, True, booted=tmp_path / "no")[0].left == "systemctl enable --now vedette@door"
    assert start_units(["door"], tmp_path, True, booted=tmp_path)[0].left == f"vedette run door --config {tmp_path}"


def test_a_private_key_as_the_key_to_trust_is_told_apart(tmp_path: Path) -> None:
    private = tmp_path / "vedette.key"
    private.write_text("-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigProblem, match="a private key, where a public one is wanted"):
        collect_answers(Flags(keys=(private,)), tmp_path, None)


def test_a_wrong_name_is_told_without_a_pattern(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem) as caught:
        collect_answers(Flags(camera="a/b"), tmp_path, None)
    assert caught.value.message == "an answer is wrong: cameras[0].name: not a name"
