"""Reference images of a golden sample that the goal names (`[model] references`).

The model is fitted to them, so they and their groups are in the part fit, whatever the seed says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from vedette.runtime.errors import ConfigProblem

from .split import Split

_OTHER_PARTS = ("calibrate", "threshold", "test")


def place_references(names: Sequence[str], folder: Path, images: Split) -> Split:
    """The split with the reference images, and the images of their groups, in the part fit.

    Args:
        names: paths of good images, relative to `folder`; empty: the split stays
        folder: the folder of good images
        images: the split

    Raises:
        ConfigProblem: a name is no usable good image, or another part would lose its last image.
    """
    if not names:
        return images
    references = [folder / name for name in names]
    usable = {path.resolve(): path for path in images.groups}
    found = [usable.get(path.resolve()) for path in references]
    for name, path in zip(names, found, strict=True):
        if path is None or path in images.set_aside:
            hint = f"name images below {folder} that the audit does not leave out, such as {min(usable.values()).name}"
            raise ConfigProblem(f"model.references: {name!r} is no good image that can be used", hint=hint)
    paths = sorted({path for path in found if path is not None})
    if images.few:
        return msgspec.structs.replace(images, references=paths)
    groups = {images.groups[path] for path in paths}
    moved = [path for part in _OTHER_PARTS for path in getattr(images, part) if images.groups[path] in groups]
    parts = {
        part: [path for path in getattr(images, part) if images.groups[path] not in groups] for part in _OTHER_PARTS
    }
    if emptied := [part for part, left in parts.items() if getattr(images, part) and not left]:
        hint = "name fewer references, of fewer groups, or add good images"
        raise ConfigProblem(f"model.references: no image would be left for the part {emptied[0]}", hint=hint)
    fit = sorted({*images.fit, *moved, *paths})
    unusual = [path for path in images.unusual if path not in paths]
    return msgspec.structs.replace(images, fit=fit, unusual=unusual, references=paths, **parts)


def check_references(images: Split) -> None:
    """Checks that the model will be fitted to each reference image, after images were left out.

    Raises:
        ConfigProblem: one is not in the part fit.
    """
    if lost := [path for path in images.references if path not in images.fit]:
        hint = "name images in which the part is found"
        raise ConfigProblem(f"model.references: {lost[0].name} was left out: the part was not found in it", hint=hint)


def find_candidates(paths: Sequence[Path], references: Sequence[Path], copies: int) -> Tensor:
    """Which images of a fit may be references, N, bool: no variations, and those that the goal names if there are any.

    Args:
        paths: the good images; each is followed by its variations
        references: images that the goal names; if none of them is fitted to, each image may be one
        copies: variations of each image
    """
    named = set(references) & set(paths)
    return torch.tensor([row == 0 and (not named or path in named) for path in paths for row in range(1 + copies)])
