"""The images, and how they are divided so that no figure flatters.

    fit         good images that the detector learns from
    calibrate   good images that the integer ranges are set with
    threshold   good images that the threshold is set with
    test        good images that nothing has seen, and all defective ones

Images of one group (pictures of one part, one shift, one module) resemble each other more than what the camera will see
tomorrow, and near copies all the more; a group is never divided. A good image that nearly is a defective one may
be tested with it; where its group belongs to another part it is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Input
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.preprocess import Preprocess

from ..goal.goal_file import Data
from . import groups, keep_list
from .audit import audit
from .audit.findings import Audit
from .audit.sample_size import Certainty

SHARES = {"fit": 0.5, "calibrate": 0.1, "threshold": 0.15, "test": 0.25}
_FEWEST = 10


class Split(msgspec.Struct, frozen=True):
    """Paths of images; the four lists of good ones are disjoint."""

    fit: list[Path]
    calibrate: list[Path]
    threshold: list[Path]
    test: list[Path]
    defect: list[Path]
    masks: dict[Path, Path]
    """Defective image -> its mask, where it has one."""
    groups: dict[Path, str] = {}
    """Good image -> its group; an image alone is a group of its own."""
    aside: list[Path] = []
    """Good images that nearly are defective ones, and whose group is not tested."""
    audit: dict[str, Any] = {}
    """What the audit said of them, for report.json."""


class Images(msgspec.Struct, frozen=True):
    """The images that a goal file names."""

    by_label: dict[str, list[Path]]
    folders: dict[str, Path]
    groups: dict[Path, str]

    @classmethod
    def named(cls, by_label: dict[str, list[Path]], folders: dict[str, Path], data: Data, base: Path) -> Images:
        """Those of the images that `data.list` names, where there is one, and their groups.

        Raises:
            ConfigProblem: the list or the groups cannot be read.
        """
        listed: dict[Path, str] = {}
        if data.list is not None:
            by_label, listed = keep_list.restrict(by_label, base / data.list)
        given = groups.of(by_label, folders, data.group, base)
        return cls(by_label, folders, given | listed if data.group is None else given)

    def usable(self, found: Audit | None) -> dict[str, list[Path]]:
        """What the audit does not leave out, by label."""
        out = set(found.left_out) if found else set()
        return {label: [each for each in paths if each not in out] for label, paths in self.by_label.items()}


def find(data: Data, base: Path) -> Images:
    """The images that `data` names, and their groups.

    Raises:
        ConfigProblem: a folder is missing or empty, a list cannot be read, or an image would count twice.
    """
    folders = {label: base / name for label, name in (("good", data.good), ("defect", data.defect)) if name is not None}
    images = {label: image_files.find(folder) for label, folder in folders.items()}
    masks = image_files.find(base / data.mask) if data.mask is not None else []
    if shared := set(images["good"]) & {*images.get("defect", []), *masks}:
        hint = "data.good is searched with its sub-folders: keep good and defective images apart"
        raise ConfigProblem(f"{min(shared)} would count as good and as defective", hint=hint)
    return Images.named(images, folders, data, base)


def audited(
    data: Data,
    base: Path,
    track: Track = lambda items, _: items,
    say: Callable[[str], None] = lambda _: None,
) -> Split:
    """Looks at the images that `data` names, leaves out what no build can use, and divides the rest.

    Args:
        data: what the goal file says
        base: folder of the goal file
        track: wraps the loop over the images, to show its progress
        say: is told what was found

    Raises:
        ConfigProblem: as `split`.
    """
    named = find(data, base)
    found, summary = looked_over(named, base, track, say)
    divided = split(data, base, named, found)
    say(str(Certainty(len(divided.threshold), len(divided.test), len(divided.defect))))
    if divided.aside:
        say(f"set aside: {len(divided.aside)} good images that nearly are defective ones")
    summary["set_aside"] = [found.name(path) for path in divided.aside]
    return msgspec.structs.replace(divided, audit=summary)


def looked_over(named: Images, base: Path, track: Track, say: Callable[[str], None]) -> tuple[Audit, dict[str, Any]]:
    """The audit of these images, told to `say`, and what report.json keeps of it."""
    count = sum(map(len, named.by_label.values()))
    say(f"auditing {count} images")
    found = audit(named.by_label, named.folders, named.groups, base, track)
    for path, finding in found.left_out.items():
        say(f"left out: {found.name(path)}: {finding.why}")
    if others := found.counts(breaking=False):
        text = ", ".join(f"{number} {kind}" for kind, number in others.items())
        say(f"worth a look (vedette audit shows them): {text}")
    return found, {
        "images": count,
        "counts": found.counts(),
        "left_out": [found.fact(each) | {"file": found.name(path)} for path, each in found.left_out.items()],
        "unchecked": list(found.unchecked),
    }


def split(data: Data, base: Path, images: Images | None = None, found: Audit | None = None) -> Split:
    """Divides the images that `data` names; the same seed gives the same division.

    Args:
        data: what the goal file says
        base: folder of the goal file
        images: what `find` gives for them
        found: what the audit says of them; without it no image is left out and near copies may be divided

    Raises:
        ConfigProblem: a folder is missing or empty, or there are too few good images or groups.
    """
    images = images or find(data, base)
    by_label = images.usable(found)
    good, defect = by_label["good"], by_label.get("defect", [])
    if len(good) < _FEWEST:
        hint = "a detector needs tens, better hundreds, of good images"
        raise ConfigProblem(f"{base / data.good}: {len(good)} good images, at least {_FEWEST} are needed", hint=hint)
    pairs = found.pairs() if found else []
    own = groups.joined({path: images.groups[path] for path in good}, pairs)
    members: dict[str, list[Path]] = {}
    for path in good:
        members.setdefault(own[path], []).append(path)
    if len(members) < len(SHARES):
        hint = "mend data.group; each of fit, calibrate, threshold and test needs a group"
        raise ConfigProblem(f"data.group makes {len(members)} groups, at least {len(SHARES)} are needed", hint=hint)
    bad = set(defect)
    tied = {one for pair in pairs for one, other in (pair, pair[::-1]) if one in own and other in bad}
    parts = _divide(members, data.seed)
    aside = sorted(path for part in ("fit", "calibrate", "threshold") for path in parts[part] if path in tied)
    parts = {part: [path for path in paths if path not in aside] for part, paths in parts.items()}
    if not all(parts.values()):
        hint = "vedette audit shows the near copies; more good images that are no copies are needed"
        raise ConfigProblem(f"{base / data.good}: too many good images nearly are defective ones", hint=hint)
    masks = _masks(defect, base / data.mask) if data.mask is not None else {}
    kept = {path: own[path] for path in good}
    return Split(parts["fit"], parts["calibrate"], parts["threshold"], parts["test"], defect, masks, kept, aside)


def _divide(groups: Mapping[str, list[Path]], seed: int) -> dict[str, list[Path]]:
    """Deals the groups, in a random order, to whichever part lacks most of its share; the first four fill all parts."""
    names = sorted(groups)
    np.random.default_rng(seed).shuffle(names)
    total = sum(map(len, groups.values()))
    parts: dict[str, list[Path]] = {part: [] for part in SHARES}
    for name in names:
        empty = [part for part in SHARES if not parts[part]]
        part = min(empty or SHARES, key=lambda part: len(parts[part]) / (SHARES[part] * total))
        parts[part] += groups[name]
    return {part: sorted(paths) for part, paths in parts.items()}


def _masks(defect: list[Path], folder: Path) -> dict[Path, Path]:
    by_stem = {path.stem: path for path in image_files.find(folder)}
    masks = {path: by_stem[path.stem] for path in defect if path.stem in by_stem}
    if not masks:
        hint = "a mask has the stem of the defective image (data.defect) that it belongs to"
        raise ConfigProblem(f"{folder}: no mask belongs to a defective image", hint=hint)
    return masks


def tensors(paths: Iterable[Path], spec: Input) -> Iterator[NDArray[Any]]:
    """Images as a model takes them, through the runtime's preprocessing: 1 x height x width x 3, u8."""
    preprocess = Preprocess(spec)
    for path in paths:
        yield preprocess(image_files.read(path))


def read_mask(path: Path) -> NDArray[Any]:
    """H x W, bool: where the part is defective. The alpha channel decides where there is one, else what is not black.

    Raises:
        ConfigProblem: the file cannot be read as an image.
    """
    pixels = image_files.read(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(pixels[..., 3] >= 128)
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1).max(axis=2) > 0)
