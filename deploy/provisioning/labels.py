"""Labels to print: a CSV file for label printers, a QR code for each box, and all of them on one page.

The code holds the box's place in the topics, `PREFIX/v1/SITE/AREA/LINE/NAME`: no secret, and enough to find it at the
broker.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping
from types import ModuleType
from typing import Literal

from vedette.runtime.errors import MachineProblem

from .fleet_table import Box

Picture = Literal["svg", "png"]

_COLUMNS = ("name", "site", "area", "line", "address", "note", "instance", "qr", "file")
_PAGE = '<!doctype html>\n<meta charset="utf-8">\n<title>Labels</title>\n'
_STYLE = """\
@page { margin: 10mm }
body { font: 9pt sans-serif; margin: 0; display: grid; grid-template-columns: repeat(3, 1fr); gap: 3mm }
div { border: 0.2mm solid #999; padding: 2mm; display: flex; gap: 3mm; align-items: center; break-inside: avoid }
svg { width: 22mm; height: 22mm; flex: none }
b { font-size: 12pt; overflow-wrap: anywhere }
"""


def load_segno() -> ModuleType:
    """The library that draws the codes.

    Raises:
        MachineProblem: it is not installed.
    """
    try:
        import segno
    except ModuleNotFoundError:
        hint = "pip install 'vedette[provision]'; or leave the labels out with --no-labels"
        raise MachineProblem("labels need segno, which is missing", hint=hint) from None
    return segno


def render_labels(
    boxes: tuple[Box, ...], instances: Mapping[str, str], prefix: str, picture: Picture
) -> dict[str, bytes]:
    """The files by name: `labels.csv`, `labels.html`, and `NAME.svg` or `NAME.png` for each box.

    Args:
        boxes: the boxes
        instances: instance of each
        prefix: first level of the topics
        picture: format of the single codes

    Raises:
        MachineProblem: segno is not installed.
    """
    segno = load_segno()
    files = dict[str, bytes]()
    table, cards = io.StringIO(newline=""), list[str]()
    writer = csv.DictWriter(table, _COLUMNS)
    writer.writeheader()
    for box in boxes:
        place = f"{box.site}/{box.area}/{box.line}"
        content = f"{prefix}/v1/{place}/{box.name}"
        code = segno.make(content, error="m", micro=False)
        image, file = io.BytesIO(), f"{box.name}.{picture}"
        code.save(image, kind=picture, scale=8)
        files[file] = image.getvalue()
        row = {column: getattr(box, column, "") for column in _COLUMNS}
        writer.writerow({**row, "instance": instances[box.name], "qr": content, "file": file})
        lines = [f"<b>{html.escape(box.name)}</b>", *map(html.escape, filter(None, (place, box.address, box.note)))]
        svg = code.svg_inline(omitsize=True)
        cards.append(f"<div>{svg}<span>{'<br>'.join(lines)}</span></div>\n")
    page = f"{_PAGE}<style>\n{_STYLE}</style>\n{''.join(cards)}"
    return {"labels.csv": table.getvalue().encode(), "labels.html": page.encode(), **files}
