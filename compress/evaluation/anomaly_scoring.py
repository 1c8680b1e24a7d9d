"""What an anomaly model is worth: its scores and maps of held-out images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import this_machine
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc, auroc_interval
from vedette.runtime.evaluation.verify import Track

from ..data.split import Split
from . import pixel_metrics
from .conformal_threshold import Threshold
from .model_runners import Runner


class Seen(msgspec.Struct, frozen=True):
    """What one model made of some images."""

    maps: list[NDArray[Any]]
    scores: NDArray[Any]


def see(runner: Runner, paths: Iterable[Path]) -> Seen:
    results = [runner(image_files.read(path)) for path in paths]
    maps = [each["map"].reshape(each["map"].shape[-2:]) for each in results]
    return Seen(maps, np.array([float(each["score"].flat[0]) for each in results]))


def see_all(runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
    """What each model makes of the good and of the defective test images."""
    return {
        name: (
            see(runner, track(images.test, f"{name}: good")),
            see(runner, track(images.defect, f"{name}: defect")),
        )
        for name, runner in runners.items()
    }


def figures(
    seen: dict[str, tuple[Seen, Seen]], images: Split, truths: dict[int, NDArray[Any]], line: Threshold
) -> dict[str, Any]:
    """Accuracy of all models, and what happens at the threshold; the keys are those of the manifest's `measured`.

    Args:
        seen: of each model, the good and the defective test images
        images: how they were divided
        truths: where defects are, from `localisation.read`
        line: the threshold
    """
    found: dict[str, Any] = {}
    for name, (good, defect) in seen.items():
        found |= accuracy(name, good, defect)
    for name, suffix in (("fp32", "_fp32"), ("int8_onnx", "")):
        good, defect = seen[name]
        areas = pixel_metrics.areas(good.maps, defect.maps, truths)
        found |= {"pixel_auroc" + suffix: areas.pixel_auroc, "aupro" + suffix: areas.aupro}
    alarms = int((good.scores >= line.score).sum())
    return found | {
        **at(line.score, good.scores, defect.scores),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(good.scores),
        "detection_rate": float((defect.scores >= line.score).mean()) if len(defect.scores) else None,
        "threshold": msgspec.to_builtins(line),
        "images": {
            **{part: len(getattr(images, part)) for part in ("fit", "calibrate", "threshold")},
            "test_good": len(images.test),
            "test_defect": len(images.defect),
            "masks": len(truths),
        },
        "machine": this_machine().cpu,
    }


def accuracy(name: str, good: Seen, defect: Seen) -> dict[str, Any]:
    """AUROC and its 95 % interval, under keys that end in `name`; None where there is nothing to compare."""
    if not len(defect.scores):
        return {f"auroc_{name}": None, f"auroc_interval_{name}": None}
    return {
        f"auroc_{name}": auroc(good.scores, defect.scores),
        f"auroc_interval_{name}": auroc_interval(good.scores, defect.scores),
    }


def at(line: float, good: NDArray[Any], defect: NDArray[Any]) -> dict[str, float | None]:
    """Precision, recall and F1 of alarms, a defect being what is looked for, and the best F1 that any threshold has.

    Precision and F1 depend on how many of the test images are defective. The best F1 is chosen on the images that it is
    measured on: a reference that flatters.
    """
    if not len(defect):
        return dict.fromkeys(("precision", "recall", "f1", "best_f1"))
    levels = np.append(np.unique(np.concatenate([good, defect])), line)
    found = len(defect) - np.searchsorted(np.sort(defect), levels)
    false = len(good) - np.searchsorted(np.sort(good), levels)
    f1 = 2 * found / (found + false + len(defect))
    alarms = int(found[-1] + false[-1])
    return {
        "precision": float(found[-1] / alarms) if alarms else None,
        "recall": float(found[-1] / len(defect)),
        "f1": float(f1[-1]),
        "best_f1": float(f1.max()),
    }
