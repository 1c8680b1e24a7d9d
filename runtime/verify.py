"""Does the bundle compute on this machine what was promised, and how well does it do on given images?

Everything runs through the very code that the daemon runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from . import heads, picture
from .accuracy import auroc, auroc_interval
from .backends import Backend, available
from .bundle import Bundle
from .golden import difference, tolerance
from .preprocess import Preprocess

Track = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps what a loop goes through, to show its progress under a label."""


class Golden(msgspec.Struct, frozen=True):
    """One back end against the golden outputs."""

    version: str
    max_steps: int
    reproduced: bool


class Report(msgspec.Struct, omit_defaults=True):
    """What `vedette verify` found."""

    bundle: str
    model: str
    golden: dict[str, Golden]
    verified: bool
    good: int = 0
    defect: int = 0
    auroc_int8_onnx: float | None = None
    auroc_int8_tflite: float | None = None
    auroc_interval: dict[str, tuple[float, float]] = {}
    false_alarm_rate: dict[str, float] = {}
    """Share of the good images at or above the threshold."""
    detection_rate: dict[str, float] = {}
    """Share of the defective images at or above the threshold."""


def score(bundle: Bundle, backend: Backend, paths: Iterable[Path]) -> list[float]:
    """The score of each image, through the daemon's own preprocessing, back end and head.

    Raises:
        ConfigProblem: an image cannot be read.
    """
    preprocess, head = Preprocess(bundle.manifest.input), heads.load(bundle.manifest)
    scores = []
    for path in paths:
        predictions = head(backend.run(preprocess(picture.read(path))))
        scores.append(max(prediction.score for prediction in predictions))
    return scores


def verify(bundle: Bundle, data: Path | None = None, track: Track = lambda paths, _: paths) -> Report:
    """Golden outputs on every back end that loads here and, with `data`, the accuracy on `data`.

    Args:
        bundle: a verified bundle
        data: a folder that holds images in `good/` and, to tell the accuracy, in `defect/`
        track: wraps each list of images, to show progress; the second argument is a label
    """
    loaded = available(bundle)
    golden = {}
    for name, backend in loaded.items():
        steps = difference(bundle, backend)
        golden[name] = Golden(backend.version, steps, steps <= tolerance(backend))
    report = Report(
        bundle=str(bundle.path),
        model=bundle.manifest.model_id,
        golden=golden,
        verified=all(each.reproduced for each in golden.values()),
    )
    if data is None:
        return report

    good = picture.find(data / "good")
    defect = picture.find(data / "defect") if (data / "defect").exists() else []
    report.good, report.defect = len(good), len(defect)
    threshold = bundle.manifest.threshold
    for name, backend in loaded.items():
        fine = score(bundle, backend, track(good, f"{name}: good"))
        report.false_alarm_rate[name] = sum(each >= threshold for each in fine) / len(fine)
        if defect:
            odd = score(bundle, backend, track(defect, f"{name}: defect"))
            report.detection_rate[name] = sum(each >= threshold for each in odd) / len(odd)
            setattr(report, f"auroc_int8_{name}", auroc(fine, odd))
            report.auroc_interval[name] = auroc_interval(fine, odd)
    return report
