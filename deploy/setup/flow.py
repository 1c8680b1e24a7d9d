"""The flow of set-up: answers, tried, written, started, waited for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from vedette.runtime.bundle.keys import Keyring, UnknownSigner
from vedette.runtime.bundle.local_recalibration import open_bundle
from vedette.runtime.bundle.release_memory import check_release
from vedette.runtime.camera.sources import SourceAddress, load_source
from vedette.runtime.config.camera_products import list_product_settings
from vedette.runtime.config.configuration import Config, load_config
from vedette.runtime.config.time_zone import load_timezone
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.events.sinks import SINKS
from vedette.runtime.monitoring.doctor_check import Check
from vedette.runtime.plugin_tables import split_url
from vedette.runtime.rules.rule_set import RuleSet

from ..seed import Seed, SeedCamera
from . import services
from .answers import find_missing
from .configuration_files import CAMERAS, DEVICE_FILE, plan_files
from .durable_files import FileChange, PlannedFile, find_action
from .first_event import FirstEvent, wait_for_first_event
from .services import UnitResult
from .staged_configuration import stage_configuration

_PLACEHOLDER = SeedCamera(name="setup", source="file:none", bundle="/dev/null")
"""A camera for trials of the broker alone."""


class Started(NamedTuple):
    """The cameras' units, and how far each camera came."""

    units: list[UnitResult]
    events: list[FirstEvent]


class SetupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a set-up did, for `--json`."""

    config: str
    dry_run: bool
    changed: bool
    """Whether a file was, or would be, written."""
    files: list[FileChange]
    checks: list[Check]
    units: list[UnitResult]
    events: list[FirstEvent]
    """How far each camera came."""
    diff: list[str] = []


def try_broker(seed: Seed, folder: Path) -> Check:
    """Whether the broker of these answers answers and takes the login.

    Raises:
        Problem: the answers make no configuration.
    """
    alone = msgspec.structs.replace(seed, cameras=(_PLACEHOLDER,), keys={})
    with stage_configuration(plan_files(alone, folder), folder) as stage:
        return stage.check_broker(stage.load(_PLACEHOLDER.name))


def try_camera(seed: Seed, folder: Path, picture: Path | None) -> Check:
    """Whether the one camera of these answers gives a frame, which is saved as `picture`.

    Raises:
        Problem: the answers make no configuration.
    """
    camera = msgspec.structs.replace(seed.cameras[0], bundle=_PLACEHOLDER.bundle)
    alone = msgspec.structs.replace(seed, cameras=(camera,), keys={})
    with stage_configuration(plan_files(alone, folder), folder) as stage:
        return stage.check_camera(stage.load(camera.name), picture)


def try_bundles(seed: Seed, folder: Path) -> list[Check]:
    """The bundles of these answers with their signatures, golden outputs and rules.

    Raises:
        Problem: the answers make no configuration.
    """
    with stage_configuration(plan_files(seed, folder), folder) as stage:
        return [check for camera in seed.cameras for check in stage.check_bundle(stage.load(camera.name))]


def require_complete(seed: Seed) -> None:
    """Raises a ConfigProblem that names the first flag that is missing."""
    for flag, meaning in find_missing(seed).items():
        hint = f"give {flag}; or run it on a terminal without --yes, and it asks (vedette setup --help lists all flags)"
        raise ConfigProblem(f"{flag} is not known: {meaning}", hint=hint)


def plan_checked(seed: Seed, folder: Path) -> list[PlannedFile]:
    """The files of complete answers, after the whole configuration was read as the daemon reads it.

    Raises:
        Problem: it would be wrong, or a bundle is not signed by a trusted key.
    """
    files = plan_files(seed, folder)
    with stage_configuration(files, folder) as stage:
        for camera in seed.cameras:
            settings = stage.load(camera.name)
            with stage.real_paths():
                _verify(settings, folder)
    return files


def _verify(settings: Config, folder: Path) -> None:
    """Raises a Problem unless the daemon would take these settings, and a trusted key has signed the bundle."""
    with locate_errors(folder / DEVICE_FILE):
        load_timezone(settings.device.timezone)
        if split_url(settings.broker.url, "broker.url").scheme not in SINKS:
            raise ConfigProblem("broker.url names no broker", hint="write mqtt://HOST or mqtts://HOST")
    for each in list_product_settings(settings):
        try:
            bundle = open_bundle(each.bundle, Keyring.read(each.keys))
            check_release(bundle, each.state_folder)
        except UnknownSigner as problem:
            raise problem.reworded(problem.message, "trust it with --key FILE.pub, the signer's") from None
        with locate_errors(folder / CAMERAS / f"{settings.camera}.toml"):
            load_source(SourceAddress.from_config(each))  # its options are right; nothing is opened
            RuleSet(each, bundle.manifest)


def describe_difference(files: Sequence[PlannedFile]) -> list[str]:
    """Lines of a unified diff; of a secret file or a bundle only what would happen to it."""
    lines: list[str] = []
    for file in files:
        action = find_action(file)
        if action == "unchanged":
            continue
        if file.secret or file.path.suffix not in (".toml", ".pub"):
            what = "a secret, not shown" if file.secret else f"{len(file.content)} bytes"
            lines.append(f"{file.path}: would be {action} ({what})")
            continue
        old = file.path.read_text(errors="replace") if action == "replaced" else ""
        new = file.content.decode()
        before = str(file.path) if old else "/dev/null"
        lines += difflib.unified_diff(old.splitlines(), new.splitlines(), before, str(file.path), lineterm="")
    return lines


def write_files(files: Sequence[PlannedFile]) -> list[FileChange]:
    """Writes the files in their order, without those that another one writes already."""
    done: dict[Path, FileChange] = {}
    for file in files:
        if file.path not in done:
            done[file.path] = file.write()
    return list(done.values())


def start_and_wait(seed: Seed, folder: Path, changed: bool, seconds: float) -> Started:
    """Starts the cameras and waits for their first events.

    Raises:
        MachineProblem: systemd refuses.
    """
    services.enable_requests(folder)
    units = services.start_units([each.name for each in seed.cameras], folder, changed)
    events = []
    for unit in units:
        settings: Config = load_config(folder, unit.camera)
        event = wait_for_first_event(settings, seconds, must_run=not unit.left)
        if not event.works and not unit.left and (journal := services.describe_failure(unit.camera, event.runs)):
            event = msgspec.structs.replace(event, text=f"{event.text}; the journal says: {journal}")
        events.append(event)
    return Started(units, events)


def apply_seed(seed: Seed, folder: Path) -> None:
    """Writes the configuration of a seed, and enables its units for the next start; nothing is tried.

    Raises:
        Problem: the seed makes no configuration, a bundle is not signed by a trusted key, or a file cannot be written.
    """
    require_complete(seed)
    write_files(plan_checked(seed, folder))
    services.enable_units([each.name for each in seed.cameras], folder)
    services.enable_requests(folder)
