"""What the report of an anomaly model shows: scores, ROC curves, and pictures under their maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette.runtime.evaluation.metrics import roc

from ..data.split import Split
from ..evaluation.anomaly_scoring import Seen
from ..evaluation.conformal_threshold import Threshold
from ..evaluation.disagreement import Pair, between
from .html_report import SIDE, embed, sample

_BINS = 40
_SAMPLES = 4
SURE = 2.0  # times the threshold: what lies beyond is anomalous beyond doubt, and has the full colour


def evidence(
    split: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold, float_line: Threshold
) -> dict[str, Any]:
    """What fills anomaly.html; `float_line` is the threshold that the float model would have."""
    good, defect = seen["int8_onnx"]
    return {
        "line": line,
        **_disagreement(split, seen, line.score, float_line.score),
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


def _disagreement(split: Split, seen: dict[str, tuple[Seen, Seen]], line: float, float_line: float) -> dict[str, Any]:
    """Where float and int8 disagree: the picture, float's map and int8's."""
    paths = [*split.test, *split.defect]
    models = (("fp32", float_line), ("int8_onnx", line))
    scores = [np.concatenate([each.scores for each in seen[name]]) / level for name, level in models]
    maps = [[*seen[name][0].maps, *seen[name][1].maps] for name, _ in models]

    def said(share: float, level: float) -> str:
        return f"{share * level:.3g}, {share:.2f} of the threshold"

    pairs = (
        Pair(
            place,
            path,
            said(fp32, float_line),
            said(int8, line),
            bool((fp32 >= 1) != (int8 >= 1)),
            float(abs(min(fp32, SURE) - min(int8, SURE))),
        )
        for place, (path, fp32, int8) in enumerate(zip(paths, *scores, strict=True))
    )
    apart = between(pairs, "each score held against a threshold drawn for its own model")

    def image(pair: Pair) -> str:
        picture = sample(pair.path)
        heats = [_under(picture, each[pair.place], level) for each, (_, level) in zip(maps, models, strict=True)]
        return embed(np.hstack([picture, *heats]))

    return {"apart": apart, "apart_pictures": apart.pictures(image), "apart_wide": True}


def _picture(path: Path, anomaly_map: NDArray[Any], threshold: float) -> str:
    """The image and beside it the image under its map, as a data URL. Full colour is twice the threshold."""
    image = sample(path)
    return embed(np.hstack([image, _under(image, anomaly_map, threshold)]))


def _under(image: NDArray[Any], anomaly_map: NDArray[Any], threshold: float) -> NDArray[Any]:
    heat = cv2.resize(anomaly_map.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    level = np.clip(heat / (SURE * threshold) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.addWeighted(image, 0.5, cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), 0.5, 0))
