"""The audit's page: what was found, with the pictures to judge it by. One file, no network."""

from __future__ import annotations

import base64
import io
import warnings
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image, ImageFile

from .findings import KINDS, Audit, Finding, Kind
from .image_checks import BROKEN, pixels

TITLES: dict[Kind, str] = {
    "unreadable": "Unreadable",
    "truncated": "Truncated",
    "empty": "Empty",
    "duplicate": "Copies",
    "near_duplicate": "Near copies",
    "label": "Probably mislabelled",
    "blur": "Blurred",
    "exposure": "Exposed unlike the rest",
    "framing": "Framed unlike the rest",
    "size": "Sized unlike the rest",
    "colour": "Coloured unlike the rest",
    "imbalance": "Labels short of images",
}
_MOST = 48  # findings of a kind that are shown with pictures
_OTHERS = 3
_SIDE = 220  # pixels of a thumbnail


def html(audit: Audit, name: str, certainty: str) -> bytes:
    """The page, self-contained.

    Args:
        audit: what was found
        name: of the set
        certainty: a sentence on what so many images can prove
    """
    kinds = []
    for kind in KINDS:
        found = [each for each in audit.findings if each.kind == kind]
        if found:
            shown = [_shown(audit, each) for each in islice(found, _MOST)]
            kinds.append({"title": TITLES[kind], "kind": kind, "count": len(found), "shown": shown})
    return _template().render(name=name, facts=audit.facts(), kinds=kinds, certainty=certainty).encode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string((files(__package__) / "report.html").read_text())


def _shown(audit: Audit, finding: Finding) -> dict[str, Any]:
    paths = (finding.file, *finding.others[:_OTHERS])
    pictures = [{"name": audit.name(path), "image": picture} for path in paths if (picture := _picture(path))]
    return audit.fact(finding) | {"pictures": pictures, "more": len(finding.others[_OTHERS:])}


def _picture(path: Path) -> str | None:
    """A thumbnail as a data URL; of a truncated image what there is of it, None of what cannot be shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = Image.open(path)
            _load(opened)
            image = Image.fromarray(pixels(opened))
            image.thumbnail((_SIDE, _SIDE))
    except BROKEN:
        return None
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _load(image: Image.Image) -> None:
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
