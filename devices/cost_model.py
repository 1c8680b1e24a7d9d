"""What operators cost on a kind of machine, in instructions: a small linear model per kind of operator.

    instructions = per_run + sum over operators (per_mac * macs + per_read * reads + per_write * elements
                                                 + per_weight * weights + per_place * places + per_node)

The numbers were fitted to instructions counted under emulation (tests/bench/arm64), per back end and precision, for one
thread. Integer kernels work on whole tiles of channels, so a ragged width costs what the next full tile costs: widths
are rounded up before they are multiplied.

Counts are exact; what is not in them is time. How many instructions a core finishes in a second depends on what they
wait for, and that no emulation tells: `Speed` holds what was published or measured, as a range.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Precision = Literal["int8", "float32"]

Kind = Literal[
    "stem",  # convolution of the image: at most 4 channels in, up to 3 x 3
    "stem-wide",  # larger, of more than 1 channel
    "pointwise",  # 1 x 1 convolution, fully connected
    "dense",  # k x k convolution over all channels
    "depthwise-1",  # convolution of each channel by itself: 1 x 1, a gain and an offset
    "depthwise-3",  # up to 3 x 3
    "depthwise-3-strided",
    "depthwise-5",  # up to 5 x 5
    "depthwise-5-strided",
    "depthwise-3-ragged",  # up to 3 x 3, channels no multiple of 8
    "depthwise-3-ragged-strided",
    "depthwise-5-ragged",
    "whole",  # the same, larger: a mean over the whole map
    "elementwise",  # Add, Clip, Mul with a constant or itself, …
    "product",  # Mul of two activations
    "curve",  # Sigmoid, Tanh: a table in integers
    "leaky",  # LeakyRelu
    "rectify",  # Relu that is fused with nothing
    "change",  # between float and integers
    "copy",  # Concat, …
    "transpose",  # from one order of axes to another, which the graph says or a kernel wants
    "deal",  # the last axis turned with the one before it, that what a Gather takes may lie together
    "split",  # Split, Slice, Gather along an axis
    "pad",  # that LiteRT pads before a pool
    "edge",  # Pad with what lies at the edge
    "resize",  # nearest
    "resize-linear",
    "pool",  # MaxPool
    "reduce",  # ReduceMax, means
]

Origin = Literal["measured there", "predicted from a measurement there", "predicted from counts", "measured here"]
"""Where a figure comes from: the device itself, another bundle on the device, emulation, or this machine."""


class Work(msgspec.Struct, frozen=True):
    """What one operator has to do, for one image.

    A convolution is a product of matrices, places x (taps * inputs) by (taps * inputs) x outputs; what multiplies
    nothing has no taps.
    """

    kind: Kind
    precision: Precision
    places: int
    """Positions of the output: height times width; of what is only moved, the runs that lie together."""
    outputs: int
    """Channels."""
    inputs: int = 0
    """Channels that each output is made of; 1 where each channel stands by itself."""
    taps: int = 0
    """Places of the input that each output is made of."""
    reads: int = 0
    """Elements that are gathered: the patches of a convolution or a pool, else the input."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.places * self.taps * self.inputs * self.outputs

    @property
    def elements(self) -> int:
        """Elements that come out."""
        return self.places * self.outputs


class Tile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Channels that are worked on at a time."""

    inputs: int = 1
    outputs: int = 1

    def amounts(self, work: Work) -> tuple[int, ...]:
        """What each coefficient of `Cost` is multiplied by, in their order, at full tiles."""
        outputs = _up(work.outputs, self.outputs)
        inputs = _up(work.inputs, self.inputs) if work.inputs > 1 else work.inputs
        weights = work.taps * inputs * outputs
        return weights * work.places, work.reads, outputs * work.places, weights, work.places, 1


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Instructions of one kind of operator."""

    per_mac: float = 0.0
    per_read: float = 0.0
    per_write: float = 0.0
    per_weight: float = 0.0
    per_place: float = 0.0
    per_node: float = 0.0


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Instructions of the operators of one precision."""

    kinds: dict[str, Cost]
    error_median: float
    """Share by which predictions of models that nothing was fitted to were off."""
    error_worst: float
    spread: float
    """The worst of those and of the networks that were fitted to: by so much a prediction may be off."""
    tile: Tile = Tile()
    added: tuple[str, ...] = ()
    """Kinds that were fitted afterwards, to pieces of detectors, while the prices of the others were kept."""
    added_spread: float = 0.0
    """`spread` where one of those is among the work: by so much a prediction of a piece was off."""

    def off(self, works: Iterable[Work]) -> float:
        """By how large a share a prediction for such work may be off."""
        return max(self.spread, self.added_spread) if any(work.kind in self.added for work in works) else self.spread


class CostModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What models cost in one back end."""

    per_run: float
    """Of one inference whatever it holds: the way through the library."""
    precisions: dict[Precision, Costs]
    source: str
    """What was counted, in which version of the back end."""

    def instructions(self, works: Iterable[Work]) -> float:
        """Of one image.

        Raises:
            KeyError: nothing is known of a kind or a precision among them.
        """
        total = self.per_run
        for work in works:
            costs = self.precisions[work.precision]
            cost = costs.kinds[work.kind]
            prices = msgspec.structs.astuple(cost)
            total += sum(price * amount for price, amount in zip(prices, costs.tile.amounts(work), strict=True))
        return total

    def spread(self, works: Iterable[Work]) -> float:
        """By how large a share a prediction for such work may be off."""
        parted: dict[Precision, list[Work]] = {}
        for work in works:
            parted.setdefault(work.precision, []).append(work)
        return max((self.precisions[precision].off(each) for precision, each in parted.items()), default=0.0)


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Million instructions that one core finishes in a second, running such models."""

    low: float
    high: float
    typical: float
    source: str
    """Where they were read, and what they are worth."""


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one inference costs on a device.

    Milliseconds that follow from counts are those of the model alone; what comes from a measurement has the
    preprocessing in it.
    """

    instructions: float | None
    """Of the model alone; None: nothing was counted for this core."""
    instructions_low: float | None
    instructions_high: float | None
    """By the spread of the cost model."""
    origin: Origin
    ms: float | None = None
    """None: nothing is known of how fast the device finishes instructions."""
    ms_low: float | None = None
    ms_high: float | None = None
    """Of what was measured, the 95th percentile."""

    def __str__(self) -> str:
        parts = []
        if self.instructions is not None and self.origin == "predicted from counts":
            parts.append(f"{self.instructions / 1e6:,.1f} million instructions")
        if self.ms is not None:
            parts.append(f"{self.ms:.3g} ms ({self.ms_low:.3g} … {self.ms_high:.3g})")
        return f"{self.origin}: {', '.join(parts)}"


def _up(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple
