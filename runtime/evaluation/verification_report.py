"""The result of `vedette verify`, as `--json` prints it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from ..bundle.manifest import ONNX, TFLITE
from ..calibration.good_scores import GoodScores
from ..config.polygon import Polygon
from .metrics import auroc, auroc_interval, wilson_interval

P_VALUE_LEVEL = 0.1


class GoldenCheck(msgspec.Struct, frozen=True):
    """The comparison of one back end with the golden outputs."""

    version: str
    max_steps: int
    reproduced: bool


class PValueCheck(msgspec.Struct, frozen=True):
    """The p-values of good images, which should be uniform, and of defective ones."""

    level: float
    share: float
    """Fraction of the good images with a p-value of at most `level`."""
    interval: tuple[float, float]
    """95 % interval of that fraction (Wilson)."""
    defect_median: float | None
    """Median p-value of the defective images; None: there are none."""


class VerificationReport(msgspec.Struct, omit_defaults=True):
    """The result of `vedette verify`."""

    bundle: str
    model: str
    golden: dict[str, GoldenCheck]
    verified: bool
    not_run: dict[str, str] = {}
    """Compiled models whose accelerator or library is not here, by back end, with the reason."""
    region: Polygon = ()
    """The region of interest in which alone anomalies and objects count; empty: the whole frame."""
    good: int = 0
    defect: int = 0
    what: str = "images"
    auroc_int8_onnx: float | None = None
    auroc_int8_tflite: float | None = None
    auroc_interval: dict[str, tuple[float, float]] = {}
    false_alarm_rate: dict[str, float] = {}
    """Fraction of the good images with a score at or above the threshold."""
    detection_rate: dict[str, float] = {}
    """Fraction of the defective images with a score at or above the threshold."""
    p_values: dict[str, PValueCheck] = {}
    """Anomaly models whose bundle has a calibration."""
    images: dict[str, int] = {}
    """Classifiers: number of images of each class."""
    accuracy_int8_onnx: float | None = None
    """Classifiers: fraction of the images whose likeliest class is right, at any confidence."""
    accuracy_int8_tflite: float | None = None
    accuracy_interval: dict[str, tuple[float, float]] = {}
    coverage: dict[str, float] = {}
    """Classifiers: fraction of the images that are answered instead of `unknown`."""
    accuracy_answered: dict[str, float] = {}
    """Classifiers: fraction of right answers; absent if there is no answer."""
    ece: dict[str, float] = {}
    """Classifiers: expected calibration error."""
    confusion: dict[str, list[list[int]]] = {}
    """Classifiers: images of each class (rows) by their likeliest class (columns), in the order of `images`."""
    pictures: int = 0
    """Object detectors: number of images."""
    objects: int = 0
    """Object detectors: number of annotated objects."""
    map50_float: float | None = None
    """Object detectors: that of the float model, if it lies beside the bundle as NAME.float.onnx."""
    map50_int8_onnx: float | None = None
    """Object detectors: mean average precision at an IoU of 0.5."""
    map50_int8_tflite: float | None = None
    accelerators: dict[str, float] = {}
    """AUROC, accuracy or mean average precision at an IoU of 0.5, by back end other than `onnx` and `tflite`."""
    map: dict[str, float] = {}
    """Object detectors: mean over IoU thresholds from 0.5 to 0.95."""

    def set_metric(self, metric: str, backend: str, value: float | None) -> None:
        """Sets `auroc`, `accuracy` or `map50` of one back end."""
        if backend in (ONNX, TFLITE):
            setattr(self, f"{metric}_int8_{backend}", value)
        elif value is not None:
            self.accelerators[backend] = value

    def metric(self, metric: str, backend: str) -> float:
        """`auroc`, `accuracy` or `map50` of one back end, or of the `float` model."""
        if backend in self.accelerators:
            return self.accelerators[backend]
        field = f"{metric}_{backend}" if backend == "float" else f"{metric}_int8_{backend}"
        return float(getattr(self, field))

    def add_anomaly_scores(self, backend: str, threshold: float, normal: ArrayLike, abnormal: ArrayLike) -> None:
        """Adds the figures of the scores of normal and of abnormal data in one back end; `abnormal` may be empty."""
        self.false_alarm_rate[backend] = float((np.asarray(normal) >= threshold).mean())
        if not np.size(abnormal):
            return
        self.detection_rate[backend] = float((np.asarray(abnormal) >= threshold).mean())
        self.auroc_interval[backend] = auroc_interval(normal, abnormal)
        self.set_metric("auroc", backend, auroc(normal, abnormal))

    def add_p_values(self, backend: str, scores: GoodScores, good: ArrayLike, defect: ArrayLike) -> None:
        """Adds the check of p-values in one back end; `defect` may be empty."""
        values, defective = ([scores.p_value(each) for each in np.asarray(part, float)] for part in (good, defect))
        count = sum(value <= P_VALUE_LEVEL for value in values)
        self.p_values[backend] = PValueCheck(
            P_VALUE_LEVEL,
            count / len(values),
            wilson_interval(count, len(values)),
            float(np.median(defective)) if defective else None,
        )
