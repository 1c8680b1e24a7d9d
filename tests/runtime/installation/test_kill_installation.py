"""An installation or a rollback that is killed at any step leaves the old release or the new one, whole."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from altered_bundles import sign_altered

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.installation.installer import install_bundle
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import Conditions, ProbationRecord

DRIVER = """
import sys
from pathlib import Path
from vedette.runtime.commands.rollback import rollback
from vedette.runtime.installation.installer import install_bundle
from vedette.runtime.installation.probation_record import Conditions
folder = Path(sys.argv[1])
if sys.argv[2] == "back":
    rollback(["weave", "--config", str(folder)], standalone_mode=False)
else:
    install_bundle(Path(sys.argv[2]), folder, Conditions())
"""
SYSTEM_CALLS = ("fsync", "rename", "symlink", "unlink", "unlinkat", "rmdir", "mkdir", "write")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace"),
]


@pytest.fixture
def bundles(tmp_path, key_folder):
    return {number: sign_altered(tmp_path / f"{number}.vedette", key_folder, release=number) for number in (1, 2, 3, 4)}


def make_device(folder, key_folder, bundles, releases):
    folder.mkdir()
    (folder / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n')
    for release in releases:
        install_bundle(bundles[release], folder, Conditions(minutes=0))
    return ModelStore(folder / "state")


def check(store, key_folder, allowed):
    """The current release is one of those, whole; a new one that others came before is on probation."""
    current = store.find_model("weave").current
    assert current in allowed
    if current is not None:
        bundle = Bundle.open(store.bundle_path("weave"), Keyring.read(key_folder))
        assert bundle.manifest.release == current
    if current == 3 and len(allowed) == 2 and None not in allowed:
        probation = ProbationRecord(store, "weave").running()
        assert probation is not None
        assert (probation.release, probation.previous) == (3, 2)


def test_kill_at_every_system_call_of_a_change(tmp_path, bundles, key_folder, record_proof):
    kills, halves = 0, []
    for change, before, allowed in (("first", (), {None, 3}), ("install", (1, 2), {2, 3}), ("back", (1, 2), {1, 2})):
        for call in SYSTEM_CALLS:
            for number in range(1, 60):
                folder = tmp_path / f"{change}-{call}-{number}"
                store = make_device(folder, key_folder, bundles, before)
                what = "back" if change == "back" else str(bundles[3])
                inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
                program = [sys.executable, "-B", "-c", DRIVER, str(folder), what]
                command = ["strace", "-qq", "-o", "/dev/null", *inject, *program]
                done = subprocess.run(command, check=False, capture_output=True, text=True)
                assert done.returncode in (0, -9, 137), done.stderr
                try:
                    check(store, key_folder, allowed)
                    install_bundle(bundles[4], folder, Conditions())
                    assert store.find_model("weave").current == 4
                except AssertionError as error:
                    halves.append(f"{change}, {call} {number}: {error}")
                shutil.rmtree(folder)
                if done.returncode == 0:
                    break
                kills += 1
    record_proof(kills, len(halves))
    assert not halves
    assert kills >= 50
