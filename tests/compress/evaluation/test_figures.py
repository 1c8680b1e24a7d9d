"""The figures mean what they say: accuracy, thresholds, intervals, verdicts."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

from vedette.compress.data.split import Split
from vedette.compress.evaluation import pixel_metrics
from vedette.compress.evaluation.anomaly_scoring import at
from vedette.compress.evaluation.aupro import aupro, regions
from vedette.compress.goal.goal_file import Data, Device, Goal, Wish
from vedette.compress.graph.interval_arithmetic import bounds
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.report.verdict import judge
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.evaluation.interleaved_timing import interleaved
from vedette.runtime.evaluation.metrics import auroc, auroc_interval, roc

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


def slow_aupro(maps, masks, limit):
    """By its definition, level by level: overlap with each defect against the share of fault-free pixels."""
    fine = np.concatenate([each[~mask] for each, mask in zip(maps, masks, strict=True)])
    defects = []
    for each, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        defects += [each[labels == label] for label in range(1, count + 1)]
    levels = np.unique(np.concatenate([each.ravel() for each in maps]))[::-1]
    false = np.array([0.0, *((fine >= level).mean() for level in levels)])
    overlap = np.array([0.0, *(np.mean([(each >= level).mean() for each in defects]) for level in levels)])
    at_limit = np.interp(limit, false, overlap)
    within = false <= limit
    x, y = np.append(false[within], limit), np.append(overlap[within], at_limit)
    return np.trapezoid(y, x) / limit


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, None]))
def test_aupro_is_what_its_definition_says(seed, levels):
    """Random maps and masks, several defects in some, none in others, with many ties, few, or none."""
    rng = np.random.default_rng(seed)
    masks = [rng.uniform(size=(9, 11)) < share for share in (0.0, 0.1, 0.3)]
    masks[1][4, 4] = True
    maps = [rng.normal(size=mask.shape) + 0.5 * mask for mask in masks]
    if levels is not None:
        maps = [np.round(each * levels / 6) for each in maps]
    fine = np.concatenate([each[~mask] for each, mask in zip(maps, masks, strict=True)])
    defects = [values for each, mask in zip(maps, masks, strict=True) for values in regions(mask, each)]
    for limit in (0.3, 0.05, 1.0):
        assert aupro(fine, defects, limit) == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-9)


def test_aupro_counts_defects_not_pixels():
    anomaly_map = np.zeros((20, 20))
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = mask[15, 15] = True
    anomaly_map[:10, :10] = 1
    assert aupro(anomaly_map[~mask], regions(mask, anomaly_map)) == pytest.approx((1 + 0.15) / 2)
    assert aupro(np.zeros(50), [np.ones(5)]) == 1
    assert aupro(np.ones(50), [np.zeros(5)]) == 0


@pytest.fixture
def masked(tmp_path):
    """A split of four defective images, 40 x 60, with two masks drawn as asked for."""

    def make(*masks):
        paths = [tmp_path / f"{number}.png" for number in range(4)]
        for path in paths:
            cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
        drawn = {paths[number + 1]: tmp_path / f"{number}-mask.png" for number in range(len(masks))}
        for path, mask in zip(drawn.values(), masks, strict=True):
            cv2.imwrite(str(path), mask)
        return Split(fit=[], calibrate=[], threshold=[], test=[], defect=paths, masks=drawn)

    return make


def test_masks_may_be_empty_or_of_another_size(masked):
    large = np.zeros((80, 120), np.uint8)
    large[:20, :20] = large[60:, 90:] = 255
    truths = pixel_metrics.read(masked(large, np.zeros((40, 60), np.uint8)), 32)
    assert list(truths) == [1]
    assert truths[1].shape == (32, 32)
    assert truths[1][:8, :5].all()
    assert truths[1][24:, 24:].all()
    assert truths[1].mean() == pytest.approx(large.mean() / 255, abs=0.02)

    good, defect = [np.zeros((4, 4))], [np.zeros((4, 4)) for _ in range(4)]
    assert pixel_metrics.areas(good, defect, truths).aupro == pytest.approx(0.15)
    defect[1][0, 0] = defect[1][3, 3] = 1
    found = pixel_metrics.areas(good, defect, truths)
    assert 0.9 < found.aupro <= 1
    assert 0.9 < found.pixel_auroc <= 1
    assert pixel_metrics.areas(good, defect, {}) == pixel_metrics.Areas(None, None)


def test_a_mask_of_another_shape_is_refused(masked):
    with pytest.raises(ConfigProblem, match=r"0-mask\.png: 40 x 40 does not fit its image of 60 x 40"):
        pixel_metrics.read(masked(np.full((40, 40), 255, np.uint8)), 32)


@given(scores, scores, st.integers(0, 9))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(good, defect, line):
    found = at(line, good, defect)
    hits, alarms = (defect >= line).sum(), (defect >= line).sum() + (good >= line).sum()
    assert found["recall"] == pytest.approx(hits / len(defect))
    if alarms:
        assert found["precision"] == pytest.approx(hits / alarms)
    if hits:
        mean = 2 / (1 / found["precision"] + 1 / found["recall"])
        assert found["f1"] == pytest.approx(mean)
    assert found["f1"] <= found["best_f1"]
    assert found["best_f1"] == pytest.approx(max(at(each, good, defect)["f1"] for each in range(10)))


def test_the_build_measures_masks_groups_and_alarms(built):
    measured = built.manifest.measured
    assert measured["recall"] == measured["detection_rate"]
    assert measured["aupro"] is None
    assert measured["threshold"]["groups"] == measured["threshold"]["images"] == len(built.split.threshold)
    assert built.manifest.threshold == measured["threshold"]["score"]


def test_no_score_is_clamped(built):
    """The integers of map and score reach as high as any image can drive them."""
    model = onnx.load(built.report.with_name("weave.float.onnx"))
    reach = bounds(model, "score")
    measured = built.manifest.measured
    detector = anomaly.load(
        measured["detector"], efficientnet_lite.load(measured["blocks"]), built.manifest.input.width
    )
    for name in ("map", "score"):
        output = built.manifest.output(name)
        assert output.scale * (255 - output.zero_point) >= reach[name][1] - 1e-3
        least = max(reach[name][0], detector.bounded_outputs.get(name, float("-inf")))
        assert output.scale * (0 - output.zero_point) <= least + 1e-3


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
        ({"max_ms": 3.0}, "max_ms: asked 3, found 4, missed by 1 (p95, measured here)"),
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
