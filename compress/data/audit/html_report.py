"""HTML report of an audit: one self-contained page with the findings and their thumbnails."""

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

from .findings import FINDING_KINDS, AuditResult, Finding, FindingKind
from .image_checks import DECODE_ERRORS, to_rgb

KIND_TITLES: dict[FindingKind, str] = {
    "unreadable": "Unreadable",
    "truncated": "Truncated",
    "empty": "Empty",
    "duplicate": "Copies",
    "near_duplicate": "Near copies",
    "same_part": "One part in several pictures",
    "label": "Probably mislabelled",
    "defect": "Good, but they look defective",
    "blur": "Blurred",
    "exposure": "Exposed unlike the rest",
    "framing": "Framed unlike the rest",
    "size": "Sized unlike the rest",
    "colour": "Coloured unlike the rest",
    "imbalance": "Labels with few images",
}
_MAX_SHOWN = 48  # findings of a kind that are shown, at most
_MAX_OTHERS = 3
_THUMBNAIL_SIDE = 220  # pixels of a thumbnail


def render_audit(audit: AuditResult, name: str, sample_size_note: str) -> bytes:
    """Returns the HTML page.

    Args:
        audit: the result
        name: name of the data set
        sample_size_note: a sentence on the metric precision that the sample size allows
    """
    kinds = []
    for kind in FINDING_KINDS:
        findings = [finding for finding in audit.findings if finding.kind == kind]
        if findings:
            shown = [_finding_context(audit, finding) for finding in islice(findings, _MAX_SHOWN)]
            kinds.append({"title": KIND_TITLES[kind], "kind": kind, "count": len(findings), "shown": shown})
    return _template().render(name=name, facts=audit.to_dict(), kinds=kinds, sample_size_note=sample_size_note).encode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string((files(__package__) / "report.html").read_text())


def _finding_context(audit: AuditResult, finding: Finding) -> dict[str, Any]:
    paths = (finding.file, *finding.others[:_MAX_OTHERS])
    pictures = [
        {"name": audit.relative_name(path), "image": picture} for path in paths if (picture := _thumbnail_url(path))
    ]
    return audit.finding_to_dict(finding) | {"pictures": pictures, "more": len(finding.others[_MAX_OTHERS:])}


def _thumbnail_url(path: Path) -> str | None:
    """Returns a thumbnail as a data URL, even for a truncated image. It returns None if decoding fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = Image.open(path)
            _load_truncated(opened)
            image = Image.fromarray(to_rgb(opened))
            image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    except DECODE_ERRORS:
        return None
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _load_truncated(image: Image.Image) -> None:
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
