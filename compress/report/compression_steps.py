"""The way from the float network to the int8 files: what each stage of it gave and cost.

Accuracy is that on the test images, and stands only where a model was measured on them. Effort is known for all: the
instructions that are predicted for the device's core where its operators were counted, else multiplications.
"""

from __future__ import annotations

from typing import Any

import msgspec
import onnx

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX

from ..cost import cost_limits, operator_counts
from ..evaluation.built_models import FLOAT, INT8_ONNX, INT8_TFLITE
from .html_report import MODELS


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; None: not known."""

    title: str
    figure: float | None = None
    interval: tuple[float, float] | None = None
    effort: float | None = None
    """Of one image."""
    ms: float | None = None
    p95_ms: float | None = None
    bytes: int | None = None


def stages(
    before: list[Stage], measured: dict[str, Any], figure: str, float_model: onnx.ModelProto, device: DeviceProfile
) -> list[Stage]:
    """All of them, and last the models that were made.

    Args:
        before: what the design was made from
        measured: as in the manifest
        figure: name of the task's figure there
        float_model: what the int8 ones are held against
        device: what it is for
    """
    predicted = operator_counts.predict(device, float_model, ONNX)
    efforts = {
        FLOAT: None if predicted is None else predicted.instructions,
        INT8_ONNX: measured["on_device"].get("onnx", {}).get("instructions"),
        INT8_TFLITE: measured["on_device"].get("tflite", {}).get("instructions"),
    }
    if cost_limits.unit(device) == cost_limits.MULTIPLICATIONS:
        efforts = dict.fromkeys(MODELS, float(measured["macs"])) | {FLOAT: float(operator_counts.macs(float_model))}
    return [
        *before,
        *(
            Stage(
                title=title,
                figure=measured[f"{figure}_{name}"],
                interval=measured.get(f"{figure}_interval_{name}"),
                effort=efforts[name],
                ms=measured[f"ms_{name}"],
                p95_ms=measured[f"p95_ms_{name}"],
                bytes=measured[f"bytes_{name}"],
            )
            for name, title in MODELS.items()
        ),
    ]
