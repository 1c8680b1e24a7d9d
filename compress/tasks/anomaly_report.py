"""What the report of an anomaly model shows: scores, ROC curves, and pictures under their maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.accuracy import roc

from ..dataset import Split
from ..measure import Seen
from ..report import SIDE, embed, sample
from ..threshold import Threshold

_BINS = 40
_SAMPLES = 4


def evidence(split: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
    """What fills anomaly.html."""
    good, defect = seen["int8_onnx"]
    return {
        "line": line,
        "histogram": _histogram(good.scores, defect.scores, line.score),
        "curves": _curves(seen) if len(defect.scores) else None,
        "samples": _samples(split, good, defect, line.score),
    }


def _histogram(good: NDArray[Any], defect: NDArray[Any], threshold: float) -> dict[str, Any]:
    """Bars as fractions of the tallest, and the threshold as a fraction of the axis."""
    low = 0.0
    high = float(max(good.max(), defect.max(initial=0.0), threshold)) * 1.02
    counts = [np.histogram(scores, bins=_BINS, range=(low, high))[0] for scores in (good, defect)]
    shares = [each / max(each.sum(), 1) for each in counts]
    tallest = max(float(each.max()) for each in shares)
    return {
        "good": [float(each) / tallest for each in shares[0]],
        "defect": [float(each) / tallest for each in shares[1]],
        "threshold": threshold / high,
        "high": high,
    }


def _curves(seen: dict[str, tuple[Seen, Seen]]) -> dict[str, str]:
    """Each model's ROC curve as the points of an SVG polyline in the unit square, y down."""
    curves = {}
    for name, (good, defect) in seen.items():
        points = roc(good.scores, defect.scores)
        curves[name] = " ".join(f"{x:.4f},{1 - y:.4f}" for x, y in points)
    return curves


def _samples(split: Split, good: Seen, defect: Seen, threshold: float) -> list[dict[str, Any]]:
    """The most typical good ones, the surest and the most doubtful defects: picture and anomaly map side by side."""
    rows = []
    for title, paths, seen, order in (
        ("good, highest scores", split.test, good, np.argsort(-good.scores)),
        ("defective, highest scores", split.defect, defect, np.argsort(-defect.scores)),
        ("defective, lowest scores", split.defect, defect, np.argsort(defect.scores)),
    ):
        pictures = [
            {
                "name": paths[index].name,
                "score": float(seen.scores[index]),
                "image": _picture(paths[index], seen.maps[index], threshold),
            }
            for index in order[:_SAMPLES]
        ]
        if pictures:
            rows.append({"title": title, "pictures": pictures})
    return rows


def _picture(path: Path, anomaly_map: NDArray[Any], threshold: float) -> str:
    """The image and beside it the image under its map, as a data URL. Full colour is twice the threshold."""
    image = sample(path)
    heat = cv2.resize(anomaly_map.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    level = np.clip(heat / (2 * threshold) * 255, 0, 255).astype(np.uint8)
    under = cv2.addWeighted(image, 0.5, cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), 0.5, 0)
    return embed(np.hstack([image, under]))
