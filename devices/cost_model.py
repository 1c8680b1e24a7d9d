"""Cost model of a device: a linear model per operator class predicts the instructions of one inference.

    instructions = per_run + sum over operators (per_mac * macs + per_read * reads + per_write * output elements
                                                 + per_weight * weights + per_place * positions + per_node)

The coefficients are fitted to instruction counts under emulation (tests/bench/arm64), per back end and precision, for
one thread. Integer kernels process whole tiles of channels, so a ragged channel count costs as much as the next full
tile: channel counts are rounded up to a multiple of the tile.

Instruction counts are exact, but they are not times. How many instructions a core finishes per second depends on memory
stalls, and emulation does not show those: `InstructionsPerSecond` holds a published or measured range.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Precision = Literal["int8", "float32"]

OperatorClass = Literal[
    "stem",  # convolution of the image: at most 4 input channels, kernel up to 3 x 3
    "stem-wide",  # convolution of the image with a larger kernel and more than 1 input channel
    "pointwise",  # 1 x 1 convolution, fully connected
    "dense",  # k x k convolution over all channels
    "depthwise-1",  # depthwise convolution, 1 x 1: a gain and an offset per channel
    "depthwise-3",  # depthwise, up to 3 x 3
    "depthwise-3-strided",
    "depthwise-5",  # depthwise, up to 5 x 5
    "depthwise-5-strided",
    "depthwise-3-ragged",  # depthwise, up to 3 x 3, channel count not a multiple of 8
    "depthwise-3-ragged-strided",
    "depthwise-5-ragged",
    "whole",  # depthwise with a larger kernel: a mean over the whole feature map
    "elementwise",  # Add, Clip, Mul by a constant or by itself, …
    "product",  # Mul of two activations
    "curve",  # Sigmoid, Tanh: a lookup table in int8
    "leaky",  # LeakyRelu
    "rectify",  # Relu that is not fused
    "change",  # quantize or dequantize
    "copy",  # Concat, …
    "transpose",  # change of the axis order, by the graph or for a kernel
    "deal",  # de-interleave: transpose the last two axes, so that the elements of a Gather are contiguous
    "split",  # Split, Slice, Gather along one axis
    "pad",  # explicit padding in LiteRT before a pool
    "edge",  # Pad with edge values
    "resize",  # nearest neighbor
    "resize-linear",
    "pool",  # MaxPool
    "reduce",  # ReduceMax, means
]

CostOrigin = Literal["measured there", "predicted from a measurement there", "predicted from counts", "measured here"]
"""Source of a figure: this bundle on the device, another bundle on the device, emulation, or this machine."""


class OperatorCount(msgspec.Struct, frozen=True):
    """Work of one operator for one image: its class, its multiply-accumulates and the elements it reads and writes.

    A convolution counts as a matrix product, positions x (taps * input_channels) by
    (taps * input_channels) x output_channels. An operator that does not multiply has no taps.
    """

    operator_class: OperatorClass
    precision: Precision
    positions: int
    """Output positions, height times width; for a data movement, the number of contiguous runs."""
    output_channels: int
    """Channels of the output; for a data movement, the elements of one contiguous run."""
    input_channels: int = 0
    """Input channels that each output depends on; 1 for a depthwise operator."""
    taps: int = 0
    """Kernel positions (height times width of the kernel); 0 if nothing is multiplied."""
    reads: int = 0
    """Elements read: the gathered patches of a convolution or a pool, otherwise the input."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.positions * self.taps * self.input_channels * self.output_channels

    @property
    def output_elements(self) -> int:
        """Elements of the output."""
        return self.positions * self.output_channels


class ChannelTile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Number of channels that a kernel processes at once."""

    inputs: int = 1
    outputs: int = 1

    def count_quantities(self, operator: OperatorCount) -> tuple[int, ...]:
        """Quantities that the fields of `InstructionCoefficients` multiply, in their order, channels rounded up."""
        outputs = _round_up(operator.output_channels, self.outputs)
        inputs = operator.input_channels
        inputs = _round_up(inputs, self.inputs) if inputs > 1 else inputs
        weights = operator.taps * inputs * outputs
        positions = operator.positions
        return weights * positions, operator.reads, outputs * positions, weights, positions, 1


class InstructionCoefficients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Instructions of one operator class, per unit of each quantity."""

    per_mac: float = 0.0
    per_read: float = 0.0
    per_write: float = 0.0
    per_weight: float = 0.0
    per_place: float = 0.0
    per_node: float = 0.0


class PrecisionCosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost coefficients of all operator classes in one precision."""

    kinds: dict[str, InstructionCoefficients]
    error_median: float
    """Median relative error on models that were not used for the fit."""
    error_worst: float
    """Largest relative error on those models."""
    spread: float
    """Relative error bound of a prediction: the largest error on held-out and on fitted models."""
    tile: ChannelTile = ChannelTile()
    added: tuple[str, ...] = ()
    """Operator classes fitted later, on parts of object detectors, with the other coefficients fixed."""
    added_spread: float = 0.0
    """Relative error bound of a prediction that contains one of the `added` classes."""

    def relative_error(self, operators: Iterable[OperatorCount]) -> float:
        """Relative error bound of a prediction for these operators."""
        has_added = any(operator.operator_class in self.added for operator in operators)
        return max(self.spread, self.added_spread) if has_added else self.spread


class CostModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost model of one back end on one device."""

    per_run: float
    """Instructions of one inference independent of the model: the library's overhead."""
    precisions: dict[Precision, PrecisionCosts]
    source: str
    """What was counted, and with which version of the back end."""

    def predict_instructions(self, operators: Iterable[OperatorCount]) -> float:
        """Instructions of one inference on one image.

        Raises:
            KeyError: the model has no coefficients for an operator class or a precision.
        """
        total = self.per_run
        for operator in operators:
            costs = self.precisions[operator.precision]
            coefficients = msgspec.structs.astuple(costs.kinds[operator.operator_class])
            quantities = costs.tile.count_quantities(operator)
            total += sum(price * quantity for price, quantity in zip(coefficients, quantities, strict=True))
        return total

    def relative_error(self, operators: Iterable[OperatorCount]) -> float:
        """Relative error bound of a prediction for these operators; the largest over their precisions."""
        by_precision: dict[Precision, list[OperatorCount]] = {}
        for operator in operators:
            by_precision.setdefault(operator.precision, []).append(operator)
        errors = (self.precisions[precision].relative_error(group) for precision, group in by_precision.items())
        return max(errors, default=0.0)


class InstructionsPerSecond(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Million instructions that one core finishes per second while it runs such models."""

    low: float
    high: float
    typical: float
    source: str
    """Source of the figures, and how reliable it is."""


class CostPrediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """Predicted or measured cost of one inference on a device.

    Milliseconds predicted from counts are those of the model alone. Milliseconds from a measurement include the
    preprocessing.
    """

    instructions: float | None
    """Instructions of the model alone; None if no cost model exists for this core."""
    instructions_low: float | None
    instructions_high: float | None
    """Range of `instructions`, from the relative error of the cost model."""
    origin: CostOrigin
    ms: float | None = None
    """Milliseconds of one image; None if the instruction rate of the device is unknown."""
    ms_low: float | None = None
    ms_high: float | None = None
    """Upper end of the range; for a measurement, the 95th percentile."""

    def __str__(self) -> str:
        parts = []
        if self.instructions is not None and self.origin == "predicted from counts":
            parts.append(f"{self.instructions / 1e6:,.1f} million instructions")
        if self.ms is not None:
            parts.append(f"{self.ms:.3g} ms ({self.ms_low:.3g} … {self.ms_high:.3g})")
        return f"{self.origin}: {', '.join(parts)}"


def _round_up(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple
