"""The installation of a bundle: verified, tried on this machine, stored, and made current on probation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..bundle.local_recalibration import apply_recalibration
from ..bundle.recalibration_file import recalibration_path
from ..config.camera_products import list_product_settings
from ..config.configuration import Config
from ..errors import BundleProblem, MachineProblem, Problem
from ..inference.golden_outputs import select_backend
from ..progress import Log, no_log
from .installation_check import check_bundle, find_release_before, read_review
from .model_store import ModelStore
from .probation_record import Conditions, Probation, ProbationRecord


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
    path: Path, folder: Path, conditions: Conditions, cameras: Collection[str] = (), log: Log = no_log
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
        ConfigProblem: the configuration is wrong or a camera's rules do not fit the bundle, or the release is installed
            with another content.
        MachineProblem: the disk does not take it.
    """
    checked = check_bundle(path, folder, cameras)
    bundle, state, settings = checked.bundle, checked.state, checked.cameras
    manifest = bundle.manifest
    store = ModelStore(state)
    # Read as the user who asked for it: the owner of the state folder may not see into a home folder.
    places = [path, *[each.bundle for camera in settings.values() for each in list_product_settings(camera)]]
    content, recalibration = path.read_bytes(), read_recalibration(bundle, *places)
    present = read_present_release(bundle, [settings[camera] for camera in cameras])
    log(f"{manifest.model_id}: signed by a trusted key")
    review = read_review(bundle)
    log(f"security review of the build: {review}")
    with as_owner(state):
        backend = select_backend(bundle, "auto", 1).version
        log(f"golden outputs reproduced by {backend}")
        on_probation = put_release(store, bundle, content, recalibration, present, checked.keys, conditions)
    previous = store.find_model(manifest.name).previous
    minutes = conditions.minutes if on_probation else 0.0
    return Installation(manifest.name, manifest.release, previous, backend, review, minutes)


def put_release(
    store: ModelStore,
    bundle: Bundle,
    content: bytes,
    recalibration: bytes | None,
    present: tuple[int, bytes, bytes | None] | None,
    keys: Path | None,
    conditions: Conditions,
) -> bool:
    """Stores a verified bundle and makes it current, on probation if another release is current; acts as this user.

    Args:
        store: the store
        bundle: the bundle
        content: its bytes
        recalibration: its local recalibration; None: there is none
        present: another release of the product that is not in the store yet, to go back to (`read_present_release`)
        keys: folder of the trusted keys; None: those of this machine
        conditions: of the probation

    Returns:
        whether it is on probation

    Raises:
        ConfigProblem: the release is installed with another content.
        MachineProblem: the disk does not take it.
    """
    name, release = bundle.manifest.name, bundle.manifest.release
    with store.lock(name):
        record = ProbationRecord(store, name)
        running = record.running()
        is_whole = _is_whole(store.release_path(name, release), release, keys)
        if is_whole and running is not None and running.previous == release:
            record.roll_back("its user installed the release before again")
            return False
        if present is not None and store.find_model(name).current is None:
            store.add(name, *present)
            store.switch(name, present[0])
        before = find_release_before(store, name)
        if not is_whole:
            store.discard(name, release)
        store.add(name, release, content, recalibration)
        on_probation = before not in (None, release) and conditions.minutes > 0
        # One that a rollback left open when it was cut off would begin again with its release.
        is_open = (noted := record.read()) is not None and noted.outcome == "running"
        if before is not None and before != release and (on_probation or is_open):
            probation = Probation(release=release, previous=before, conditions=conditions)
            record.begin(probation if on_probation else msgspec.structs.replace(probation, outcome="accepted"))
        store.switch(name, release, before)
    return on_probation


def read_present_release(new: Bundle, cameras: Iterable[Config]) -> tuple[int, bytes, bytes | None] | None:
    """Another release of the product that a camera runs: number, content, recalibration; None: there is none."""
    for settings in cameras:
        with contextlib.suppress(Problem):
            bundle = Bundle.open(settings.bundle, Keyring.read(settings.keys))
            if bundle.manifest.name == new.manifest.name and bundle.manifest.release != new.manifest.release:
                content, recalibration = settings.bundle.read_bytes(), read_recalibration(bundle, settings.bundle)
                return bundle.manifest.release, content, recalibration
    return None


def _is_whole(path: Path, release: int, keys: Path | None) -> bool:
    """Whether a file of the store holds its release: not damaged, and not overwritten with another one."""
    try:
        return Bundle.open(path, Keyring.read(keys)).manifest.release == release
    except BundleProblem:
        return False


def read_recalibration(bundle: Bundle, *paths: Path) -> bytes | None:
    """The recalibration of this bundle that lies beside one of the paths; None: there is none."""
    for path in paths:
        with contextlib.suppress(Problem):
            there = Bundle(path, bundle.manifest, bundle.members, bundle.manifest_sha256)
            if apply_recalibration(there).manifest.local_digest:
                return recalibration_path(path).read_bytes()
    return None


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
    groups = os.getgroups()
    with contextlib.suppress(PermissionError):  # a user namespace without the right to change groups
        os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        with contextlib.suppress(PermissionError):
            os.setgroups(groups)
