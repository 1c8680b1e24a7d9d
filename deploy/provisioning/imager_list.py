"""A list for Raspberry Pi Imager (`os_list`) with one image.

    python -m vedette.deploy.provisioning.imager_list IMAGE --url URL > os_list.json

Imager takes it with `rpi-imager --repo URL-OR-FILE`. It checks the digest of what it has written, so the list is made
of the image itself.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem

_OPENERS: dict[str, Callable[..., Any]] = {".img": open, ".img.xz": lzma.open, ".img.gz": gzip.open}
_BLOCK = 1 << 20
FORMATS = ("none", "systemd", "cloudinit", "cloudinit-rpi")


class ImagerEntry(msgspec.Struct, frozen=True):
    """One operating system in Imager's list; the names are Imager's."""

    name: str
    description: str
    icon: str
    url: str
    extract_size: int
    extract_sha256: str
    image_download_size: int
    release_date: str
    devices: tuple[str, ...]
    init_format: str
    """How Imager hands over what its user typed in; `none`: a box takes its seed."""


def describe_image(
    path: Path, url: str, name: str, description: str, icon: str, init_format: str, released: date
) -> ImagerEntry:
    """The entry of an image, `.img`, `.img.xz` or `.img.gz`.

    Raises:
        ConfigProblem: the file cannot be read, or is packed otherwise.
    """
    opener = _OPENERS.get("".join(path.suffixes[-2:]) if path.suffix != ".img" else ".img")
    if opener is None:
        raise ConfigProblem(f"{path}: neither of {', '.join(_OPENERS)}", hint="pack the image with xz")
    size, digest = 0, hashlib.sha256()
    try:
        with opener(path, "rb") as file:
            while block := file.read(_BLOCK):
                size += len(block)
                digest.update(block)
        packed = path.stat().st_size
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ConfigProblem(f"{path}: {error}", hint="name the image, whole and readable") from None
    return ImagerEntry(
        name=name,
        description=description,
        icon=icon,
        url=url,
        extract_size=size,
        extract_sha256=digest.hexdigest(),
        image_download_size=packed,
        release_date=f"{released:%F}",
        devices=("pi5-64bit", "pi4-64bit", "pi3-64bit"),
        init_format=init_format,
    )


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--url", required=True, help="Where Imager fetches the image; file:/// works too.")
@click.option("--name", default="Vedette", show_default=True)
@click.option("--description", default="Defect and anomaly detection on a camera", show_default=True)
@click.option("--icon", default="icons/use_custom.png", show_default=True, help="URL, or an icon of Imager's own.")
@click.option("--init-format", type=click.Choice(FORMATS), default="none", show_default=True)
def imager_list(image: Path, url: str, name: str, description: str, icon: str, init_format: str) -> None:
    """Print the list for IMAGE, as os_list.json."""
    released = datetime.now(UTC).date()
    entry = describe_image(image, url, name, description, icon, init_format, released)
    options.print_json({"os_list": [entry]})


if __name__ == "__main__":
    imager_list()
