"""Finding and reading image files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigProblem
from .image_decoder import decode_image_file

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


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
