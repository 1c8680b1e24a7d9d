"""The steps from the float network to the int8 files, each with its accuracy, cost and size.

Accuracy is measured on the test images, and is given only for the models that ran on them. The cost is known for every
step: predicted instructions if the device's core has a cost model, multiply-accumulates otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import onnx

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import ONNX, TFLITE

from ..cost import cost_limits, operator_counts
from ..cost.device_costs import DeviceCosts
from ..evaluation.built_models import FLOAT, INT8_ONNX, INT8_TFLITE, MODEL_TITLES
from ..evaluation.results import Measurement, Results
from ..models.design import Design
from ..models.image_size import describe
from ..search.selection import Trial


class CompressionStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step; None: not known."""

    title: str
    metric: float | None = msgspec.field(default=None, name="figure")
    interval: tuple[float, float] | None = None
    """95 % interval of the metric."""
    cost: float | None = msgspec.field(default=None, name="effort")
    """Cost of one image."""
    ms: float | None = None
    p95_ms: float | None = None
    bytes: int | None = None


def list_earlier_steps(design: Design, device: DeviceProfile) -> list[CompressionStep]:
    """The reference of `min_speedup`, and the design before pruning if it is pruned."""
    reference = cost_limits.REFERENCE_DESIGN
    network = f"EfficientNet-Lite0 to block {max(reference.blocks)} at {describe(reference.input)} pixels, float"
    steps = [CompressionStep(title=network, cost=cost_limits.predict_reference_cost(device))]
    if design.kept_share < 1:
        unpruned = Trial.for_design(msgspec.structs.replace(design, kept_share=1.0), device)
        title = f"{unpruned.design}, int8, before pruning (predicted)"
        steps.append(CompressionStep(title=title, cost=unpruned.cost, bytes=unpruned.bytes))
    return steps


def list_compression_steps(
    earlier: Sequence[CompressionStep], results: Results, costs: DeviceCosts, float_model: onnx.ModelProto
) -> list[CompressionStep]:
    """All steps in order; the built models come last.

    Args:
        earlier: steps before the float model
        results: figures of the built models
        costs: costs of the int8 models on the target device
        float_model: the model that the int8 models are compared with
    """
    cost_of_model = _cost_by_model(costs, float_model)

    def step(model: str, title: str) -> CompressionStep:
        metric: Measurement = results.metrics.by_model[model]
        return CompressionStep(
            title=title,
            metric=metric.value,
            interval=metric.interval,
            cost=cost_of_model[model],
            ms=results.timings[model].median,
            p95_ms=results.timings[model].p95,
            bytes=results.sizes[model],
        )

    return [*earlier, *(step(model, title) for model, title in MODEL_TITLES.items())]


def _cost_by_model(costs: DeviceCosts, float_model: onnx.ModelProto) -> dict[str, float | None]:
    if cost_limits.cost_unit(costs.device) == cost_limits.MULTIPLICATIONS:
        macs = float(costs.macs)
        return {FLOAT: float(operator_counts.count_macs(float_model)), INT8_ONNX: macs, INT8_TFLITE: macs}
    predictions = {
        FLOAT: operator_counts.predict_cost(costs.device, float_model, ONNX),
        INT8_ONNX: costs.on_device.get(ONNX),
        INT8_TFLITE: costs.on_device.get(TFLITE),
    }
    return {model: None if prediction is None else prediction.instructions for model, prediction in predictions.items()}
