"""What a design costs before it is fitted: what its operators have to do, and its bytes.

The network is run once on tensors without data, and its operators are watched as they pass. What the exporter folds
away (padding, batch normalisation) or a back end fuses (a Clip behind a convolution or an addition) costs nothing, as
in work.py, which reads the same from a graph.
"""

from __future__ import annotations

import copy
from math import prod
from typing import Any

import msgspec
import torch
import torch._dynamo  # now, and not in the midst of work: what it imports may swallow an interrupt
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vedette.devices import DeviceProfile
from vedette.devices.cost_model import Kind, Work
from vedette.runtime.bundle.manifest import ONNX, TFLITE

from .operator_classes import depthwise, stem
from .operator_counts import of_backend

OPERATOR_BYTES = 2_000  # names, shapes and quantisation parameters of an operator, beside its weights
_PADDED = 25  # taps of the convolutions whose padding is folded in
_aten = torch.ops.aten
_PLAIN: dict[Any, Kind] = {
    _aten.add.Tensor: "elementwise",
    _aten.mul.Tensor: "elementwise",
    _aten.cat.default: "copy",
    _aten.upsample_nearest2d.vec: "resize",
    _aten.upsample_nearest2d.default: "resize",
    _aten.amax.default: "reduce",
}


class Cost(msgspec.Struct, frozen=True):
    """Of one image."""

    works: tuple[Work, ...]
    """Of each operator of the int8 model, in their order, where all of them compute in integers."""
    bytes: int
    """Of the int8 file, about: weights of one byte, biases of four, and per output channel a scale and a zero point."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(work.macs for work in self.works)

    def instructions(self, profile: DeviceProfile) -> float | None:
        """On one thread of a device, in whichever back end takes fewer; None where nothing is known of it."""
        found = [profile.predict(backend, of_backend(self.works, backend)) for backend in (ONNX, TFLITE)]
        return min((each.instructions for each in found if each and each.instructions), default=None)


def of(detector: Any, size: int) -> Cost:
    """Backbone and detector together, for one image of size x size."""
    twin = copy.deepcopy(detector).to("meta").eval()
    with torch.no_grad(), _Watch() as watch:
        features = twin.backbone(torch.zeros(1, 3, size, size, device="meta"))
        twin(features)
    layers = [module for module in twin.modules() if isinstance(module, nn.Conv2d)]
    held = sum(layer.weight.numel() + 9 * layer.out_channels for layer in layers)
    places = sum(each.numel() for each in features)  # what a detector knows of each place, if it does
    held += OPERATOR_BYTES * len(watch.works) + (2 * places if getattr(detector, "by_place", False) else 0)
    return Cost(tuple(watch.works), held)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.works: list[Work] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is _aten.convolution.default:
            self.works.append(_convolution(args, result))
        elif func in _PLAIN:
            data = args[0] if isinstance(args[0], (list, tuple)) else args
            reads = sum(each.numel() for each in data if isinstance(each, Tensor))
            channels = result.shape[1] if result.ndim > 1 else 1
            places = prod(result.shape[2:])
            self.works.append(Work(_PLAIN[func], "int8", places, channels, reads=reads))
        return result


def _convolution(arguments: Any, result: Tensor) -> Work:
    image, weight, strides, groups = arguments[0], arguments[1], arguments[3], arguments[8]
    outputs, inputs, taps = result.shape[1], weight.shape[1], prod(weight.shape[2:])
    places = prod(result.shape[2:])
    if inputs == 1 and groups > 1:
        kind = depthwise(outputs, taps, max(strides))
        reads = outputs * places * prod(strides) if taps <= _PADDED else image.numel()
        return Work(kind, "int8", places, outputs, 1, taps, reads)
    other: Kind = "pointwise" if taps == 1 else stem(image.shape[1], taps) if image.shape[1] <= 4 else "dense"
    return Work(other, "int8", places, outputs, inputs, taps, places * taps * inputs)
