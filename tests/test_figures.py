"""The figures mean what they say: accuracy, thresholds, intervals, verdicts."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from vedette.compress import threshold
from vedette.compress.goal import Data, Device, Goal, Wish
from vedette.compress.intervals import bounds
from vedette.compress.verdict import judge
from vedette.runtime.accuracy import auroc, auroc_interval, roc
from vedette.runtime.problem import Problem
from vedette.runtime.stopwatch import interleaved

scores = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 9).map(float))


@given(scores, scores)
def test_auroc_is_the_share_of_pairs_in_order(good, defect):
    pairs = [(1.0 if d > g else 0.5 if d == g else 0.0) for d in defect for g in good]
    assert auroc(good, defect) == pytest.approx(np.mean(pairs))


@given(scores, scores)
def test_the_area_under_the_curve_is_the_auroc(good, defect):
    curve = roc(good, defect)
    assert tuple(curve[0]) == (0, 0)
    assert tuple(curve[-1]) == (1, 1)
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(auroc(good, defect))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.7602  # two normal distributions one standard deviation apart
    hits = 0
    for draw in range(100):
        low, high = auroc_interval(rng.normal(0, 1, 40), rng.normal(1, 1, 40), draws=200, seed=draw)
        hits += low <= truth <= high
    assert 85 <= hits <= 100


@pytest.mark.parametrize(("images", "wished"), [(99, 0.01), (120, 0.05), (300, 0.02), (19, 0.05)])
def test_a_threshold_keeps_its_promise(images, wished):
    """Over many samples of good parts, the share of unseen good parts at or above the threshold is as promised."""
    rng = np.random.default_rng(0)
    rates, promised = [], 0.0
    for _ in range(2000):
        line = threshold.choose(rng.normal(size=images).round(3), 0.001, wished)
        promised = line.promised
        rates.append((rng.normal(size=200) >= line.score).mean())
    assert promised <= wished + 1 / (images + 1)
    error = 4 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= promised + error


def test_a_small_sample_promises_no_more_than_it_can():
    line = threshold.choose(np.arange(9.0), 1.0, 0.01)
    assert line.promised == pytest.approx(0.1)
    assert line.score == 8.5


# Interval arithmetic


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_no_input_leaves_the_interval(seed):
    """A clip, a square, a convolution, a sum, an enlargement and a maximum, on random inputs far outside the clip."""
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.uniform(-5, 5, 2))
    constants = {
        "low": np.float32(low),
        "high": np.float32(high),
        "weight": rng.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=2).astype(np.float32),
        "factors": np.array([1, 1, 2, 2], np.float32),
        "axes": np.array([1, 2, 3], np.int64),
        "shift": rng.normal(size=(1, 2, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Conv", ["b", "weight", "bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "shift"], ["d"]),
        helper.make_node("Resize", ["d", "", "factors"], ["e"], mode="nearest"),
        helper.make_node("ReduceMax", ["e", "axes"], ["y"], keepdims=0),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abcdey"],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    found = bounds(model, "y")
    assert set(found) == set("abcdey")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for scale in (0.1, 1, 100):
        outputs = session.run(list("abcdey"), {"x": rng.normal(0, scale, (1, 3, 6, 6)).astype(np.float32)})
        for name, values in zip("abcdey", outputs, strict=True):
            assert found[name][0] - 1e-4 <= values.min()
            assert values.max() <= found[name][1] + 1e-4


def test_what_nothing_bounds_is_said():
    node = helper.make_node("Mul", ["x", "x"], ["y"], name="square")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [value], [output]))
    assert isinstance(model, onnx.ModelProto)
    with pytest.raises(Problem, match="nothing bounds 'y'"):
        bounds(model, "y")


# The verdict

MEASURED = {
    "auroc_fp32": 0.95,
    "auroc_int8_onnx": 0.945,
    "auroc_int8_tflite": 0.94,
    "p95_ms_int8_onnx": 5.0,
    "p95_ms_int8_tflite": 4.0,
    "bytes_int8_onnx": 100,
    "bytes_int8_tflite": 120,
    "false_alarms": 2,
    "images": {"test_good": 100},
}


def verdict(wish, profile="host", **measured):
    goal = Goal(name="x", task="anomaly", data=Data(good="good"), goal=wish, device=Device(profile))
    return judge(goal, MEASURED | measured)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"min_auroc": 0.94}, None),
        ({"min_auroc": 0.942}, "min_auroc: asked 0.942, found 0.94, missed by 0.002"),
        ({"max_drop": 0.011}, None),
        ({"max_drop": 0.005}, "max_drop: asked 0.005, found 0.01, missed by 0.005"),
        ({"max_ms": 4.5}, None),
        ({"max_ms": 3.0}, "max_ms: asked 3, found 4, missed by 1 (p95, on this machine)"),
        ({"max_bytes": 120}, None),
        ({"max_bytes": 110}, "max_bytes: asked 110, found 120, missed by 10"),
        ({"false_alarm_rate": 0.01}, None),  # 2 of 100 happens in a quarter of all samples at 1 %
        ({"false_alarm_rate": 0.001}, "false_alarm_rate: asked 0.001, found 0.02, missed by 0.019"),
        ({}, None),
    ],
)
def test_a_miss_says_which_and_by_how_much(wish, sentence):
    judged = verdict(Wish(**wish))
    assert judged.met is (sentence is None)
    if sentence is not None:
        assert judged.missed[0].startswith(sentence)


def test_what_cannot_be_judged_here_is_not_called_met():
    judged = verdict(Wish(max_ms=50.0), profile="pi4")
    assert judged.met
    assert "not a pi4" in judged.unproven[0]
    blind = verdict(Wish(min_auroc=0.9), auroc_fp32=None, auroc_int8_onnx=None, auroc_int8_tflite=None)
    assert "no defective images" in blind.unproven[0]
    assert all(each.met is None for each in blind.judgements)
    assert msgspec.json.encode(blind.judgements)


def test_calls_are_timed_in_turn():
    order = []
    timings = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert set(timings) == {"a", "b"}
    assert all(0 <= timing.median <= timing.p95 for timing in timings.values())
