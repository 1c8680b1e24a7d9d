"""Where the bundle of a camera goes: into the store of models, as `vedette install` puts it there.

So the first release is like every later one: the camera's file says `bundle = "installed:NAME"`, and an update needs no
change of it. A bundle that the camera's file names by its path already stays there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from vedette.runtime.bundle.archive import unpack_archive
from vedette.runtime.bundle.bundle import MANIFEST, Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.config.configuration import Config, device_folders, load_config, load_device
from vedette.runtime.config.installed_bundle import INSTALLED
from vedette.runtime.errors import UNREADABLE, BundleProblem, ConfigProblem, Problem
from vedette.runtime.installation.installer import as_owner, put_release, read_present_release, read_recalibration
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import Conditions

from .durable_files import FileChange, PlannedFile, find_action


class _Label(msgspec.Struct):
    """What a manifest says of its bundle; nothing is verified by it."""

    name: str
    release: int


class PlannedBundle(PlannedFile, frozen=True, kw_only=True):
    """A release that set-up puts into the store and makes current; `path` is its file there."""

    product: str
    release: int
    source: Path
    """The file that the user named."""
    state: Path
    """State folder of the device."""
    folder: Path
    """With vedette.toml, which is written before."""
    camera: str

    def is_in_force(self) -> bool:
        """Whether it is the current release."""
        return ModelStore(self.state).find_model(self.product).current == self.release

    def write(self) -> FileChange:
        """Stores it, unless it is there and current; another current release is the one to go back to in a probation.

        Raises:
            BundleProblem: no trusted key signed it.
            ConfigProblem: the release is installed with another content.
            MachineProblem: the disk does not take it.
        """
        action = find_action(self)
        if action != "unchanged":
            keys = device_folders(self.folder, load_device(self.folder))[1]
            bundle = Bundle.open(self.source, Keyring.read(keys))
            present = list(self._load_camera())
            recalibration = read_recalibration(bundle, self.source, *[each.bundle for each in present])
            before = read_present_release(bundle, present)
            with as_owner(self.state):
                store = ModelStore(self.state)
                put_release(store, bundle, self.content, recalibration, before, keys, Conditions())
        return FileChange(str(self.path), action)

    def _load_camera(self) -> Iterable[Config]:
        with contextlib.suppress(Problem):  # it has no file yet, or a wrong one
            yield load_config(self.folder, self.camera)


def place_bundle(
    bundle: str, camera: str, folder: Path, cameras: Path, state: Path, present: str
) -> tuple[str, list[PlannedFile]]:
    """The value of the key `bundle`, and what to write for it.

    Args:
        bundle: absolute path of the bundle, or `installed:NAME`
        camera: name of the camera
        folder: with vedette.toml
        cameras: folder of the camera's file
        state: state folder of the device
        present: the key's present value; kept if it names that very file. Empty: none

    Raises:
        BundleProblem: it is no bundle.
        ConfigProblem: it cannot be read.
    """
    path = Path(bundle)
    if bundle.startswith(INSTALLED) or (not path.is_file() and path.exists()):  # /dev/null, in trials of a camera
        return bundle, []
    if present and not present.startswith(INSTALLED) and (cameras / present).resolve() == path.resolve():
        return present, []
    if path.resolve().parent == cameras.resolve():
        return path.name, []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="check the path of the bundle (--bundle)") from None
    try:
        label = msgspec.json.decode(unpack_archive(path).get(MANIFEST, b""), type=_Label)
    except UNREADABLE:
        raise BundleProblem(f"{path}: it has no manifest", hint="name a bundle that vedette build wrote") from None
    planned = PlannedBundle(
        path=ModelStore(state).release_path(label.name, label.release),
        content=content,
        product=label.name,
        release=label.release,
        source=path,
        state=state,
        folder=folder,
        camera=camera,
    )
    return f"{INSTALLED}{label.name}", [planned]


def check_one_release_each(files: Iterable[PlannedFile]) -> None:
    """Refuses two bundles of one product: its cameras run its current release.

    Raises:
        ConfigProblem: two cameras ask for different ones.
    """
    planned = dict[str, PlannedBundle]()
    for file in files:
        if isinstance(file, PlannedBundle):
            other = planned.setdefault(file.product, file)
            if other.content != file.content:
                what = f"{other.camera} and {file.camera} ask for different bundles of {file.product}"
                hint = "a box runs one release of a product: name one bundle for both, or build with another name"
                raise ConfigProblem(f"{what}: {other.source} and {file.source}", hint=hint)
