"""What an anomaly model is worth: its scores and maps of held-out images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import this_machine
from vedette.runtime import picture
from vedette.runtime.accuracy import auroc, auroc_interval
from vedette.runtime.verify import Track

from . import dataset
from .dataset import Split
from .runners import Runner
from .threshold import Threshold


class Seen(msgspec.Struct, frozen=True):
    """What one model made of some images."""

    maps: list[NDArray[Any]]
    scores: NDArray[Any]


def see(runner: Runner, paths: Iterable[Path]) -> Seen:
    results = [runner(picture.read(path)) for path in paths]
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


def figures(seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold, size: int) -> dict[str, Any]:
    """Accuracy of all models, and what happens at the threshold; the keys are those of the manifest's `measured`."""
    found: dict[str, Any] = {}
    for name, (good, defect) in seen.items():
        found |= accuracy(name, good, defect)
    good, defect = seen["int8_onnx"]
    alarms = int((good.scores >= line.score).sum())
    return found | {
        "pixel_auroc": pixel_auroc(good, defect, images.defect, images.masks, size),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(good.scores),
        "detection_rate": float((defect.scores >= line.score).mean()) if len(defect.scores) else None,
        "threshold": msgspec.to_builtins(line),
        "images": {
            **{part: len(getattr(images, part)) for part in ("fit", "calibrate", "threshold")},
            "test_good": len(images.test),
            "test_defect": len(images.defect),
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


def pixel_auroc(good: Seen, defect: Seen, paths: list[Path], masks: dict[Path, Path], size: int) -> float | None:
    """AUROC of single pixels, over good images and defective ones with a mask, scaled to `size` x `size`."""
    if not masks:
        return None
    bad, fine = [], [_enlarge(each, size).ravel() for each in good.maps]
    for path, anomaly_map in zip(paths, defect.maps, strict=True):
        if path in masks:
            mask = dataset.read_mask(masks[path]).astype(np.uint8)
            truth = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST) > 0
            enlarged = _enlarge(anomaly_map, size)
            bad.append(enlarged[truth])
            fine.append(enlarged[~truth])
    return auroc(np.concatenate(fine), np.concatenate(bad))


def _enlarge(anomaly_map: NDArray[Any], size: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(anomaly_map.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR))
