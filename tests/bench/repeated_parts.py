"""`make bench-parts`: which pictures the audit takes for pictures of one part, on every set.

Magnetic tiles have a truth: a tile is pictured under exposures 1 to 6 in a row, so a file with a higher exposure than
the one before, at most TILE_GAP numbers later, shows the same tile. "Far apart" are found pairs whose numbers lie more
than FAR_NUMBERS apart, or solar cells more than FAR_CELLS places apart in file order, which goes panel by panel. They
are to be looked at: a tile or a panel may have been pictured again later.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --out FOLDER.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import click
import generality
import sets

from vedette.compress.data.audit import image_checks, repeated_parts
from vedette.compress.data.groups import merge_groups
from vedette.runtime.camera import image_files

TILE_GAP = 60
FAR_NUMBERS = 1000
FAR_CELLS = 100


def main() -> None:
    options = generality.parse_options("Pictures of one part, as the audit finds them.", "parts", 0, 0)
    lines = [
        "| set | pictures | keypoints needed | pairs | parts | pictures of them | pairs far apart | true pairs found |",
        "|" + " --- |" * 8,
    ]
    for name in options.sets:
        try:
            lines.append(measure(name, options))
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    (options.out / "parts.md").write_text(text)
    click.echo(text)


def measure(name: str, options: Any) -> str:
    """One row of the table."""
    _, folders = sets.prepare(name, options.data, options.out / f"{name}-0", 0)
    paths = [path for label in ("good", "defect") for path in image_files.find_images(folders[label])]
    checked = [image_checks.check_image(path, path.parent.name, generality.SIZE) for path in paths]
    images = [each for each in checked if isinstance(each, image_checks.ImageMeasurements)]
    found = repeated_parts.find_repeated_pairs(images)
    alone = {each.path: str(each.path) for each in images}
    parts = merge_groups(alone, [(images[first].path, images[second].path) for first, second in found.agreeing])
    members: dict[str, list[Path]] = {}
    for path, part in parts.items():
        members.setdefault(part, []).append(path)
    several = [each for each in members.values() if len(each) > 1]
    far, joined = "", ""
    limit = FAR_NUMBERS if name == "magnetic_tile" else FAR_CELLS
    if name == "magnetic_tile" or name.startswith("elpv"):
        numbers = [_number(each.path) for each in images]
        far = str(sum(abs(numbers[first] - numbers[second]) > limit for first, second in found.agreeing))
    if name == "magnetic_tile":
        pairs = true_pairs([path for path in parts if path.parent.name == "good"])
        joined = f"{sum(parts[first] == parts[second] for first, second in pairs) / len(pairs):.3f} of {len(pairs)}"
    counts = len(found.agreeing), len(several), sum(map(len, several))
    figures = (len(images), round(found.threshold, 1), *counts, far, joined)
    return f"| {name} | " + " | ".join(map(str, figures)) + " |"


def true_pairs(paths: list[Path]) -> list[tuple[Path, Path]]:
    """Pairs of pictures of one magnetic tile, by exposures and numbers of their names."""
    tiles: list[list[Path]] = []
    for path in sorted(paths, key=_number):
        last = tiles[-1][-1] if tiles else None
        if last and _exposure(path) > _exposure(last) and _number(path) - _number(last) <= TILE_GAP:
            tiles[-1].append(path)
        else:
            tiles.append([path])
    return [pair for tile in tiles for pair in itertools.combinations(tile, 2)]


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])


def _exposure(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[0])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
