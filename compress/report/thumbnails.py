"""Small images for the report, as data URLs: the page fetches nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.camera import image_files
from vedette.runtime.inference.inspector import Inspector

THUMBNAIL_SIDE = 200  # pixels


def read_thumbnail(path: Path, inspector: Inspector | None = None) -> NDArray[Any]:
    """The image at `path`, `THUMBNAIL_SIDE` x `THUMBNAIL_SIDE` x 3, blue-green-red; with an inspector, what the model
    sees of it.
    """
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    if inspector is not None:
        return inspector.view(image_files.read_image(path), size, cv2.INTER_AREA)[0]
    return np.asarray(cv2.resize(image_files.read_image(path), size, interpolation=cv2.INTER_AREA))


def read_scaled(path: Path, longer_side: int) -> NDArray[Any]:
    """The image at `path`, H x W x 3, blue-green-red, with a longer side of so many pixels."""
    image = image_files.read_image(path)
    factor = longer_side / max(image.shape[:2])
    return np.ascontiguousarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def to_data_url(image: NDArray[Any]) -> str:
    """An image, H x W x 3, blue-green-red, as a JPEG in a data URL."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
