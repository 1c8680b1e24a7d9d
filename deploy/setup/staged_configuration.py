"""The configuration as it will be, in a private folder that is gone afterwards, so that it is tried before it is
written.

Present files that are not replaced are links there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec

from vedette.runtime.config.configuration import SYSTEM_FOLDER, Config, device_folders, load_config
from vedette.runtime.errors import Problem
from vedette.runtime.monitoring.doctor_bundle import check_bundle
from vedette.runtime.monitoring.doctor_camera import ask_daemon, check_camera
from vedette.runtime.monitoring.doctor_check import Check
from vedette.runtime.monitoring.doctor_checks import check_broker

from .bundle_placement import PlannedBundle
from .configuration_files import CAMERAS, DEVICE_FILE, KEYS, SECRETS, keys_folder, read_present
from .durable_files import PlannedFile

_MEMORY = Path("/run")
"""In memory: secrets that lie there for a moment reach no disk."""


class StagedConfiguration:
    """A configuration that is not yet written; `stage_configuration` makes it."""

    def __init__(self, stage: Path, folder: Path, bundles: dict[str, Path]) -> None:
        self.stage, self.folder, self.bundles = stage, folder, bundles

    def load(self, camera: str) -> Config:
        """The settings of a camera, with the paths of trusted keys and the bundle in the private folder.

        Raises:
            Problem: they are wrong; the message names the file that would be written.
        """
        with self.real_paths():
            settings = load_config(self.stage, camera)
        state = device_folders(self.folder, settings.device)[0]

        def place(bundle: Path, installed: str) -> Path:
            if installed in self.bundles:
                return self.bundles[installed]
            if bundle.is_relative_to(settings.state):  # an installed model, which lies in the real state folder
                return state / bundle.relative_to(settings.state)
            return bundle

        products = [
            msgspec.structs.replace(each, bundle=place(each.bundle, each.installed)) for each in settings.products
        ]
        return msgspec.structs.replace(
            settings,
            bundle=place(settings.bundle, settings.installed),
            products=tuple(products),
            base=(self.folder / CAMERAS).absolute(),
            keys=self.stage / KEYS if settings.keys or self.folder.absolute() == SYSTEM_FOLDER else None,
            state=state,
        )

    def check_broker(self, settings: Config) -> Check:
        """Whether the broker answers, and takes the login."""
        return self._shown(check_broker(settings))

    def check_bundle(self, settings: Config) -> list[Check]:
        """The bundle with its signature, the golden outputs on this machine, and the rules."""
        return [self._shown(each) for each in check_bundle(settings)]

    def check_camera(self, settings: Config, picture: Path | None) -> Check:
        """Whether the camera gives a frame, which is saved as `picture`; a running daemon with this source is asked."""
        try:
            runs_already = load_config(self.folder, settings.camera).source == settings.source
        except Problem:
            runs_already = False
        saved: list[str] = []

        def save(pixels: Any) -> None:
            if picture is not None and _write_picture(picture, pixels):
                saved.append(f", saved as {picture}")

        if runs_already and (answer := ask_daemon(settings)) is not None:
            return self._shown(answer)
        check = self._shown(check_camera(settings, save))
        return msgspec.structs.replace(check, found="".join([check.found, *saved]))

    def _shown(self, check: Check) -> Check:
        real = {key: getattr(check, key).replace(str(self.stage), str(self.folder)) for key in ("found", "remedy")}
        return msgspec.structs.replace(check, **real)

    @contextlib.contextmanager
    def real_paths(self) -> Iterator[None]:
        """Problems raised inside name the files that would be written."""
        try:
            yield
        except Problem as problem:
            message, hint = (
                text.replace(str(self.stage), str(self.folder)) for text in (problem.message, problem.hint)
            )
            raise problem.reworded(message, hint) from None


@contextlib.contextmanager
def stage_configuration(files: Sequence[PlannedFile], folder: Path) -> Iterator[StagedConfiguration]:
    """The configuration folder with these files in it, until the context is left."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vedette-setup-", dir=memory) as name:
        stage = Path(name)
        keys = keys_folder(folder, read_present(folder / DEVICE_FILE))
        for part, place in (("", folder), (CAMERAS, folder / CAMERAS), (KEYS, keys), (SECRETS, folder / SECRETS)):
            (stage / part).mkdir(exist_ok=True)
            for path in place.glob("*"):
                if path.is_file():
                    (stage / part / path.name).symlink_to(path.absolute())
        bundles = dict[str, Path]()
        for file in files:
            if isinstance(file, PlannedBundle):  # tried where it is
                bundles[file.product] = file.source
                continue
            is_key = file.path.parent == keys
            target = stage / (Path(KEYS, file.path.name) if is_key else file.path.relative_to(folder))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(file.content)
        yield StagedConfiguration(stage, folder, bundles)


def _write_picture(path: Path, pixels: Any) -> bool:
    """Saves a frame as JPEG, for the user who called sudo alone; False if that cannot be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(cv2.imencode(".jpg", pixels)[1].tobytes())
            if os.geteuid() == 0 and (user := os.environ.get("SUDO_UID", "")).isdigit():
                os.fchown(descriptor, int(user), -1)
    except OSError:
        return False
    return True
