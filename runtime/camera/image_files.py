"""Finding and reading image files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config.polygon import Polygon
from ..errors import ConfigProblem
from .capture.privacy_mask import rasterize_zones
from .image_decoder import decode_image_file

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


_black_zones: tuple[Polygon, ...] = ()


@contextlib.contextmanager
def black_zones(zones: Iterable[Iterable[Iterable[float]]]) -> Iterator[None]:
    """Privacy zones that are black in every image that this process reads within the context.

    A mask, which is read with `IMREAD_UNCHANGED`, is no image and stays as it is.

    Args:
        zones: polygons of [x, y], fractions 0…1 from the top left
    """
    global _black_zones  # noqa: PLW0603  # one for the process: whoever reads an image must not see what is hidden
    before = _black_zones
    _black_zones = tuple(tuple((float(x), float(y)) for x, y in zone) for zone in zones)
    try:
        yield
    finally:
        _black_zones = before


@lru_cache(maxsize=8)
def _hidden_pixels(zones: tuple[Polygon, ...], height: int, width: int) -> Any:
    return rasterize_zones(zones, height, width)


def read_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> NDArray[Any]:
    """Reads an image: H x W x 3, uint8, blue-green-red, unless `flags` say otherwise.

    Raises:
        ConfigProblem: the file cannot be read as an image, or has too many pixels.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # OpenCV would crash the process
        name = ascii(str(path))
        raise ConfigProblem(f"{name}: the name is not UTF-8", hint="rename it") from None
    pixels = decode_image_file(path, flags)
    if pixels is None:
        raise ConfigProblem(f"{path}: cannot be read as an image", hint="repair it or remove it from the folder")
    if _black_zones and flags != cv2.IMREAD_UNCHANGED:
        pixels[_hidden_pixels(_black_zones, *pixels.shape[:2])] = 0
    return np.asarray(pixels)


def find_images(folder: Path) -> list[Path]:
    """All images below `folder`, sorted by path.

    Raises:
        ConfigProblem: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold images")
    found = filter_images(folder.rglob("*"))
    if not found:
        raise ConfigProblem(f"{folder}: no images in it", hint=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def filter_images(paths: Iterable[Path]) -> list[Path]:
    """The `paths` with the suffix of an image file, sorted."""
    return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
