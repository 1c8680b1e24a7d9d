"""The installation of a bundle: verified, tried on this machine, stored, and made current on probation."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..bundle.release_memory import open_bundle_to_run
from ..config.configuration import camera_names, device_folders, load_config, load_device
from ..errors import MachineProblem, Problem
from ..inference.golden_outputs import select_backend
from ..progress import Log, no_log
from .model_store import ModelStore
from .probation_record import Conditions, Probation, ProbationRecord

REPORT = "report.json"


class Installation(msgspec.Struct, frozen=True):
    """What was installed."""

    name: str
    release: int
    previous: int | None
    """The release that a rollback takes; None: there is none."""
    backend: str
    """The library that runs it fastest here, with its version."""
    review: str
    """The most severe finding of the bundle's review; `not reviewed` if its report holds none."""
    probation_minutes: float
    """0: it is on no probation."""


def install_bundle(
    path: Path, folder: Path, conditions: Conditions, cameras: Iterable[str] = (), log: Log = no_log
) -> Installation:
    """Installs a bundle; the daemons that run its product notice it and take it.

    Args:
        path: the bundle
        folder: configuration of the device
        conditions: what the release must keep to; 0 minutes: no probation
        cameras: those that will run the product; a release that one of them runs from a path is the one before
        log: takes a line for each step

    Raises:
        BundleProblem: the bundle is faulty, not trusted, does not run here, or is older than one that ran.
        ConfigProblem: the configuration is wrong, or the release is installed with another content.
        MachineProblem: the disk does not take it.
    """
    state, keys = device_folders(folder, load_device(folder))
    bundle = Bundle.open(path, Keyring.read(keys))
    content = path.read_bytes()  # as root: the owner of the state may not be allowed to
    manifest = bundle.manifest
    store = ModelStore(state)
    for camera in {*cameras_of(manifest.name, folder), *cameras}:
        open_bundle_to_run(path, keys, state / camera)
    present = _find_present_release(bundle, folder, cameras)
    present_content = b"" if present is None else present.path.read_bytes()
    log(f"{manifest.model_id}: signed by a trusted key")
    review = read_review(bundle)
    log(f"security review of the build: {review}")
    with as_owner(state):
        backend = select_backend(bundle, "auto", 1).version
        log(f"golden outputs reproduced by {backend}")
        if present is not None and store.find_model(manifest.name).current is None:
            store.add(manifest.name, present.manifest.release, present_content)
            store.switch(manifest.name, present.manifest.release)
        before = store.find_model(manifest.name).current
        store.add(manifest.name, manifest.release, content)
        on_probation = before not in (None, manifest.release) and conditions.minutes > 0
        record = ProbationRecord(store, manifest.name)
        if before is not None and on_probation:
            record.begin(Probation(release=manifest.release, previous=before, conditions=conditions))
        store.switch(manifest.name, manifest.release)
    previous = store.find_model(manifest.name).previous
    minutes = conditions.minutes if on_probation else 0.0
    return Installation(manifest.name, manifest.release, previous, backend, review, minutes)


def cameras_of(name: str, folder: Path) -> list[str]:
    """The cameras that run an installed product; cameras with a faulty file are left out."""
    cameras = []
    for camera in camera_names(folder):
        with contextlib.suppress(Problem):
            if load_config(folder, camera).installed == name:
                cameras.append(camera)
    return cameras


def _find_present_release(new: Bundle, folder: Path, cameras: Iterable[str]) -> Bundle | None:
    """Another release of the product, which a camera runs from a path; None: there is none."""
    for camera in cameras:
        with contextlib.suppress(Problem):
            settings = load_config(folder, camera)
            bundle = Bundle.open(settings.bundle, Keyring.read(settings.keys))
            if bundle.manifest.name == new.manifest.name and bundle.manifest.release != new.manifest.release:
                return bundle
    return None


def read_review(bundle: Bundle) -> str:
    """The severity of the most severe finding in the review that the build wrote into the bundle."""
    try:
        review = json.loads(bundle.members[REPORT])["review"]
        return str(review["severity"])
    except (KeyError, ValueError, TypeError):
        return "not reviewed"


@contextlib.contextmanager
def as_owner(state: Path) -> Iterator[None]:
    """Acts as the owner of the state folder if this is root: the daemon must be able to roll back what is written.

    Root would also follow links that the daemon's user could have laid.

    Raises:
        MachineProblem: the folder is missing and cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        owner = state.stat()
    except OSError as error:
        raise MachineProblem(f"{state}: {error.strerror}", hint="run the command as root (sudo)") from None
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
