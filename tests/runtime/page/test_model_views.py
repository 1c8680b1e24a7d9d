"""The view Models without a browser: uploads, what is refused and why, installations, and the way back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from altered_bundles import STORED, sign_altered
from asgi_client import Answer
from page_client import PageClient, make_app
from page_site import make_status
from waiting import wait_for

from vedette.runtime.bundle import archive
from vedette.runtime.bundle.release_memory import FILE_NAME as RELEASES
from vedette.runtime.installation import installer
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import ProbationRecord
from vedette.runtime.monitoring.status import StatusServer
from vedette.runtime.page import bundle_upload, model_work
from vedette.runtime.page.bundle_upload import FOLDER
from vedette.runtime.page.model_work import ModelWork, WorkResult

NAME = "weave"
HOME = "/health/models"


class _Ran:
    version = "not run here"


class Device:
    """A device with one camera that runs the installed product, and a client of its page."""

    def __init__(self, folder: Path, key_folder: Path) -> None:
        self.folder, self.key_folder = folder, key_folder
        (folder / "cameras").mkdir(parents=True)
        (folder / "vedette.toml").write_text(
            f'[device]\nname = "box-7"\nkeys = "{key_folder}"\n[page]\nlisten = "127.0.0.1:8080"\n'
        )
        text = f'source = "file:x"\nbundle = "installed:{NAME}"\n[[rules]]\nuse = "presence"\n'
        (folder / "cameras" / "door.toml").write_text(text)
        self.store = ModelStore(folder / "state")
        self.client = PageClient(make_app(folder))

    def bundle(self, release: int) -> bytes:
        return sign_altered(self.folder / "made.vedette", self.key_folder, release=release).read_bytes()

    def upload(self, content: bytes) -> str:
        answer = self.client.post(f"{HOME}/upload", {"bytes": len(content)})
        identity = str(read(answer)["upload"])
        step = bundle_upload.PIECE_BYTES
        for offset in range(0, len(content), step):
            answer = self.client.post(f"{HOME}/upload/{identity}?offset={offset}", content[offset : offset + step])
        assert read(answer) == {"complete": True}
        return identity

    def check(self, content: bytes) -> tuple[str, Answer]:
        identity = self.upload(content)
        return identity, self.client.post(f"{HOME}/check", {"upload": identity})

    def install(self, release: int) -> dict[str, Any]:
        identity, answer = self.check(self.bundle(release))
        seen = read(answer)
        wish = {"upload": identity, "minutes": 5, "name": seen["name"], "current": seen["current"]}
        return self.follow(self.client.post(f"{HOME}/install", wish))

    def follow(self, answer: Answer) -> dict[str, Any]:
        path = f"{HOME}/work/{read(answer)['work']}"
        wait_for(lambda: self.client.get(path).status == 200, "the command")
        return read(self.client.get(path))


def read(answer: Answer, status: int = 200) -> dict[str, Any]:
    assert answer.status == status, answer.text
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found


@pytest.fixture
def device(
    tmp_path: Path, key_folder: Path, call_vedette: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Device:
    """The commands run in this process, and no model runs: the browser's test has the real ones."""

    def run(arguments: list[str], folder: Path) -> WorkResult:
        done = call_vedette(*arguments[:1], "--config", folder, *arguments[1:])
        message, remedy = model_work.read_problem(done.stderr)
        return WorkResult(done.returncode, done.stdout, message, remedy)

    monkeypatch.setattr(model_work, "_run_command", run)
    monkeypatch.setattr(installer, "select_backend", lambda *_: _Ran)
    monkeypatch.setattr(bundle_upload, "PIECE_BYTES", 4096)
    return Device(tmp_path / "configuration", key_folder)


def test_a_release_is_installed_and_left_again(device: Device) -> None:
    assert "No model is installed" in device.client.get(HOME).text
    assert device.install(1)["outcome"] == "done"
    assert not list((device.folder / "state" / FOLDER).iterdir())
    identity, answer = device.check(device.bundle(2))
    seen = read(answer)
    assert (seen["current"], seen["probation"]) == (1, True)
    assert "Release 1 runs now; 2 replaces it." in seen["lines"]
    assert any("vedette.pub" in line for line in seen["lines"])
    assert any("door" in line for line in seen["lines"])
    read(device.client.post(f"{HOME}/install", {"upload": identity, "minutes": 5, "name": NAME, "current": 7}), 409)
    wish = {"upload": identity, "minutes": 5, "name": NAME, "current": 1}
    assert device.follow(device.client.post(f"{HOME}/install", wish))["outcome"] == "done"
    probation = ProbationRecord(device.store, NAME).running()
    assert probation is not None
    assert (probation.release, probation.conditions.minutes) == (2, 5.0)
    page = device.client.get(HOME).text
    assert "on probation (5 min)" in page
    assert "the release before; you can go back to it" in page

    wish = {"name": NAME, "save": False}
    seen = read(device.client.post(f"{HOME}/rollback", wish))
    assert "weave goes back from release 2 to release 1." in seen["lines"]
    assert device.store.find_model(NAME).current == 2
    read(device.client.post(f"{HOME}/rollback", {"name": NAME, "save": True, "current": 1, "previous": 2}), 409)
    wish |= {"save": True, "current": 2, "previous": 1}
    assert device.follow(device.client.post(f"{HOME}/rollback", wish))["outcome"] == "done"
    assert device.store.find_model(NAME).current == 1
    page = device.client.get(HOME).text
    assert "rolled back" in page
    assert "its user went back" in page
    read(device.client.post(f"{HOME}/rollback", {"name": NAME, "save": False}), 404)


def test_the_probation_of_a_further_product_is_told(device: Device) -> None:
    """The first product of the camera is a file of its own, the second one lies in the store."""
    assert device.install(1)["outcome"] == "done"
    tables = (
        'name = "own"\nindex = 1\nbundle = "own.vedette"',
        f'name = "other"\nindex = 2\nbundle = "installed:{NAME}"',
    )
    products = "".join(f"[[products]]\n{table}\n" for table in tables)
    (device.folder / "cameras" / "door.toml").write_text(f'source = "file:x"\n[trigger]\nsource = "mqtt:"\n{products}')
    state = device.folder / "state" / "door"
    state.mkdir(parents=True, exist_ok=True)
    server = StatusServer(state, lambda: make_status("door", probation="watched for 12 of 60 minutes"))
    server.start()
    try:
        assert "watched for 12 of 60 minutes" in device.client.get(HOME).text
    finally:
        server.close()


def test_an_unknown_signer_and_an_older_release_are_refused(device: Device) -> None:
    refused = read(device.check((STORED / "weave.vedette").read_bytes())[1], 422)
    assert "does not trust this bundle" in refused["message"]
    assert "signed by" in refused["detail"] or "key" in refused["detail"]
    device.install(4)
    path = device.folder / "state" / "door" / RELEASES
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"{NAME}": 4}}')
    identity, answer = device.check(device.bundle(3))
    assert "release 3 of weave, but 4 ran here" in read(answer, 422)["detail"]
    assert str(device.folder) not in read(answer, 422)["detail"]
    read(device.client.post(f"{HOME}/install", {"upload": identity, "minutes": 1, "name": NAME, "current": 4}), 409)
    assert device.store.find_model(NAME).current == 4


def test_uploads_have_limits(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    client = device.client
    assert "at most 512 MiB" in read(client.post(f"{HOME}/upload", {"bytes": archive.MAX_BYTES + 1}), 413)["message"]
    read(client.post(f"{HOME}/upload", {"bytes": -1}), 400)
    identity = read(client.post(f"{HOME}/upload", {"bytes": 9}))["upload"]
    assert client.post(f"{HOME}/upload/{identity}?offset=0", bytes((1 << 20) + 1)).status == 413
    assert client.post(f"{HOME}/check", bytes(300_000)).status == 413
    for target, content in (
        (f"{identity}?offset=1", b"x"),
        (f"{identity}?offset=0", b"0123456789"),
        (f"{identity}?offset=-1", b"x"),
        (f"{identity}", b"x"),
        (f"{'0' * 32}?offset=0", b"x"),
    ):
        read(client.post(f"{HOME}/upload/{target}", content), 409)
    assert read(client.post(f"{HOME}/upload/{identity}?offset=0", b"1234")) == {"complete": False}
    read(client.post(f"{HOME}/check", {"upload": identity}), 409)
    newer = read(client.post(f"{HOME}/upload", {"bytes": 9}))["upload"]
    read(client.post(f"{HOME}/upload/{identity}?offset=4", b"5"), 409)
    (path,) = (device.folder / "state" / FOLDER).iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    client.post(f"{HOME}/discard", {"upload": newer})
    assert not path.exists()
    monkeypatch.setattr(bundle_upload, "_ROOM", 1 << 60)
    assert "are free on the disk" in read(client.post(f"{HOME}/upload", {"bytes": 9}), 507)["detail"]


def test_one_command_at_a_time_and_none_without_the_right(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.install(1)
    device.install(2)
    back = {"name": NAME, "save": True, "current": 2, "previous": 1}
    work: ModelWork = device.client.app.state.context.work
    with work.lock:
        assert "runs already" in read(device.client.post(f"{HOME}/rollback", back), 409)["detail"]
    read(device.client.get(f"{HOME}/work/{'0' * 32}"), 404)
    monkeypatch.setattr(os, "access", lambda *_: False)
    page = device.client.get(HOME).text
    assert "sudo vedette install BUNDLE" in page
    assert "sudo vedette rollback weave" in page
    assert 'type="file"' not in page
    refused = read(device.client.post(f"{HOME}/upload", {"bytes": 9}), 403)
    assert "may not install models" in refused["message"]
    read(device.client.post(f"{HOME}/rollback", back), 403)
    assert device.store.find_model(NAME).current == 2


def test_the_command_is_a_process_that_tells_its_problem(tmp_path: Path) -> None:
    (tmp_path / "vedette.toml").write_text("")
    work = ModelWork()
    result = work.run(["rollback", "--", NAME], tmp_path)
    assert (result.code, result.message, result.remedy) == (2, f"{NAME} is not installed", "installed models: none")
