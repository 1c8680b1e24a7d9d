"""The sets of images that are compared on, each with its goal file.

cookies, aliens and ballscrew lie below a data root and have their goals in `tests/goals`. The solar cells come from the
PyPI package `elpv-dataset`: defect probability 0 is good, 1 is defective, and blocks of 60 in file order stay together,
as in `compress/demo/solar_cells.py`; `elpv-all` has both kinds. One magnetic tile is in up to six pictures with
neighbouring numbers: blocks of 40 neighbouring files stay together. The scenes are made by `pasted_objects.py`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pasted_objects

from vedette.compress.data.groups import assign_groups
from vedette.runtime.camera import image_files

GOALS = Path(__file__).parent.parent / "goals"
SETS = ("cookies", "aliens", "ballscrew", "elpv-mono", "elpv-poly", "magnetic_tile", *pasted_objects.CLIPS)
BLOCK = 60
TILE_BLOCK = 40

ELPV = """\
name = "{name}"
task = "anomaly"
[data]
good = "{folder}/good"
defect = "{folder}/defect"
group = '^block(\\d+)'
name = "ELPV (PyPI elpv-dataset)"
licence = "CC BY-NC-SA 4.0"
[goal]
min_auroc = 0.85
max_drop = 0.02
false_alarm_rate = 0.05
"""

TILES = """\
name = "tiles"
task = "anomaly"
[data]
good = "{folder}/good"
defect = "{folder}/defect"
mask = "{folder}/mask"
group = "groups.csv"
name = "magnetic tile (abin24)"
[goal]
min_auroc = 0.80
max_drop = 0.02
false_alarm_rate = 0.05
"""


class Absent(Exception):
    """The set is not on this machine; the message says what is missing."""


def prepare(name: str, root: Path, folder: Path, seed: int) -> tuple[Path, dict[str, Path]]:
    """Writes the goal file into `folder`; returns it, and the folders of good images, of defective ones, of masks."""
    if name.startswith("elpv-"):
        text = ELPV.format(name=name, folder=_cells(name.removeprefix("elpv-"), folder.parent / name).as_posix())
    elif name in pasted_objects.CLIPS:
        scene = pasted_objects.write_scene(name, root, folder.parent / name)
        if scene is None:
            raise Absent("no videos or no coco128 in the data root (--data)")
        text = pasted_objects.GOAL.format(name=name, folder=scene.as_posix())
    else:
        if not (root / name).is_dir():
            raise Absent(f"no folder {name} in the data root (--data)")
        folder.mkdir(parents=True, exist_ok=True)
        if name == "magnetic_tile":
            text = TILES.format(folder=(root / name).as_posix())
            _write_tile_groups(root / name / "good", folder / "groups.csv")
        else:
            text = (GOALS / f"{name}.toml").read_text().replace("../../../shared/data", root.as_posix())
    goal = folder / "goal.toml"
    folder.mkdir(parents=True, exist_ok=True)
    goal.write_text(text.replace("[data]\n", f"[data]\nseed = {seed}\n"))
    data = tomllib.loads(goal.read_text())["data"]
    return goal, {key: Path(data[key]) for key in ("good", "defect", "mask") if key in data}


class ListedImages(NamedTuple):
    """Images of a set."""

    good: list[Path]
    defective: list[Path]
    groups: list[str]
    """The group of each good image."""


def list_images(name: str, options: Any, seed: int, rng: np.random.Generator) -> ListedImages:
    """At most `options.good` good and `options.defective` defective images of a set, drawn by `rng`, sorted."""
    goal, folders = prepare(name, options.data, options.out / f"{name}-{seed}", seed)
    good, defective = (image_files.find_images(folders[label]) for label in ("good", "defect"))
    rule = tomllib.loads(goal.read_text())["data"].get("group")
    grouped = assign_groups({"good": good}, {"good": folders["good"]}, rule, goal.parent)
    good = sorted(rng.permutation(np.array(good, object))[: options.good].tolist())
    defective = sorted(rng.permutation(np.array(defective, object))[: options.defective].tolist())
    return ListedImages(good, defective, [grouped[path] for path in good])


def _write_tile_groups(good: Path, groups: Path) -> None:
    numbers = {path.name: int(path.stem.rsplit("_", 1)[1]) for path in good.glob("*.jpg")}
    ordered = sorted(numbers, key=lambda name: numbers[name])
    rows = [f"{name},{place // TILE_BLOCK}" for place, name in enumerate(ordered)]
    groups.write_text("file,group\n" + "\n".join(rows) + "\n")


def _cells(kind: str, folder: Path) -> Path:
    """The cells of one kind, or all, as PNG files; those that are there already stay."""
    if not (folder / "complete").exists():
        try:
            from elpv_dataset.utils import load_dataset
        except ImportError:
            raise Absent("the package elpv-dataset is not installed (make .venv/dev)") from None
        for label in ("good", "defect"):
            (folder / label).mkdir(parents=True, exist_ok=True)
        for index, (cell, probability, type_) in enumerate(zip(*load_dataset(), strict=True)):
            if kind in (type_, "all") and probability in (0.0, 1.0):
                label = "defect" if probability else "good"
                cv2.imwrite(str(folder / label / f"block{index // BLOCK:02d}-cell{index:04d}.png"), cell)
        (folder / "complete").touch()
    return folder
