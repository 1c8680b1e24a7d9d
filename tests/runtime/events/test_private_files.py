"""What a daemon writes belongs to its user alone, whatever the umask, and whatever an older release left."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from events import make_event

from vedette.runtime.atomic_file import make_private_folder
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.evidence.store import EvidenceStore


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def check(folder: Path) -> None:
    for name, mode in modes(folder).items():
        assert mode == (0o700 if (folder / name).is_dir() else 0o600), name


def write_everything(folder: Path) -> None:
    outbox = Outbox(folder / "state" / "door" / "outbox.db", 1 << 20, volatile=True)
    outbox.put(make_event(1))
    store = EvidenceStore(folder / "state" / "door" / "evidence", 1 << 20, 1.0, True)
    assert store.add(f"{'0' * 8}-0000-0000-0000-{'0' * 12}.jpg", b"picture")
    store.mark_uploaded(store.pending_uploads()[0])
    assert store.add(f"{'1' * 8}-0000-0000-0000-{'0' * 12}.jpg", b"picture")
    check(folder)
    outbox.close()


def test_files_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    write_everything(tmp_path)


def test_files_of_an_older_release_are_closed(tmp_path: Path) -> None:
    write_everything(tmp_path)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (tmp_path / "state").chmod(0o700)
    outbox = Outbox(tmp_path / "state" / "door" / "outbox.db", 1 << 20, volatile=True)
    EvidenceStore(tmp_path / "state" / "door" / "evidence", 1 << 20, 1.0, True)
    found = modes(tmp_path)
    for name in ("state/door", "state/door/evidence", "state/door/evidence/waiting"):
        assert found[name] & 0o067 == 0
    assert found["state/door/outbox.db"] == 0o600
    outbox.close()


def test_folder_that_a_group_may_pass_stays_so(tmp_path: Path) -> None:
    folder = tmp_path / "door"
    folder.mkdir(mode=0o710)
    folder.chmod(0o710)
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o710


def test_folder_that_others_share_stays_so(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private_folder(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_folder_with_files_of_others_stays_so(tmp_path: Path) -> None:
    shared = tmp_path / "lib"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "theirs").touch()
    os.chown(shared / "theirs", 1234, 1234)
    make_private_folder(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
