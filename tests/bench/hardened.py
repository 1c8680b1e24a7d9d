"""A set with a nuisance that every image gets, as files: what `generality.py` makes in memory."""

from __future__ import annotations

import tomllib
from pathlib import Path

import cv2
import generality
import numpy as np

from vedette.runtime.camera import image_files


def harden(goal: Path, nuisance: str, seed: int) -> tuple[Path, dict[str, Path]]:
    """Writes the images of a goal file with the nuisance, below the goal's folder, and a goal file for them.

    Returns it, and the folders of good and of defective images. Names stay, so groups do, too. There are no masks: they
    would have to move with the images. Files that are complete stay.
    """
    folder = goal.parent / nuisance
    data = tomllib.loads(goal.read_text())["data"]
    folders = {label: folder / label for label in ("good", "defect")}
    if not (folder / "complete").exists():
        rng = np.random.default_rng(seed + 100)
        for label, target in folders.items():
            source = goal.parent / data[label]
            for path in sorted(image_files.find_images(source)):
                image = generality.disturb(image_files.read_image(path), nuisance, rng)
                written = target / path.relative_to(source).with_suffix(".png")
                written.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(written), image)
        (folder / "complete").touch()
    lines = []
    for line in goal.read_text().splitlines():
        key = line.split("=")[0].strip()
        if key in folders:
            lines.append(f'{key} = "{folders[key].as_posix()}"')
        elif key != "mask":
            lines.append(line)
    if str(data.get("group", "")).endswith(".csv"):
        rows = (goal.parent / data["group"]).read_text().splitlines()
        named = [f"{Path(name).with_suffix('.png')},{group}" for name, group in (row.split(",") for row in rows[1:])]
        (folder / data["group"]).write_text("\n".join([rows[0], *named]) + "\n")
    hardened = folder / "goal.toml"
    hardened.write_text("\n".join(lines) + "\n")
    return hardened, folders
