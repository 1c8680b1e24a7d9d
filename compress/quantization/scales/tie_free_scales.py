"""Scales for a float graph, such that both integer files can compute the same.

    links        what is joined, added or only moved has one scale; then joining copies, and adding is adding integers
    own scale    Sigmoid, Softmax and Tanh have the one that TFLite knows. Where such a result, or a clipped one, is
                 joined with something else, a convolution of weight one stands between and changes the scale exactly
    fence        a scale at which a value lies nearly half way between two steps, so that each library may round it to
                 another side, is widened by a thousandth until none does (fence.py)
    LeakyReLU    XNNPACK has 8 bits after the point for each slope. So the input's scale is a multiple of a 256th of the
                 output's, such that the lower slope is whole too; ties are moved off the fence by a millionth

Linked tensors share the widest range (extents.py), and those that span less have fewer steps: that is the price, and it
is highest where many stages are linked by channel shuffles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from . import rounding_ties
from .percentile_ranges import FLAT, extents
from .rounding_ties import Scale
from .shared_scales import OWN, links, part

_ATTEMPTS = 200  # at keeping off the fence
_KERNEL = 127 / 496  # the range at which 1/16, 2/16 and 4/16 are 31, 62 and 124 steps


class Scales:
    """Scale and zero point of each activation.

    Args:
        model: float, from `lowering.lower`; it is changed where a scale has to be
        feeds: the inputs that the ranges are taken from
        entry: scale and zero point of the input
        floors: tensors of which nothing below a value counts, and that value
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        feeds: Iterable[dict[str, NDArray[Any]]],
        entry: tuple[float, int],
        floors: Mapping[str, float] | None = None,
    ) -> None:
        self.graph = model.graph
        part(self.graph)
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.links = links(self.graph)
        self.seen = extents(model, feeds)
        for name, least in (floors or {}).items():
            self.seen[name] = max(self.seen[name][0], least), self.seen[name][1]
        self._clamp()
        self.scale: dict[str, Scale] = {}
        image = self.graph.input[0].name
        for name, members in self.links.items():
            if name not in self.scale:
                own = entry if image in members else self._given(members)
                self._set(members, own or _affine(*self._range(members)))
        self._rectify()
        self._lean()
        self._off_the_fence()

    def overrides(self) -> dict[str, list[dict[str, Any]]]:
        """As ONNX Runtime's quantiser wants them."""
        found = {
            name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
            for name, (scale, zero) in self.scale.items()
        }
        for value in self.graph.initializer:
            if value.name.endswith("/weight") and value.dims[1:] == [1, 3, 3]:
                first = numpy_helper.to_array(value)[0, 0]
                if np.array_equal(first, (np.outer([1, 2, 1], [1, 2, 1]) / 16).astype(np.float32)):
                    limits = {"axis": 0, "rmin": np.float32(-_KERNEL), "rmax": np.float32(_KERNEL)}
                    found[value.name] = [dict(limits) for _ in range(value.dims[0])]
        return found

    def _range(self, members: frozenset[str]) -> tuple[float, float]:
        pairs = [self.seen[name] for name in members if name in self.seen]
        return min(low for low, _ in pairs), max(high for _, high in pairs)

    def _set(self, members: frozenset[str], scale: Scale) -> None:
        self.scale.update(dict.fromkeys(members, scale))

    def _given(self, members: frozenset[str]) -> Scale | None:
        kinds = {self.makers[name].op_type for name in members if name in self.makers}
        return next((OWN[kind] for kind in sorted(kinds & set(OWN))), None)

    def _clamp(self) -> None:
        """Below -6.3 a sigmoid is 0 of its 256 steps, above 6.3 it is the last one: nothing beyond counts."""
        readers = Counter(name for node in self.graph.node for name in set(node.input))
        for node in self.graph.node:
            name = node.input[0]
            if node.op_type == "Sigmoid" and readers[name] == 1 and len(self.links[name]) == 1:
                low, high = self.seen[name]
                self.seen[name] = max(low, -FLAT), min(high, FLAT)

    def _rectify(self) -> None:
        """Where what a ReLU gives may be negative, because it is joined with such, it cannot hide in a range."""
        for node in self.graph.node:
            if node.op_type == "Relu" and self.scale[node.output[0]][1] > 0:
                node.op_type = "LeakyRelu"
                node.attribute.append(helper.make_attribute("alpha", 0.0))
                if len(self.links[node.input[0]]) == 1:
                    self._set(self.links[node.input[0]], self.scale[node.output[0]])

    def _lean(self) -> None:
        """LeakyReLU: the slopes are whole 256ths; the lower one is moved to the next, by less than a thousandth."""
        for node in self.graph.node:
            if node.op_type != "LeakyRelu":
                continue
            if not node.attribute:
                node.attribute.append(helper.make_attribute("alpha", 0.01))
            (alpha,) = node.attribute
            members = self.links[node.input[0]]
            if len(members) > 1 or not 0 < alpha.f < 1:
                continue
            result, _ = self.scale[node.output[0]]
            low, high = self._range(members)
            least = max(1, int(np.ceil((high - low) / 255 / result * 256)), int(np.ceil(1 / alpha.f)))
            choices = range(least, min(2 * least + 64, 127 * 256))
            off = np.array([round(abs(n * alpha.f - round(n * alpha.f)), 3) for n in choices])
            upper = choices[int(off.argmin())]
            scale = float(np.float32(result * upper / 256 * (1 + 2e-6)))
            self._set(members, (scale, int(np.clip(round(-low / scale), 0, 255))))
            alpha.f = round(upper * alpha.f) / upper * (1 - 4e-6)

    def _off_the_fence(self) -> None:
        """First what tables read, then what products give: those read what the tables did."""
        leaning = {
            name for node in self.graph.node if node.op_type == "LeakyRelu" for name in (*node.input, *node.output)
        }
        for node in self.graph.node:
            if node.op_type in ("Sigmoid", "Tanh"):
                self._widen(node.input[0], leaning, partial(rounding_ties.table, node.op_type))
        products = [node for node in self.graph.node if node.op_type == "Mul" and set(node.input) <= set(self.scale)]
        for node in products:
            alike = [each for each in products if each.output[0] in self.links[node.output[0]]]
            self._widen(node.output[0], leaning, partial(self._clear, alike))

    def _widen(self, name: str, fixed: set[str], clear: Callable[[Scale], bool]) -> None:
        """Makes the scale of `name`, and all that is linked to it, larger until it is clear."""
        members = self.links[name]
        if members & fixed or self._given(members) or self.graph.input[0].name in members:
            return
        step, zero = self.scale[name]
        for attempt in range(_ATTEMPTS):
            scale = float(np.float32(step * (1 + attempt / 1000)))
            if clear((scale, zero)):
                self._set(members, (scale, zero))
                return

    def _clear(self, products: list[onnx.NodeProto], result: Scale) -> bool:
        for node in products:
            x = rounding_ties.gated(node, self.makers)
            one, other = (self.scale[name] for name in node.input)
            if not (
                rounding_ties.product(one, other, result) if x is None else rounding_ties.gate(self.scale[x], result)
            ):
                return False
        return True


def _affine(low: float, high: float) -> Scale:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return scale, int(np.clip(round(-low / scale), 0, 255))
