"""An older release is refused where a newer one ran, unless its signed manifest permits it."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest
from altered_bundles import sign_altered

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.release_memory import FILE_NAME, open_bundle_to_run, remember_release
from vedette.runtime.errors import BundleProblem


@pytest.fixture
def device(tmp_path, key_folder):
    """Runs a release on a device with its state folder; returns the file and the manifest."""

    def run(release, **changes):
        path = sign_altered(tmp_path / f"weave-{release}.vedette", key_folder, release=release, **changes)
        manifest = open_bundle_to_run(path, key_folder, tmp_path / "state").manifest
        remember_release(manifest, tmp_path / "state")
        return path, manifest

    return run


def test_a_lower_release_is_refused(device):
    device(3)
    device(3)
    device(4)
    with pytest.raises(BundleProblem, match="release 3 of weave, but 4 ran") as caught:
        device(3)
    assert "--from 4" in caught.value.hint
    assert device(5)[1].release == 5


def test_a_refused_release_is_not_remembered(device, tmp_path):
    device(4)
    with pytest.raises(BundleProblem):
        device(2)
    assert json.loads((tmp_path / "state" / FILE_NAME).read_text()) == {"weave": 4}


def test_another_product_has_releases_of_its_own(device):
    device(4)
    assert device(1, name="other")[1].name == "other"


def test_a_permission_holds_up_to_its_release(device):
    device(4)
    assert device(3, downgrade_from=4)[1].release == 3
    with pytest.raises(BundleProblem):
        device(3)
    device(5)
    with pytest.raises(BundleProblem, match="5 ran"):
        device(3, downgrade_from=4)


def test_keys_permit_signs_the_permission(device, tmp_path, key_folder, keyring, call_vedette):
    path, _ = device(3)
    device(4)
    options = ("--key", key_folder / "vedette.key", "--keys", key_folder)
    done = call_vedette("keys", "permit", path, "--from", "4", "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    permitted = open_bundle_to_run(tmp_path / "out" / path.name, key_folder, tmp_path / "state")
    assert permitted.manifest.downgrade_from == 4
    assert permitted.members == Bundle.open(path, keyring).members
    assert "replace releases up to 4" in call_vedette("show", permitted.path, "--keys", key_folder).stdout
    assert call_vedette("keys", "permit", path, "--from", "4", "--out", path.parent, *options).returncode == 2


def test_keys_permit_trusts_the_key_that_it_signs_with_unless_it_is_revoked(device, tmp_path, key_folder, call_vedette):
    path, _ = device(3)
    (tmp_path / "ring").mkdir()
    options = ("--from", "4", "--key", key_folder / "vedette.key", "--keys", tmp_path / "ring")
    done = call_vedette("keys", "permit", path, "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    call_vedette("keys", "revoke", key_folder / "vedette.pub", "--keys", tmp_path / "ring")
    done = call_vedette("keys", "permit", path, "--out", tmp_path / "again", *options)
    assert (done.returncode, "revoked" in done.stderr) == (3, True)


@pytest.mark.parametrize("content", [b"", b"{", b'{"weave": "four"}', b"[" * 100_000, b"\xff"])
def test_a_damaged_memory_is_told_and_does_not_stop_the_device(device, tmp_path, caplog, content):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).write_bytes(content)
    with caplog.at_level(logging.WARNING, "vedette"):
        assert device(2)[1].release == 2
    assert "older release could follow" in caplog.text
    with pytest.raises(BundleProblem):
        device(1)


def test_a_state_folder_that_cannot_be_written_warns(device, tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "vedette"):
        device(2)
    assert "not remembered" in caplog.text


@pytest.mark.build
def test_daemon_refuses_an_older_release(daemon_process, tmp_path, key_folder, run_vedette):
    (tmp_path / "parts").mkdir()
    newer = sign_altered(tmp_path / "newer.vedette", key_folder, release=7)
    older = sign_altered(tmp_path / "older.vedette", key_folder, release=6)

    cv2.imwrite(str(tmp_path / "parts" / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    codes = []
    for path in (newer, older):
        daemon_process.bundle = path
        daemon_process.configure(f"file:{tmp_path}/parts?fps=0", "stdout:")
        codes.append(run_vedette("run", "door", "--config", daemon_process.folder).returncode)
    assert codes == [0, 3]
