"""Cost of a design before it is fitted: the counts of its operators, and the size of its int8 file.

The network runs once on meta tensors, which hold no data, and the operators that PyTorch dispatches are recorded. What
the exporter folds (padding, batch normalization) and what a back end fuses (a Clip after a convolution or an addition)
costs nothing, as in operator_counts.py, which counts the operators of an ONNX graph.
"""

from __future__ import annotations

import copy
from functools import cache
from math import prod
from typing import Any

import msgspec
import torch
import torch._dynamo  # imported here, because its imports may swallow a keyboard interrupt if they run later
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vedette.devices import DeviceProfile
from vedette.devices.cost_model import OperatorClass, OperatorCount

from ..models.design import Design
from ..models.efficientnet_lite import Backbone
from ..models.image_size import ImageSize, height_and_width
from .device_costs import BACKENDS
from .operator_classes import classify_depthwise, classify_ungrouped_convolution
from .operator_counts import adapt_to_backend

OPERATOR_BYTES = 1_300  # names, shapes and quantization parameters of an operator, without its weights
_MAX_PADDED_TAPS = 25  # largest kernel of the convolutions whose padding is folded
_aten = torch.ops.aten
_OPERATOR_CLASSES: dict[Any, OperatorClass] = {
    _aten.add.Tensor: "elementwise",
    _aten.mul.Tensor: "elementwise",
    _aten.cat.default: "copy",
    _aten.index_select.default: "split",
    _aten.upsample_nearest2d.vec: "resize",
    _aten.upsample_nearest2d.default: "resize",
    _aten.amax.default: "reduce",
}


class DesignCost(msgspec.Struct, frozen=True):
    """Cost of one image."""

    operators: tuple[OperatorCount, ...]
    """Operators of the int8 model in execution order, all in int8."""
    bytes: int
    """Approximate size of the int8 file: one byte per weight, four per bias, and a scale and zero point per channel."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(operator.macs for operator in self.operators)

    def predict_instructions(self, profile: DeviceProfile) -> float | None:
        """Instructions on one thread, in the back end that needs fewer; None if the profile has no cost model."""
        predictions = [profile.predict_cost(backend, adapt_to_backend(self.operators, backend)) for backend in BACKENDS]
        return min((each.instructions for each in predictions if each and each.instructions), default=None)


@cache
def estimate_design_cost(design: Design) -> DesignCost:
    """The cost of a design, which need not be fitted: of the most expensive graph that a fit may choose.

    It is computed once for each design: the report, the limits and the trials ask for the same few designs again.
    """
    model = design.create_model(Backbone(design.blocks, design.kept_share))
    model.assume_largest_structure()
    return estimate_cost(model, design.input)


def estimate_cost(anomaly_model: Any, size: ImageSize) -> DesignCost:
    """The cost of an anomaly model with its backbone.

    Args:
        anomaly_model: a torch module with a `backbone`
        size: size of the image
    """
    meta_model = copy.deepcopy(anomaly_model).to("meta").eval()
    with torch.no_grad(), _OperatorRecorder() as recorder:
        features = meta_model.backbone(torch.zeros(1, 3, *height_and_width(size), device="meta"))
        meta_model(features)
    layers = [module for module in meta_model.modules() if isinstance(module, nn.Conv2d)]
    file_bytes = sum(layer.weight.numel() + 9 * layer.out_channels for layer in layers)
    positions = sum(each.numel() for each in features)  # parameters of a model that has them per position
    file_bytes += OPERATOR_BYTES * len(recorder.operators)
    file_bytes += 2 * positions if getattr(anomaly_model, "has_location_parameters", False) else 0
    file_bytes += getattr(anomaly_model, "constant_bytes", 0)
    return DesignCost(tuple(recorder.operators), file_bytes)


class _OperatorRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[OperatorCount] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is _aten.convolution.default:
            self.operators.append(_count_convolution(args, result))
        elif func in _OPERATOR_CLASSES:
            inputs = args[0] if isinstance(args[0], (list, tuple)) else args
            reads = sum(each.numel() for each in inputs if isinstance(each, Tensor))
            channels = result.shape[1] if result.ndim > 1 else 1
            positions = prod(result.shape[2:])
            self.operators.append(OperatorCount(_OPERATOR_CLASSES[func], "int8", positions, channels, reads=reads))
        return result


def _count_convolution(arguments: Any, result: Tensor) -> OperatorCount:
    image, weight, strides, groups = arguments[0], arguments[1], arguments[3], arguments[8]
    outputs, inputs, taps = result.shape[1], weight.shape[1], prod(weight.shape[2:])
    positions = prod(result.shape[2:])
    if inputs == 1 and groups > 1:
        depthwise = classify_depthwise(outputs, taps, max(strides))
        reads = outputs * positions * prod(strides) if taps <= _MAX_PADDED_TAPS else image.numel()
        return OperatorCount(depthwise, "int8", positions, outputs, 1, taps, reads)
    operator_class = classify_ungrouped_convolution(image.shape[1], taps)
    return OperatorCount(operator_class, "int8", positions, outputs, inputs, taps, positions * taps * inputs)
