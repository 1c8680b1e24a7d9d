"""How many wrong labels the report's list of doubtful boxes names, and how many right ones.

The labels of coco128 are spoiled: of each ten boxes one gets another class, one is removed, and one is moved by 30 % of
its sides, both ways. NanoDet, as imported, judges them: it has not learned these labels, but its own training set holds
the pictures. A named box is right if it is one that was spoiled in this way; a missing object is right if it overlaps
with a removed box (IoU of 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vedette.compress.evaluation.float_detector import detect_in_float
from vedette.compress.evaluation.label_doubts import DOUBTS, MIN_IOU, LabelDoubt, find_label_doubts
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.graph.importers.detector_import import load_imported_detector
from vedette.runtime.evaluation import object_annotations
from vedette.runtime.evaluation.annotated_object import AnnotatedObject
from vedette.runtime.inference.prediction import Box
from vedette.runtime.tracking.assignment import box_array, iou_matrix

SHARE = 0.1
MOVED = 0.3  # of the box's own sides


def measure(data: Path, seeds: Sequence[int]) -> str:
    """Precision and recall of each kind of doubt as Markdown, the mean over the seeds."""
    detector = load_imported_detector(
        data / "models" / "nanodet", ModelTable(onnx="nanodet_m_320.onnx", family="nanodet")
    )
    folder = data / "coco128"
    truth = object_annotations.read_annotations(folder / "images", folder / "labels", detector.labels)
    detections = detect_in_float(detector, list(truth))
    clean = find_label_doubts(list(truth.values()), detections, detector.labels)
    counts = {kind: np.zeros(3) for kind in DOUBTS}
    for seed in seeds:
        spoiled, wrong = spoil(list(truth.values()), len(detector.labels), np.random.default_rng(seed))
        doubts = find_label_doubts(spoiled, detections, detector.labels)
        for kind in DOUBTS:
            named = [doubt for doubt in doubts if doubt.kind == kind]
            counts[kind] += [sum(is_right(doubt, wrong[kind]) for doubt in named), len(named), len(wrong[kind])]
    lines = ["| doubt | put in | named | precision | recall | named in the labels as they are |", "|" + " --- |" * 6]
    for kind, (right, named_count, put_in) in counts.items():
        lines.append(
            f"| {kind} | {put_in / len(seeds):.0f} | {named_count / len(seeds):.0f} | {right / named_count:.2f} "
            f"| {right / put_in:.2f} | {sum(doubt.kind == kind for doubt in clean)} |"
        )
    return "\n".join(lines) + "\n"


def spoil(
    truth: Sequence[Sequence[AnnotatedObject]], classes: int, rng: np.random.Generator
) -> tuple[list[list[AnnotatedObject]], dict[str, list[tuple[int, Box]]]]:
    """The labels with errors, and for each kind of error the image and the box."""
    wrong: dict[str, list[tuple[int, Box]]] = {kind: [] for kind in DOUBTS}
    spoiled: list[list[AnnotatedObject]] = []
    for image, objects in enumerate(truth):
        spoiled.append([])
        for annotated in objects:
            number = int(rng.random() / SHARE)
            kind = DOUBTS[number] if number < len(DOUBTS) else ""
            changed = annotated
            if kind == "swapped":
                changed = annotated._replace(label=int((annotated.label + 1 + rng.integers(classes - 1)) % classes))
            elif kind == "sloppy":
                changed = annotated._replace(box=_move(annotated.box, rng))
            if kind:
                wrong[kind].append((image, changed.box))
            if kind != "missing":
                spoiled[-1].append(changed)
    return spoiled, wrong


def _move(box: Box, rng: np.random.Generator) -> Box:
    right, down = rng.choice((-MOVED, MOVED), 2) * (box.right - box.left, box.bottom - box.top)
    edges = (box.left + right, box.top + down, box.right + right, box.bottom + down)
    return Box(*(float(min(max(edge, 0.0), 1.0)) for edge in edges))


def is_right(doubt: LabelDoubt, wrong: Sequence[tuple[int, Box]]) -> bool:
    """Whether a doubt names one of these errors."""
    there: list[Any] = [box for image, box in wrong if image == doubt.image]
    if doubt.kind != "missing":
        return doubt.box in there
    return bool((iou_matrix(box_array(there), box_array([doubt.box])) >= MIN_IOU).any())
