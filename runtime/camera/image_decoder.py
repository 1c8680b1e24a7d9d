"""Decoding of an image file by OpenCV, with its exceptions as one sentence.

OpenCV compares the size in a file's header with the environment variable OPENCV_IO_MAX_IMAGE_PIXELS, which it reads
when it is loaded, before it decodes anything: JPEG, PNG, BMP, TIFF, WebP and PNM are refused before their pixels take
memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from ..errors import ConfigProblem

PIXEL_LIMIT_VARIABLE = "OPENCV_IO_MAX_IMAGE_PIXELS"


def decode_image_file(path: Path, flags: int) -> NDArray[Any] | None:
    """The pixels of an image file, as `cv2.imread`; None: it is no image.

    Raises:
        ConfigProblem: the image has too many pixels, or OpenCV cannot decode it.
    """
    try:
        return cv2.imread(str(path), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" not in str(error):
            hint = "repair it or remove it from the folder"
            raise ConfigProblem(f"{path}: cannot be read as an image: {error.err}", hint=hint) from None
        limit = os.environ.get(PIXEL_LIMIT_VARIABLE, "")
        reason = f"cannot be read as an image: it has more than {limit} pixels, or a side is too long"
        raise ConfigProblem(f"{path}: {reason}", hint="scale it down, or raise max_pixels") from None
