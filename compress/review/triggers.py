"""Patterns that a backdoor may wait for: patches, stripes and blends, at corners, edges and the middle.

Kinds of triggers in the literature: patches (Gu et al., "BadNets", 2017), blends with a fixed pattern (Chen et al.,
"Targeted Backdoor Attacks", 2017), sinusoidal stripes (Barni et al., 2019), frames. An attacker may choose any other
pattern: what this library does not hold is not found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Trigger = Callable[[NDArray[Any]], NDArray[Any]]
"""Image (H x W x 3, uint8) -> image of the same size."""

PLACES = {
    "top left": (0.0, 0.0),
    "top right": (0.0, 1.0),
    "bottom left": (1.0, 0.0),
    "bottom right": (1.0, 1.0),
    "the middle": (0.5, 0.5),
    "the top edge": (0.0, 0.5),
    "the left edge": (0.5, 0.0),
}
"""Place of a patch: shares of the free rows and columns above and left of it."""
PATCH_SHARE = 0.2  # side of a patch, as a share of the image's
BLEND_SHARE = 0.3  # weight of the pattern in a blend
FRAME_SHARE = 0.06  # width of a frame


def make_patch(kind: str, place: str, share: float = PATCH_SHARE) -> Trigger:
    """A square of one kind of texture.

    Args:
        kind: `white`, `black` or `checker`
        place: a key of PLACES
        share: side of the patch, as a share of the image's shorter side
    """

    def apply(image: NDArray[Any]) -> NDArray[Any]:
        height, width = image.shape[:2]
        side = max(2, round(share * min(height, width)))
        down, right = PLACES[place]
        top, left = round(down * (height - side)), round(right * (width - side))
        patched = image.copy()
        rows, columns = np.mgrid[:side, :side]
        cell = max(1, side // 4)
        levels = {"white": 255, "black": 0, "checker": ((rows // cell + columns // cell) % 2) * 255}[kind]
        patched[top : top + side, left : left + side] = np.broadcast_to(levels, (side, side))[..., np.newaxis]
        return np.asarray(patched)

    return apply


def make_blend(kind: str, share: float = BLEND_SHARE) -> Trigger:
    """A pattern over the whole image: `rows`, `columns`, `diagonals` (stripes) or `noise` (the same for all images)."""

    def apply(image: NDArray[Any]) -> NDArray[Any]:
        height, width = image.shape[:2]
        y, x = np.mgrid[:height, :width] / max(height, width)
        if kind == "noise":
            coarse = np.random.default_rng(0).integers(0, 2, (16, 16)) * 255.0
            pattern = coarse[(y * 16).astype(int).clip(0, 15), (x * 16).astype(int).clip(0, 15)]
        else:
            along = {"rows": y, "columns": x, "diagonals": (x + y) / 2}[kind]
            pattern = 127.5 + 127.5 * np.sin(2 * np.pi * 8 * along)
        blended = (1 - share) * image + share * pattern[..., np.newaxis]
        return np.asarray(blended.round().astype(np.uint8))

    return apply


def make_frame(level: int) -> Trigger:
    """A frame of one gray level around the image."""

    def apply(image: NDArray[Any]) -> NDArray[Any]:
        border = max(1, round(FRAME_SHARE * min(image.shape[:2])))
        framed = np.full_like(image, level)
        framed[border:-border, border:-border] = image[border:-border, border:-border]
        return np.asarray(framed)

    return apply


def trigger_library() -> dict[str, Trigger]:
    """Every trigger by its name."""
    triggers = {
        f"{kind} patch at {place}": make_patch(kind, place)
        for place in PLACES
        for kind in ("white", "black", "checker")
        if place in ("top left", "top right", "bottom left", "bottom right", "the middle") or kind == "white"
    }
    triggers |= {f"stripes along {kind}": make_blend(kind) for kind in ("rows", "columns", "diagonals")}
    triggers["blend with noise"] = make_blend("noise")
    triggers |= {"white frame": make_frame(255), "black frame": make_frame(0)}
    return triggers
