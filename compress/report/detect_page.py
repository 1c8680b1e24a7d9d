"""What the report of a detector shows: test images with the boxes of float and int8, and where the two disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.object_annotations import Object
from vedette.runtime.inference.prediction import Box, Prediction

from ..evaluation.disagreement import Pair, between
from ..evaluation.operating_point import OVERLAP, overlap
from .html_report import embed

_SIDE = 360  # pixels of the longer side
_SHOWN = 8
_MARKED, _FLOAT, _INT8 = (255, 255, 255), (200, 120, 0), (0, 60, 230)  # blue-green-red


def evidence(
    paths: Sequence[Path],
    truth: Sequence[Sequence[Object]],
    seen: dict[str, list[tuple[Prediction, ...]]],
    lines: tuple[float, float],
    labels: Sequence[str],
) -> dict[str, Any]:
    """What fills detect.html.

    Args:
        paths: test images
        truth: what is marked in each
        seen: what each model found in each, doubtful boxes too
        lines: the scores from which on float and int8 are believed
        labels: of the model
    """
    found = [
        [[each for each in one if each.score >= line] for one in seen[name]]
        for name, line in zip(("fp32", "int8_onnx"), lines, strict=True)
    ]
    pairs = []
    for place, (path, fp32, int8) in enumerate(zip(paths, *found, strict=True)):
        alike = _alike(fp32, int8)
        most = max(len(fp32), len(int8))
        differs = alike < most
        pairs.append(Pair(place, path, _said(fp32), _said(int8), differs, 1 - alike / most if most else 0.0))
    what = "the answer being every box at or above the model's own threshold, matched where two overlap by half"
    apart = between(pairs, what)
    drawn = [
        {"name": paths[place].name, "text": _counts(truth[place], found[1][place]), "image": embed(image)}
        for place in range(min(_SHOWN, len(paths)))
        for image in (_picture(paths[place], truth[place], found[0][place], found[1][place]),)
    ]
    return {
        "rows": drawn,
        "lines": lines,
        "classes": _by_class(truth, found, labels),
        "apart": apart,
        "apart_pictures": apart.pictures(
            lambda pair: embed(_picture(pair.path, (), found[0][pair.place], found[1][pair.place]))
        ),
        "apart_wide": False,
    }


def _alike(one: Sequence[Prediction], other: Sequence[Prediction]) -> int:
    """How many boxes of the two are the same object."""
    free, count = list(other), 0
    for each in one:
        same = [
            (overlap(each.box, rest.box), place)
            for place, rest in enumerate(free)
            if rest.label == each.label and each.box is not None and rest.box is not None
        ]
        best, place = max(same, default=(0.0, -1))
        if best >= OVERLAP:
            del free[place]
            count += 1
    return count


def _said(found: Sequence[Prediction]) -> str:
    names = [each.label for each in found]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "nothing"


def _counts(marked: Sequence[Object], found: Sequence[Prediction]) -> str:
    return f"{len(marked)} marked; int8 finds {_said(found)}"


def _by_class(
    truth: Sequence[Sequence[Object]], found: list[list[list[Prediction]]], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """How many objects of each class are marked and found, the commonest first."""
    counts = np.zeros((3, len(labels)), int)
    for one in truth:
        for each in one:
            counts[0, each.label] += not each.crowd
    for model in (0, 1):
        for some in found[model]:
            for prediction in some:
                counts[1 + model, labels.index(prediction.label)] += 1
    return [
        {
            "label": labels[place],
            "marked": int(counts[0, place]),
            "fp32": int(counts[1, place]),
            "int8": int(counts[2, place]),
        }
        for place in np.argsort(-counts[0], kind="stable")
        if counts[:, place].any()
    ]


def _picture(
    path: Path, marked: Sequence[Object], fp32: Sequence[Prediction], int8: Sequence[Prediction]
) -> NDArray[Any]:
    """The image with the boxes: white what is marked, blue float, red int8."""
    image = image_files.read(path)
    factor = _SIDE / max(image.shape[:2])
    image = np.ascontiguousarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    for one in marked:
        _draw(image, one.box, _MARKED, 1, "")
    for each in fp32:
        _draw(image, each.box, _FLOAT, 2, "")
    for each in int8:
        _draw(image, each.box, _INT8, 1, f"{each.label} {each.score:.2f}")
    return image


def _draw(image: NDArray[Any], box: Box | None, colour: tuple[int, int, int], width: int, text: str) -> None:
    if box is None:
        return
    height, across = image.shape[:2]
    start = int(box.left * across), int(box.top * height)
    cv2.rectangle(image, start, (int(box.right * across), int(box.bottom * height)), colour, width)
    if text:
        place = start[0] + 2, max(start[1] + 11, 11)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)
