"""Images from a browser: checked, named and stored, complete or not at all.

An image is stored only if Pillow decodes all of it, within the limits of bytes and pixels, as one of the formats that a
build reads. Its name is made of letters, digits, dots, dashes and underscores, whatever the browser said.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.errors import ConfigProblem

from .workspace import Workspace

MAX_BYTES = 48 << 20
"""Of one image."""
MAX_PIXELS = 64_000_000
MAX_IMAGES = 20_000
"""Of one label."""
SUFFIX_OF = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "PPM": (".ppm", ".pgm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_FORBIDDEN = re.compile(r"[^\w.-]+", re.ASCII)
_MAX_NAME = 80


def store_image(workspace: Workspace, label: str, name: str, content: bytes) -> Path:
    """Stores an image; one with the same name and content is not stored again.

    Args:
        workspace: with the folder of the label
        label: its folder
        name: the file's name as the browser gave it
        content: the file

    Raises:
        ConfigProblem: it is no image that a build reads, too large, or there are too many.
        MachineProblem: it cannot be written.
    """
    suffixes = SUFFIX_OF[check_image(content)]
    if len(workspace.images(label)) >= MAX_IMAGES:
        raise ConfigProblem(
            f"{label}: there are {MAX_IMAGES} images already", hint="copy more into the folder yourself"
        )
    stem, suffix = clean_name(name)
    if suffix not in suffixes:
        suffix = suffixes[0]
    folder = workspace.folder / label
    for number in range(1, MAX_IMAGES + 2):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        if not path.exists():
            write_atomically(path, content, "free space on the disk, or make the folder writable")
            return path
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return path
    raise ConfigProblem(f"{stem}: too many images have this name", hint="rename it")


def check_image(content: bytes) -> str:
    """Decodes an image; returns its format.

    Raises:
        ConfigProblem: it cannot be decoded, is of another format, or too large.
    """
    if len(content) > MAX_BYTES:
        raise ConfigProblem(f"the file has more than {MAX_BYTES >> 20} MiB", hint="copy it into the folder yourself")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=list(SUFFIX_OF)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ConfigProblem(f"the image has {width} × {height} pixels", hint="scale it down")
                found = image.format or ""
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, UnidentifiedImageError):
        hint = f"images end in {', '.join(each for names in SUFFIX_OF.values() for each in names)}"
        raise ConfigProblem("the file cannot be read as an image", hint=hint) from None
    return found


def clean_name(name: str) -> tuple[str, str]:
    """Stem and suffix of a file's name, without folders and without characters that mean something elsewhere."""
    base = re.split(r"[/\\]", name)[-1]
    stem, dot, suffix = base.rpartition(".")
    stem, suffix = (stem, f".{suffix}".lower()) if dot else (base, "")
    return _FORBIDDEN.sub("_", stem).strip("._-")[:_MAX_NAME] or "image", suffix
