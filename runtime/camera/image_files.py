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
from . import folder_search, pixel_depth
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
    """Reads an image: H x W x 3, uint8, blue-green-red, unless `flags` say otherwise; IMREAD_UNCHANGED keeps its depth.

    Raises:
        ConfigProblem: the file cannot be read as an image, or has too many pixels.
    """
    return read_image_and_depth(path, flags)[0]


def read_image_and_depth(path: Path, flags: int = cv2.IMREAD_COLOR) -> tuple[NDArray[Any], int]:
    """As `read_image`, with the bits per channel that the file uses: 8, 12 or 16 (pixel_depth.py)."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # OpenCV would crash the process
        name = ascii(str(path))
        raise ConfigProblem(f"{name}: the name is not UTF-8", hint="rename it") from None
    pixels = decode_image_file(path, flags | cv2.IMREAD_ANYDEPTH)
    bits = None if pixels is None else pixel_depth.count_bits(np.asarray(pixels))
    if pixels is None or bits is None:
        unchanged = decode_image_file(path, cv2.IMREAD_UNCHANGED) if pixels is None else pixels
        if unchanged is not None and (deep := np.asarray(unchanged).dtype) not in (np.uint8, np.uint16):
            hint = "save it with 8 or 16 bits per channel: what is black and what is white in it, the file does not say"
            raise ConfigProblem(f"{path}: its pixels are {deep} numbers", hint=hint)
        raise ConfigProblem(f"{path}: cannot be read as an image", hint="repair it or remove it from the folder")
    image = np.asarray(pixels)
    if flags == cv2.IMREAD_UNCHANGED:
        return image, bits
    image = pixel_depth.to_eight_bits(image, bits)
    if _black_zones:
        image[_hidden_pixels(_black_zones, *image.shape[:2])] = 0
    return image, bits


def find_images(folder: Path) -> list[Path]:
    """All images below `folder`, sorted by path; linked folders are searched too.

    Raises:
        ConfigProblem: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold images")
    files = folder_search.find_files(folder)
    if found := filter_images(files):
        return found
    skipped = folder_search.describe_skipped(skipped_files(files))
    text = f"{folder}: no images in it" + (f" ({skipped} skipped)" if skipped else "")
    raise ConfigProblem(text, hint=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}")


def skipped_files(paths: Iterable[Path]) -> list[Path]:
    """The `paths` that do not have the suffix of an image file, without hidden ones."""
    return [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES and not path.name.startswith(".")]


def filter_images(paths: Iterable[Path]) -> list[Path]:
    """The `paths` with the suffix of an image file, sorted."""
    return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
