"""Tie-free scales: quantization parameters of an imported model with which both int8 files compute the same integers.

    links        tensors that are concatenated, added or copied share a scale; Concat then copies, and Add adds integers
    own scale    Sigmoid, Softmax and Tanh have the fixed scale of TFLite. Where such a result, or a clipped one, is
                 concatenated with or added to another tensor, a convolution with weight one changes the scale exactly
    ties         a scale at which a value is almost halfway between two steps, so that the two libraries may round
                 differently, is widened by steps of a thousandth until it has no tie (rounding_tie_checks.py)
    LeakyReLU    XNNPACK has 8 fractional bits for each slope. The input scale is a multiple of 1/256 of the output
                 scale, chosen so that the lower slope is a multiple of 1/256 too; a millionth is added to avoid ties

Tensors that share a scale use their widest range (percentile_ranges.py), and tensors with a narrower range have fewer
steps. This is the cost of the method. It is highest where channel shuffles link many stages.
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

from ...graph.editing import map_producers
from . import rounding_tie_checks
from .percentile_ranges import SIGMOID_SATURATION, measure_percentile_ranges
from .rounding_tie_checks import ScaleAndZeroPoint
from .shared_scales import FIXED_SCALES, find_scale_groups, insert_rescale_convs

_MAX_ATTEMPTS = 200  # to find a scale without ties
_BLUR_KERNEL_RANGE = 127 / 496  # with this range 1/16, 2/16 and 4/16 are 31, 62 and 124 steps


class TieFreeScales:
    """Scale and zero point of each activation.

    Args:
        model: lowered float model; changed in place where a scale requires it
        feeds: calibration inputs for the ranges
        input_scale: scale and zero point of the model input
        lower_limits: lower range limit of some tensors, by name
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        feeds: Iterable[dict[str, NDArray[Any]]],
        input_scale: tuple[float, int],
        lower_limits: Mapping[str, float] | None = None,
    ) -> None:
        self.graph = model.graph
        insert_rescale_convs(self.graph)
        self.producers = map_producers(self.graph)
        self.scale_groups = find_scale_groups(self.graph)
        self.ranges = measure_percentile_ranges(model, feeds)
        for name, lower_limit in (lower_limits or {}).items():
            self.ranges[name] = max(self.ranges[name][0], lower_limit), self.ranges[name][1]
        self._clamp_sigmoid_inputs()
        self.scales: dict[str, ScaleAndZeroPoint] = {}
        image = self.graph.input[0].name
        for name, members in self.scale_groups.items():
            if name not in self.scales:
                scale = input_scale if image in members else self._fixed_scale(members)
                self._set_scale(members, scale or _scale_for_range(*self._group_range(members)))
        self._replace_shared_relus()
        self._fit_leaky_slopes()
        self._remove_ties()

    def overrides(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the parameters in the format of ONNX Runtime's `TensorQuantOverrides`."""
        overrides = {
            name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero_point, np.uint8)}]
            for name, (scale, zero_point) in self.scales.items()
        }
        for value in self.graph.initializer:
            if value.name.endswith("/weight") and value.dims[1:] == [1, 3, 3]:
                kernel = numpy_helper.to_array(value)[0, 0]
                if np.array_equal(kernel, (np.outer([1, 2, 1], [1, 2, 1]) / 16).astype(np.float32)):
                    limits = {
                        "axis": 0,
                        "rmin": np.float32(-_BLUR_KERNEL_RANGE),
                        "rmax": np.float32(_BLUR_KERNEL_RANGE),
                    }
                    overrides[value.name] = [dict(limits) for _ in range(value.dims[0])]
        return overrides

    def _group_range(self, members: frozenset[str]) -> tuple[float, float]:
        pairs = [self.ranges[name] for name in members if name in self.ranges]
        return min(low for low, _ in pairs), max(high for _, high in pairs)

    def _set_scale(self, members: frozenset[str], scale: ScaleAndZeroPoint) -> None:
        self.scales.update(dict.fromkeys(members, scale))

    def _fixed_scale(self, members: frozenset[str]) -> ScaleAndZeroPoint | None:
        operators = {self.producers[name].op_type for name in members if name in self.producers}
        return next((FIXED_SCALES[operator] for operator in sorted(operators & set(FIXED_SCALES))), None)

    def _clamp_sigmoid_inputs(self) -> None:
        """Limits Sigmoid inputs to -6.3…6.3: beyond, the output is the first or the last of its 256 steps."""
        readers = Counter(name for node in self.graph.node for name in set(node.input))
        for node in self.graph.node:
            name = node.input[0]
            if node.op_type == "Sigmoid" and readers[name] == 1 and len(self.scale_groups[name]) == 1:
                low, high = self.ranges[name]
                self.ranges[name] = max(low, -SIGMOID_SATURATION), min(high, SIGMOID_SATURATION)

    def _replace_shared_relus(self) -> None:
        """Replaces a Relu whose output shares a scale with negative values: its range cannot do the clipping."""
        for node in self.graph.node:
            if node.op_type == "Relu" and self.scales[node.output[0]][1] > 0:
                node.op_type = "LeakyRelu"
                node.attribute.append(helper.make_attribute("alpha", 0.0))
                if len(self.scale_groups[node.input[0]]) == 1:
                    self._set_scale(self.scale_groups[node.input[0]], self.scales[node.output[0]])

    def _fit_leaky_slopes(self) -> None:
        """Fits LeakyReLU slopes to multiples of 1/256; the lower slope changes by less than a thousandth."""
        for node in self.graph.node:
            if node.op_type != "LeakyRelu":
                continue
            if not node.attribute:
                node.attribute.append(helper.make_attribute("alpha", 0.01))
            (alpha,) = node.attribute
            members = self.scale_groups[node.input[0]]
            if len(members) > 1 or not 0 < alpha.f < 1:
                continue
            output_scale, _ = self.scales[node.output[0]]
            low, high = self._group_range(members)
            smallest_slope = max(1, int(np.ceil((high - low) / 255 / output_scale * 256)), int(np.ceil(1 / alpha.f)))
            upper_slopes = range(smallest_slope, min(2 * smallest_slope + 64, 127 * 256))
            errors = np.array([round(abs(n * alpha.f - round(n * alpha.f)), 3) for n in upper_slopes])
            upper_slope = upper_slopes[int(errors.argmin())]
            scale = float(np.float32(output_scale * upper_slope / 256 * (1 + 2e-6)))
            self._set_scale(members, (scale, int(np.clip(round(-low / scale), 0, 255))))
            alpha.f = round(upper_slope * alpha.f) / upper_slope * (1 - 4e-6)

    def _remove_ties(self) -> None:
        """Removes rounding ties of lookup tables first, then those of products, because products read the tables."""
        leaky_relu_tensors = {
            name for node in self.graph.node if node.op_type == "LeakyRelu" for name in (*node.input, *node.output)
        }
        for node in self.graph.node:
            if node.op_type in ("Sigmoid", "Tanh"):
                self._widen_until_tie_free(
                    node.input[0], leaky_relu_tensors, partial(rounding_tie_checks.lut_has_no_ties, node.op_type)
                )
        products = [node for node in self.graph.node if node.op_type == "Mul" and set(node.input) <= set(self.scales)]
        for node in products:
            group_products = [other for other in products if other.output[0] in self.scale_groups[node.output[0]]]
            self._widen_until_tie_free(
                node.output[0], leaky_relu_tensors, partial(self._products_have_no_ties, group_products)
            )

    def _widen_until_tie_free(
        self, name: str, fixed_tensors: set[str], is_tie_free: Callable[[ScaleAndZeroPoint], bool]
    ) -> None:
        """Widens the scale of `name` and of its scale group until there is no rounding tie."""
        members = self.scale_groups[name]
        if members & fixed_tensors or self._fixed_scale(members) or self.graph.input[0].name in members:
            return
        scale, zero_point = self.scales[name]
        for attempt in range(_MAX_ATTEMPTS):
            wider_scale = float(np.float32(scale * (1 + attempt / 1000)))
            if is_tie_free((wider_scale, zero_point)):
                self._set_scale(members, (wider_scale, zero_point))
                return

    def _products_have_no_ties(self, products: list[onnx.NodeProto], output_scale: ScaleAndZeroPoint) -> bool:
        for node in products:
            x = rounding_tie_checks.find_silu_input(node, self.producers)
            first_scale, second_scale = (self.scales[name] for name in node.input)
            if not (
                rounding_tie_checks.product_has_no_ties(first_scale, second_scale, output_scale)
                if x is None
                else rounding_tie_checks.silu_has_no_ties(self.scales[x], output_scale)
            ):
                return False
        return True


def _scale_for_range(low: float, high: float) -> ScaleAndZeroPoint:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return scale, int(np.clip(round(-low / scale), 0, 255))
