"""An installation before a model runs: whether this device takes the bundle, and what would change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from pathlib import Path

import msgspec

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..bundle.release_memory import check_release
from ..config.camera_products import list_product_settings
from ..config.configuration import Config, device_folders, load_config, load_device
from ..errors import MachineProblem, Problem
from .camera_bundle import cameras_of
from .installation_preview import InstallationPreview
from .model_store import ModelStore, find_unwritable
from .probation_record import ProbationRecord
from .release_fit import check_rules

REPORT = "report.json"


class CheckedBundle(msgspec.Struct, frozen=True):
    """A bundle that this device takes: trusted, not older than what ran, and fit for the rules of its cameras."""

    bundle: Bundle
    keyring: Keyring
    state: Path
    """State folder of the device."""
    keys: Path | None
    """Folder of the trusted keys; None: those of this machine."""
    cameras: dict[str, Config]
    """Those that will run it, by name."""


def check_bundle(path: Path, folder: Path, cameras: Collection[str] = ()) -> CheckedBundle:
    """Verifies a bundle, and that the device may run it; its models are not run.

    Args:
        path: the bundle
        folder: configuration of the device
        cameras: those that will run the product, besides those that do

    Raises:
        BundleProblem: the bundle is faulty, not trusted, or older than one that ran.
        ConfigProblem: the configuration is wrong or a camera's rules do not fit the bundle.
        MachineProblem: this user may not install models.
    """
    state, keys = device_folders(folder, load_device(folder))
    if (place := find_unwritable(state)) is not None:
        raise MachineProblem(f"{place}: this user may not install models", hint="run the command as root (sudo)")
    keyring = Keyring.read(keys)
    bundle = Bundle.open(path, keyring)
    names = sorted({*cameras_of(bundle.manifest.name, folder), *cameras})
    settings = {camera: load_config(folder, camera) for camera in names}
    for each in settings.values():
        check_release(bundle, each.state_folder)
        for product in list_product_settings(each):
            if not each.products or product.installed == bundle.manifest.name:
                check_rules(product, bundle.manifest)
    return CheckedBundle(bundle, keyring, state, keys, settings)


def preview_installation(checked: CheckedBundle) -> InstallationPreview:
    """What the installation of a bundle would change."""
    manifest = checked.bundle.manifest
    store = ModelStore(checked.state)
    model = store.find_model(manifest.name)
    record = ProbationRecord(store, manifest.name)
    running, last = record.running(), record.read()
    is_return = running is not None and running.previous == manifest.release
    previous = None if is_return else find_release_before(store, manifest.name)
    if previous == manifest.release:  # it is current already
        previous = model.previous
    rule = checked.keyring.rules.get(manifest.signer)
    kept = {manifest.release, previous, *([model.current] if is_return else [])}
    return InstallationPreview(
        name=manifest.name,
        release=manifest.release,
        signer=manifest.signer,
        key_file=rule.file.name if rule is not None else "",
        review=read_review(checked.bundle),
        cameras=tuple(checked.cameras),
        current=model.current,
        previous=previous,
        removed=tuple(each for each in model.releases if each not in kept),
        is_return=is_return,
        threshold=manifest.decision_threshold,
        threshold_before=_read_threshold(store, manifest.name, model.current, checked.keyring),
        max_ms=manifest.goal.get("max_ms"),
        rolled_back=last.reason if last is not None and last.release == manifest.release else "",
    )


def _read_threshold(store: ModelStore, name: str, release: int | None, keyring: Keyring) -> float | None:
    """The threshold of an installed release; None: there is none, or its bundle cannot be opened any more."""
    if release is None:
        return None
    with contextlib.suppress(Problem):
        return Bundle.open(store.release_path(name, release), keyring).manifest.decision_threshold
    return None


def find_release_before(store: ModelStore, name: str) -> int | None:
    """The release to which a new one would go back; one on probation is none; None: the product is not installed."""
    running = ProbationRecord(store, name).running()
    return store.find_model(name).current if running is None else running.previous


def read_review(bundle: Bundle) -> str:
    """The severity of the most severe finding in the review that the build wrote into the bundle."""
    try:
        review = json.loads(bundle.members[REPORT])["review"]
        return str(review["severity"])
    except (KeyError, ValueError, TypeError):
        return "not reviewed"
