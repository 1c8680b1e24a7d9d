"""A run that ends at any step that reaches the disk leaves the old or the new, and the next run goes on from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vedette.deploy.provisioning.certificate_authority import CertificateAuthority, Order
from vedette.deploy.provisioning.certificate_files import read_certificate
from vedette.deploy.provisioning.certificate_index import CertificateIndex
from vedette.deploy.provisioning.fleet_settings import FleetBroker, FleetSettings
from vedette.deploy.provisioning.fleet_table import Box
from vedette.deploy.provisioning.fleet_writer import write_fleet
from vedette.deploy.seed import read_seed

SETTINGS = FleetSettings(FleetBroker(url="mqtts://broker"))
CUT_OFF, DONE = 9, 0
MANY = 200


def run_until(step: int, work: Callable[[], object]) -> bool:
    """Does the work in a process that ends without a trace before its `step`-th step; whether it ended so."""
    child = os.fork()
    if child == 0:
        left = [step]

        def cut(function: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    os._exit(CUT_OFF)
                return function(*arguments, **more)

            return counted

        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            setattr(owner, name, cut(getattr(owner, name)))
        try:
            work()
            os._exit(DONE)
        except BaseException as error:  # noqa: BLE001  # the process ends here, whatever it is
            os.write(2, repr(error).encode())
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (CUT_OFF, DONE)
    return code == CUT_OFF


def write(authority: CertificateAuthority, out: Path, *names: str) -> None:
    write_fleet(tuple(map(Box, names)), SETTINGS, {}, out, out.parent, authority, None)


@pytest.mark.slow
def test_a_folder_of_cards_is_the_old_or_the_new(
    authority: CertificateAuthority, tmp_path: Path, record_proof: Callable[..., None]
) -> None:
    out, start = tmp_path / "out", tmp_path / "start"
    write(authority, start, "box1")
    instance = read_seed(start / "boxes/box1/vedette.seed").instance
    authority.sign([Order("box2")])
    seen = set()
    for step in range(1, MANY):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(start, out)
        was_cut = run_until(step, lambda: write(authority, out, "box1", "box2"))
        whole = out if out.exists() else tmp_path / ".out.old"
        boxes = tuple(sorted(path.name for path in (whole / "boxes").iterdir()))
        assert boxes in (("box1",), ("box1", "box2"))
        for box in boxes:
            assert read_seed(whole / "boxes" / box / "vedette.seed").device.name == box
        seen.add((out.exists(), boxes))
        write(authority, out, "box1", "box2")
        assert read_seed(out / "boxes/box1/vedette.seed").instance == instance
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]
        if not was_cut:
            break
    else:
        pytest.fail(f"more than {MANY} steps")
    record_proof(tries=step, losses=0)
    assert seen == {(True, ("box1",)), (False, ("box1",)), (True, ("box1", "box2"))}


@pytest.mark.slow
def test_no_certificate_exists_that_the_index_does_not_know(authority: CertificateAuthority) -> None:
    folder = authority.folder
    for step in range(1, MANY):
        was_cut = run_until(step, lambda: (authority.sign([Order("box1"), Order("box2")]), authority.revoke("box1")))
        known = {each.serial for each in CertificateIndex.read(folder).certificates}
        there = {f"{read_certificate(path).serial_number:x}" for path in (folder / "certificates").glob("*.pem")}
        assert there <= known
        authority.sign([Order("box1")])
        if not was_cut:
            break
    else:
        pytest.fail(f"more than {MANY} steps")
    assert step > 10
