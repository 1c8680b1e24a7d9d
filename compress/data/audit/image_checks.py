"""One image file, decoded once: whether it can be used, and all that is compared later.

Pillow decodes, not OpenCV: it refuses data that ends early, where OpenCV fills the rest with grey and prints to stderr.
A JPEG that is cut within its last rows decodes even so; its end marker is missing (ITU-T T.81, B.1.1.3). A JPEG whose
middle is lost but whose end is there is not noticed.

Measures are taken from the grey picture, scaled down to 512 pixels on its longer side where it is larger: what a model
sees is smaller still, and so a blur means the same for cameras of any resolution.

    sharpness   log10 of the power of detail under 1.5 pixels over that between 3 and 6. A ratio of two bands does not
                depend on contrast, and little on what is shown: a picture with the 1/f spectrum of natural scenes
                (Field, "Relations between the statistics of natural images and the response properties of cortical
                cells", 1987) has 0.75, and -1.21 once it is blurred by a Gaussian of 3 pixels.
    hash        the perceptual hash of 16 x 16 bits (signs of the low frequencies of a cosine transform), from imagehash
    detail      the picture in 64 x 64 without its coarse shading
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

from .findings import Finding, Kind

SIDE = 512  # pixels of the longer side that measures are taken at
DETAIL = 64
COARSE = 32
_SPREAD = 3  # levels between the channels of a grey picture
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


class Look(msgspec.Struct, frozen=True):
    """What one decoding of an image tells."""

    path: Path
    label: str
    digest: bytes
    """Of the pixels."""
    width: int
    height: int
    encoding: str
    """"colour" or "grey", with alpha, or in 16 bit."""
    hash: NDArray[Any]
    """256 bits, bool."""
    detail: NDArray[Any]
    """64 x 64, float32."""
    coarse: NDArray[Any]
    """32 x 32, float32: grey."""
    sharpness: float
    brightness: float
    """Mean level, 0 to 255."""
    clipped: float
    """Share of pixels at either end of the scale."""
    pixels: NDArray[Any] | None
    """`size` x `size` x 3, uint8, red-green-blue, for the embedding; None once it is taken."""


def look(path: Path, label: str, size: int) -> Look | Finding:
    """The image at `path`, or why it cannot be used."""
    try:
        str(path).encode()
        data = path.read_bytes()
    except UnicodeEncodeError:
        damage = _Damage("unreadable", "readable", "the name is not UTF-8, which OpenCV cannot open")
    except OSError as error:
        damage = _Damage("unreadable", "readable", f"it cannot be read: {error.strerror}")
    else:
        decoded = _decoded(data)
        if not isinstance(decoded, _Damage):
            return _measured(path, label, *decoded, size)
        damage = decoded
    return Finding(file=path, label=label, breaks=True, **damage._asdict())


class _Damage(NamedTuple):
    kind: Kind
    measure: str
    why: str
    value: float = 0
    threshold: float = 1


def _decoded(data: bytes) -> tuple[NDArray[Any], int, bool] | _Damage:
    """H x W x 3, bits per channel and whether there is an alpha channel; or what is wrong."""
    if not data:
        return _Damage("empty", "bytes", "the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
        except BROKEN:
            return _Damage("unreadable", "readable", "it is no image, or its head is damaged")
        try:
            Image.open(io.BytesIO(data)).verify()  # the checksums of a PNG
            deep = image.mode.startswith(("I", "F")) or any("16" in str(each[-1]) for each in image.tile)
            alpha = "A" in image.getbands() or "transparency" in image.info
            image.load()
            levels = pixels(image)
        except BROKEN as error:
            early = "truncated" in str(error).lower() or not _ends(data)
            why = "its data ends early" if early else f"it cannot be decoded: {error}"
            return _Damage("truncated" if early else "unreadable", "decodes", why)
    if not _ends(data):
        return _Damage("truncated", "end marker", "its end is missing")
    if levels.max() == levels.min():
        return _Damage("empty", "levels", "all its pixels have one colour", value=1, threshold=2)
    return levels, 16 if deep else 8, alpha


def _ends(data: bytes) -> bool:
    """Whether the end marker of a JPEG or a PNG is there; other formats are taken at their word."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" in data
    if not data.startswith(b"\xff\xd8"):
        return True
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # segments before the scan
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return data.find(b"\xff\xd9", at) >= 0


def pixels(image: Image.Image) -> NDArray[Any]:
    """H x W x 3, uint8, red-green-blue, upright: as the runtime would read it."""
    upright = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(upright).astype(np.float64) / (1 if image.mode == "F" else 256)
        return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def _measured(path: Path, label: str, full: NDArray[Any], bits: int, alpha: bool, size: int) -> Look:
    height, width = full.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(full, fitted, interpolation=cv2.INTER_AREA) if scale < 1 else full
    channels = np.asarray(small).astype(np.int16)
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    words = (
        "grey" if spread <= _SPREAD else "colour",
        "with alpha" if alpha else "",
        f"{bits} bit" if bits > 8 else "",
    )
    grey = np.asarray(cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2GRAY))
    real = grey.astype(np.float32)
    fine, middle, wide = (np.asarray(cv2.GaussianBlur(real, (0, 0), sigma)) for sigma in (1.5, 3.0, 6.0))
    detail = np.asarray(cv2.resize(real, (DETAIL, DETAIL), interpolation=cv2.INTER_AREA))
    return Look(
        path=path,
        label=label,
        digest=hashlib.blake2b(full.tobytes() + repr(full.shape).encode(), digest_size=16).digest(),
        width=width,
        height=height,
        encoding=", ".join(filter(None, words)),
        hash=np.asarray(imagehash.phash(Image.fromarray(grey), hash_size=16).hash).ravel(),
        detail=detail - np.asarray(cv2.GaussianBlur(detail, (0, 0), DETAIL / 8)),
        coarse=np.asarray(cv2.resize(real, (COARSE, COARSE), interpolation=cv2.INTER_AREA)),
        sharpness=float(np.log10(((real - fine).var() + 1e-6) / ((middle - wide).var() + 1e-6))),
        brightness=float(grey.mean()),
        clipped=float(((grey <= 2) | (grey >= 253)).mean()),
        pixels=np.asarray(cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)),
    )
