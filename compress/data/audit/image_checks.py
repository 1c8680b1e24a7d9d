"""Checks of one image file: whether it is usable, and the measurements for later checks. The file is decoded once.

Pillow decodes the file, because it rejects truncated data. OpenCV fills the missing rows with gray and prints to
stderr. A JPEG that is truncated within its last rows still decodes, but its end marker is missing (ITU-T T.81,
B.1.1.3). The check does not detect a JPEG that lacks data in the middle but has its end marker.

Measurements use the grayscale image. A larger image is scaled down to 512 pixels on its longer side. Model inputs are
even smaller, and at a fixed size a given blur has one value for cameras of any resolution.

    sharpness   log10 of the power of detail below 1.5 pixels, divided by the power between 3 and 6. The ratio of two
                bands is independent of contrast and depends only slightly on the subject. An image with the 1/f
                spectrum of natural scenes (Field, "Relations between the statistics of natural images and the response
                properties of cortical cells", 1987) has 0.75, and -1.21 after a Gaussian blur of 3 pixels
    hash        perceptual hash of 16 x 16 bits (signs of the low frequencies of a cosine transform), from imagehash
    detail      the image at 64 x 64 without its coarse shading
    keypoints   places that can be found again under another exposure (keypoints.py)
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagehash
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vedette.runtime.camera import image_files, pixel_depth
from vedette.runtime.errors import ConfigProblem

from .findings import Finding, FindingKind
from .keypoints import DESCRIBED_SIDE, Keypoints, find_keypoints

MEASURED_SIDE = 512  # pixels of the longer side for measurements, at most
DETAIL_SIZE = 64
COARSE_SIZE = 32
_GREY_TOLERANCE = 3  # levels; largest difference between the channels of a grayscale image
DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


class ImageMeasurements(msgspec.Struct, frozen=True):
    """Measurements of one decoded image."""

    path: Path
    label: str
    digest: bytes
    """Hash of the pixels."""
    width: int
    height: int
    encoding: str
    """"colour" or "grey", with alpha, or in 12 or 16 bit."""
    bits: int
    """Per channel, that the file uses: 8, 12 or 16."""
    hash: NDArray[Any]
    """256 bits, bool."""
    detail: NDArray[Any]
    """64 x 64, float32."""
    coarse: NDArray[Any]
    """32 x 32, float32: the gray image."""
    sharpness: float
    brightness: float
    """Mean level, 0 to 255."""
    clipped: float
    """Fraction of pixels at either end of the scale."""
    keypoints: Keypoints
    pixels: NDArray[Any] | None
    """`size` x `size` x 3, uint8, RGB, for the embedding; None after the embedding is computed."""


def check_image(path: Path, label: str, size: int) -> ImageMeasurements | Finding:
    """Returns the measurements of the image at `path`, with pixels scaled to `size`, or a finding if it is unusable."""
    try:
        str(path).encode()
        data = path.read_bytes()
    except UnicodeEncodeError:
        damage = _Damage("unreadable", "readable", "its name is not UTF-8, and OpenCV cannot open it")
    except OSError as error:
        damage = _Damage("unreadable", "readable", f"it cannot be read: {error.strerror}")
    else:
        decoded = _decode(path, data)
        if not isinstance(decoded, _Damage):
            return _measure(path, label, *decoded, size)
        damage = decoded
    return Finding(file=path, label=label, breaks=True, **damage._asdict())


class _Damage(NamedTuple):
    kind: FindingKind
    measure: str
    why: str
    value: float = 0
    threshold: float = 1


def _decode(path: Path, data: bytes) -> tuple[NDArray[Any], int, bool] | _Damage:
    """Returns the image as H x W x 3, its bits per channel and whether it has an alpha channel, or the kind of
    damage.
    """
    if not data:
        return _Damage("empty", "bytes", "the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
        except DECODE_ERRORS:
            return _Damage("unreadable", "readable", "it is not an image, or its header is damaged")
        try:
            Image.open(io.BytesIO(data)).verify()  # checks the checksums of a PNG
            deep = image.mode.startswith(("I", "F")) or any("16" in str(each[-1]) for each in image.tile)
            alpha = "A" in image.getbands() or "transparency" in image.info
            image.load()
            levels, bits = _read_as_runtime(path) if deep or image.format == "TIFF" else (to_rgb(image), 8)
        except DECODE_ERRORS as error:
            is_truncated = "truncated" in str(error).lower() or not _is_complete(data)
            why = "its data ends early" if is_truncated else f"it cannot be decoded: {error}"
            return _Damage("truncated" if is_truncated else "unreadable", "decodes", why)
    if not _is_complete(data):
        return _Damage("truncated", "end marker", "its end marker is missing")
    if levels.max() == levels.min():
        return _Damage("empty", "levels", "all its pixels have the same colour", value=1, threshold=2)
    return levels, bits, alpha


def _read_as_runtime(path: Path) -> tuple[NDArray[Any], int]:
    """The pixels of a file that Pillow and OpenCV may read differently: H x W x 3, uint8, RGB, and their depth.

    Raises:
        ValueError: the runtime cannot read it.
    """
    try:
        pixels, bits = image_files.read_image_and_depth(path)
    except ConfigProblem as problem:
        raise ValueError(f"{problem.message.removeprefix(f'{path}: ')}; {problem.hint}") from None
    return np.ascontiguousarray(pixels[..., ::-1]), bits


def _is_complete(data: bytes) -> bool:
    """Returns whether a JPEG or PNG has its end marker. Other formats always pass."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data
    if not data.startswith(b"\xff\xd8"):
        return True
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF and data[offset + 1] != 0xDA:  # segments before the scan
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4])
    return data.find(b"\xff\xd9", offset) >= 0


def to_rgb(image: Image.Image) -> NDArray[Any]:
    """Returns an upright image of H x W x 3, uint8, RGB, as the runtime reads it."""
    upright = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        levels = np.asarray(upright).clip(0, 65535).astype(np.uint16)
        return np.repeat(pixel_depth.to_eight_bits(levels, pixel_depth.count_bits(levels) or 16)[..., None], 3, axis=2)
    if image.mode == "F":
        return np.repeat(np.asarray(upright).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def shrink_to_side(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Returns the image scaled down to `side` pixels on its longer side; a smaller image as it is."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, fitted, interpolation=cv2.INTER_AREA)) if scale < 1 else image


def _measure(path: Path, label: str, full: NDArray[Any], bits: int, alpha: bool, size: int) -> ImageMeasurements:
    height, width = full.shape[:2]
    small = shrink_to_side(full, MEASURED_SIDE)
    channels = np.asarray(small).astype(np.int16)
    channel_difference = int((channels.max(axis=2) - channels.min(axis=2)).max())
    encoding = (
        "grey" if channel_difference <= _GREY_TOLERANCE else "colour",
        "with alpha" if alpha else "",
        f"{bits} bit" if bits > 8 else "",
    )
    grey = np.asarray(cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2GRAY))
    grey_float = grey.astype(np.float32)
    fine, middle, wide = (np.asarray(cv2.GaussianBlur(grey_float, (0, 0), sigma)) for sigma in (1.5, 3.0, 6.0))
    detail = np.asarray(cv2.resize(grey_float, (DETAIL_SIZE, DETAIL_SIZE), interpolation=cv2.INTER_AREA))
    return ImageMeasurements(
        path=path,
        label=label,
        digest=hashlib.blake2b(full.tobytes() + repr(full.shape).encode(), digest_size=16).digest(),
        width=width,
        height=height,
        encoding=", ".join(filter(None, encoding)),
        bits=bits,
        hash=np.asarray(imagehash.phash(Image.fromarray(grey), hash_size=16).hash).ravel(),
        detail=detail - np.asarray(cv2.GaussianBlur(detail, (0, 0), DETAIL_SIZE / 8)),
        coarse=np.asarray(cv2.resize(grey_float, (COARSE_SIZE, COARSE_SIZE), interpolation=cv2.INTER_AREA)),
        sharpness=float(np.log10(((grey_float - fine).var() + 1e-6) / ((middle - wide).var() + 1e-6))),
        brightness=float(grey.mean()),
        clipped=float(((grey <= 2) | (grey >= 253)).mean()),
        keypoints=find_keypoints(shrink_to_side(grey, DESCRIBED_SIDE)),
        pixels=np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)),
    )
