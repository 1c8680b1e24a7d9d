"""Does the bundle compute on this machine what was promised, and how well does it do on given images?

Everything runs through the very code that the daemon runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import msgspec

from . import heads
from .accuracy import auroc, auroc_interval
from .backends import Backend, available
from .bundle import Bundle
from .frame import Frame
from .golden import difference, reproduces
from .preprocess import Preprocess
from .problem import ConfigProblem
from .sources.file import IMAGES

Track = Callable[[Iterable[Path], str], Iterable[Path]]


class Golden(msgspec.Struct, frozen=True):
    """One back end against the golden outputs."""

    version: str
    max_steps: int
    reproduced: bool


class Scores(msgspec.Struct, frozen=True):
    """One back end on given images."""

    good: list[float]
    defect: list[float]


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
    for number, path in enumerate(paths):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ConfigProblem(f"{path}: cannot be read as an image", hint="mend it or take it out of the folder")
        predictions = head(backend.run(preprocess(Frame("", number, 0.0, pixels))))
        scores.append(max(prediction.score for prediction in predictions))
    return scores


def verify(bundle: Bundle, data: Path | None = None, track: Track = lambda paths, _: paths) -> Report:
    """Golden outputs on every back end that loads here and, with `data`, the accuracy on `data`.

    Args:
        bundle: a verified bundle
        data: a folder that holds images in `good/` and `defect/`
        track: wraps each list of images, to show progress; the second argument is a label
    """
    loaded = available(bundle)
    golden = {
        name: Golden(backend.version, difference(bundle, backend), reproduces(bundle, backend))
        for name, backend in loaded.items()
    }
    report = Report(
        bundle=str(bundle.path),
        model=bundle.manifest.model_id,
        golden=golden,
        verified=all(each.reproduced for each in golden.values()),
    )
    if data is None:
        return report

    good, defect = images(data / "good"), images(data / "defect")
    report.good, report.defect = len(good), len(defect)
    threshold = bundle.manifest.threshold
    for name, backend in loaded.items():
        scores = Scores(
            score(bundle, backend, track(good, f"{name}: good")),
            score(bundle, backend, track(defect, f"{name}: defect")),
        )
        report.false_alarm_rate[name] = sum(each >= threshold for each in scores.good) / len(good)
        report.detection_rate[name] = sum(each >= threshold for each in scores.defect) / len(defect)
        setattr(report, f"auroc_int8_{name}", auroc(scores.good, scores.defect))
        report.auroc_interval[name] = auroc_interval(scores.good, scores.defect)
    return report


def images(folder: Path) -> list[Path]:
    """Every image below `folder`, in order of path.

    Raises:
        ConfigProblem: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
    if not found:
        raise ConfigProblem(f"{folder}: no images in it", hint=f"images end in {', '.join(sorted(IMAGES))}")
    return found
