"""Rounding ties are found within the range of the integers and nowhere else, and up to their margin."""

from __future__ import annotations

from math import atanh, log

import onnx
import pytest
from onnx import helper

from vedette.compress.quantization.scales.rounding_tie_checks import (
    find_silu_input,
    lut_has_no_ties,
    product_has_no_ties,
    silu_has_no_ties,
)


def sigmoid_scale(steps: float, distance: int) -> float:
    """The input scale whose Sigmoid is `steps` of 256 at `distance` integers from the zero point."""
    return log(steps / (256 - steps)) / distance


def tanh_scale(steps: float, distance: int) -> float:
    """The input scale whose Tanh is `steps` of 128 at `distance` integers from the zero point."""
    return atanh(steps / 128) / distance


SCALES = [("Sigmoid", sigmoid_scale(195.5, 255)), ("Tanh", tanh_scale(67.5, 255))]
"""Operators and scales whose only rounding ties are 255 integers from the zero point."""


def operator(kind: str) -> str:
    """The operator as a graph names it."""
    return helper.make_node(kind, ["x"], ["y"]).op_type


@pytest.mark.parametrize(("kind", "scale"), SCALES)
@pytest.mark.parametrize("zero_point", [0, 255])
def test_lookup_table_has_a_tie_at_either_end_of_the_integers(kind: str, scale: float, zero_point: int) -> None:
    assert not lut_has_no_ties(operator(kind), (scale, zero_point))


@pytest.mark.parametrize(("kind", "scale"), SCALES)
@pytest.mark.parametrize("zero_point", [1, 128, 254])
def test_lookup_table_has_no_tie_beyond_the_integers(kind: str, scale: float, zero_point: int) -> None:
    assert lut_has_no_ties(operator(kind), (scale, zero_point))


def test_sigmoid_and_tanh_have_ties_at_different_scales() -> None:
    (sigmoid, its_scale), (tanh, other_scale) = SCALES
    assert lut_has_no_ties(operator(sigmoid), (other_scale, 0))
    assert lut_has_no_ties(operator(tanh), (its_scale, 0))


@pytest.mark.parametrize(("distance", "tie"), [(-0.0011, False), (-0.0009, True), (0.0009, True), (0.0011, False)])
def test_lookup_tables_keep_a_thousandth_of_a_step_from_a_tie(distance: float, tie: bool) -> None:
    assert lut_has_no_ties("Sigmoid", (sigmoid_scale(195.5 + distance, 255), 0)) != tie
    assert lut_has_no_ties("Tanh", (tanh_scale(67.5 + distance, 255), 0)) != tie


@pytest.mark.parametrize(
    ("steps", "tie"),
    [
        (100.5, True),
        (100.25, True),  # twice that is a tie
        (100.3, False),
        (100.4989, False),
        (100.4991, True),
        (100.5009, True),
        (100.5011, False),
        (127.75, True),  # twice that is the last tie of the range
        (128.25, False),  # twice that saturates
    ],
)
def test_ties_of_a_saturated_silu_are_those_of_multiples(steps: float, tie: bool) -> None:
    """With a scale of 8, the Sigmoid is 255/256 for all integers above the zero point."""
    assert silu_has_no_ties((8.0, 0), (8 * 255 / 256 / steps, 0)) != tie


def test_silu_has_a_tie_at_the_integer_above_the_zero_point() -> None:
    output = 187 / 256 / 100.5, 50  # Sigmoid of 1 is 187/256
    assert not silu_has_no_ties((1.0, 254), output)
    assert silu_has_no_ties((1.0, 255), output), "no integer lies above this zero point"


def test_silu_has_a_tie_at_the_integer_below_the_zero_point() -> None:
    scale = 69 / 256 / 37.5  # Sigmoid of -1 is 69/256
    assert not silu_has_no_ties((1.0, 254), (scale, 37))
    assert silu_has_no_ties((1.0, 254), (scale, 36)), "the output saturates before the tie"


@pytest.mark.parametrize(
    ("steps", "tie"),
    [
        (100.5, True),
        (100.25, True),  # twice that is a tie
        (100.3, False),
        (100.5 - 5e-5, False),
        (100.5 - 3e-5, True),
        (100.5 + 3e-5, True),
        (100.5 + 5e-5, False),
        (127.75, True),  # twice that is the last tie of the range
        (128.25, False),  # twice that saturates
    ],
)
@pytest.mark.parametrize(("zero_points", "output_zero_point"), [((0, 0), 0), ((255, 0), 255), ((255, 255), 0)])
def test_ties_of_a_product_are_those_of_multiples(
    steps: float, tie: bool, zero_points: tuple[int, int], output_zero_point: int
) -> None:
    """A product of integers is a multiple of `steps`, above the zero point of the output or below it."""
    first, second = zero_points
    assert product_has_no_ties((0.5, first), (3.0, second), (1.5 / steps, output_zero_point)) != tie


@pytest.mark.parametrize(("steps", "zero_point", "tie"), [(245.5, 10, True), (246.5, 10, False), (245.5, 11, False)])
def test_product_above_the_output_range_has_no_tie(steps: float, zero_point: int, tie: bool) -> None:
    assert product_has_no_ties((1.0, 0), (1.0, 0), (1 / steps, zero_point)) != tie


@pytest.mark.parametrize(
    ("steps", "zero_point", "tie"), [(245.5, 245, True), (246.5, 245, False), (245.5, 244, False), (244.5, 244, True)]
)
def test_product_below_the_output_range_has_no_tie(steps: float, zero_point: int, tie: bool) -> None:
    assert product_has_no_ties((1.0, 255), (1.0, 0), (1 / steps, zero_point)) != tie


def producers(*nodes: onnx.NodeProto) -> dict[str, onnx.NodeProto]:
    return {node.output[0]: node for node in nodes}


@pytest.mark.parametrize("inputs", [["feature", "gate"], ["gate", "feature"]])
def test_silu_input_is_found_on_either_side_of_the_product(inputs: list[str]) -> None:
    gate = helper.make_node("Sigmoid", ["feature"], ["gate"])
    assert find_silu_input(helper.make_node("Mul", inputs, ["y"]), producers(gate)) == "feature"


@pytest.mark.parametrize(
    "gate",
    [
        helper.make_node("Sigmoid", ["other"], ["gate"]),
        helper.make_node("Sigmoid", ["a"], ["gate"]),
        helper.make_node("Sigmoid", ["z"], ["gate"]),
        helper.make_node("HardSigmoid", ["x"], ["gate"]),
        helper.make_node("Tanh", ["x"], ["gate"]),
        helper.make_node("Sigmoid", ["x"], ["nowhere"]),
    ],
)
def test_other_products_have_no_silu_input(gate: onnx.NodeProto) -> None:
    assert find_silu_input(helper.make_node("Mul", ["x", "gate"], ["y"]), producers(gate)) is None
