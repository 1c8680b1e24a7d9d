"""Accuracy figures, thresholds and intervals agree with their definitions."""

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

from vedette.compress.commands import console
from vedette.compress.data.split import Split
from vedette.compress.evaluation import pixel_metrics
from vedette.compress.evaluation.anomaly_scoring import compute_threshold_metrics
from vedette.compress.evaluation.aupro import compute_aupro, extract_defect_regions
from vedette.compress.evaluation.results import CountOfTotal
from vedette.compress.graph.interval_arithmetic import compute_bounds
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.evaluation.interleaved_timing import time_interleaved
from vedette.runtime.evaluation.metrics import auroc, auroc_interval, roc_curve
from vedette.runtime.inference.heads.anomaly import find_peak, surround

scores = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 9).map(float))


@given(scores, scores)
def test_auroc_is_the_share_of_ordered_pairs(good, defect):
    pairs = [(1.0 if d > g else 0.5 if d == g else 0.0) for d in defect for g in good]
    assert auroc(good, defect) == pytest.approx(np.mean(pairs))


@given(scores, scores)
def test_area_under_the_roc_curve_is_the_auroc(good, defect):
    curve = roc_curve(good, defect)
    assert tuple(curve[0]) == (0, 0)
    assert tuple(curve[-1]) == (1, 1)
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(auroc(good, defect))


def test_auroc_interval_has_its_coverage():
    rng = np.random.default_rng(0)
    truth = 0.7602  # two normal distributions one standard deviation apart
    hits = 0
    for draw in range(100):
        low, high = auroc_interval(rng.normal(0, 1, 40), rng.normal(1, 1, 40), draws=200, seed=draw)
        hits += low <= truth <= high
    assert 85 <= hits <= 100


def aupro_by_definition(maps, masks, limit):
    """AUPRO by its definition, threshold by threshold: overlap with each defect over the share of fault-free pixels."""
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
def test_aupro_agrees_with_its_definition(seed, levels):
    """Random maps and masks, with several defects or none, and with many ties, few, or none."""
    rng = np.random.default_rng(seed)
    masks = [rng.uniform(size=(9, 11)) < share for share in (0.0, 0.1, 0.3)]
    masks[1][4, 4] = True
    maps = [rng.normal(size=mask.shape) + 0.5 * mask for mask in masks]
    if levels is not None:
        maps = [np.round(each * levels / 6) for each in maps]
    fine = np.concatenate([each[~mask] for each, mask in zip(maps, masks, strict=True)])
    defects = [values for each, mask in zip(maps, masks, strict=True) for values in extract_defect_regions(mask, each)]
    for limit in (0.3, 0.05, 1.0):
        assert compute_aupro(fine, defects, limit) == pytest.approx(aupro_by_definition(maps, masks, limit), abs=1e-9)


def test_aupro_weighs_defects_alike():
    anomaly_map = np.zeros((20, 20))
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = mask[15, 15] = True
    anomaly_map[:10, :10] = 1
    assert compute_aupro(anomaly_map[~mask], extract_defect_regions(mask, anomaly_map)) == pytest.approx((1 + 0.15) / 2)
    assert compute_aupro(np.zeros(50), [np.ones(5)]) == 1
    assert compute_aupro(np.ones(50), [np.zeros(5)]) == 0


@pytest.fixture
def make_split(tmp_path):
    """Makes a split of four defective images, 40 x 60, with the given masks from the second image on."""

    def make(*masks):
        paths = [tmp_path / f"{number}.png" for number in range(4)]
        for path in paths:
            cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
        drawn = {paths[number + 1]: tmp_path / f"{number}-mask.png" for number in range(len(masks))}
        for path, mask in zip(drawn.values(), masks, strict=True):
            cv2.imwrite(str(path), mask)
        return Split(fit=[], calibrate=[], threshold=[], test=[], defect=paths, masks=drawn)

    return make


def test_masks_may_be_empty_or_of_another_size(make_split):
    large = np.zeros((80, 120), np.uint8)
    large[:20, :20] = large[60:, 90:] = 255
    truths = pixel_metrics.read_masks(make_split(large, np.zeros((40, 60), np.uint8)), 32)
    assert list(truths) == [1]
    assert truths[1].shape == (32, 32)
    assert truths[1][:8, :5].all()
    assert truths[1][24:, 24:].all()
    assert truths[1].mean() == pytest.approx(large.mean() / 255, abs=0.02)

    good, defect = [np.zeros((4, 4))], [np.zeros((4, 4)) for _ in range(4)]
    assert pixel_metrics.compute_pixel_metrics(good, defect, truths).aupro == pytest.approx(0.15)
    defect[1][0, 0] = defect[1][3, 3] = 1
    found = pixel_metrics.compute_pixel_metrics(good, defect, truths)
    assert 0.9 < found.aupro <= 1
    assert 0.9 < found.pixel_auroc <= 1
    assert pixel_metrics.compute_pixel_metrics(good, defect, {}) == pixel_metrics.PixelMetrics(None, None)


def test_mask_of_another_aspect_ratio_is_refused(make_split):
    with pytest.raises(ConfigProblem, match=r"0-mask\.png: 40 x 40 does not fit its image of 60 x 40"):
        pixel_metrics.read_masks(make_split(np.full((40, 40), 255, np.uint8)), 32)


@given(scores, scores, st.integers(0, 9))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(good, defect, threshold):
    metrics = compute_threshold_metrics(threshold, good, defect)
    hits, alarms = (defect >= threshold).sum(), (defect >= threshold).sum() + (good >= threshold).sum()
    assert metrics.recall == pytest.approx(hits / len(defect))
    if alarms:
        assert metrics.precision == pytest.approx(hits / alarms)
    if hits:
        mean = 2 / (1 / metrics.precision + 1 / metrics.recall)
        assert metrics.f1 == pytest.approx(mean)
    assert metrics.f1 <= metrics.best_f1
    assert metrics.best_f1 == pytest.approx(max(compute_threshold_metrics(each, good, defect).f1 for each in range(10)))


def test_the_build_measures_masks_groups_and_alarms(anomaly_build):
    measured = anomaly_build.manifest.measured
    assert measured["recall"] == measured["detection_rate"]
    assert measured["aupro"] is None
    assert measured["threshold"]["groups"] == measured["threshold"]["images"] == len(anomaly_build.split.threshold)
    assert anomaly_build.manifest.threshold == measured["threshold"]["score"]


def test_detection_rate_has_its_exact_interval():
    """Clopper and Pearson: no success in 10 trials leaves up to 1 - 0.025 ** (1 / 10) open."""
    assert CountOfTotal(0, 10).interval == pytest.approx((0, 1 - 0.025**0.1))
    assert CountOfTotal(10, 10).interval == pytest.approx((0.025**0.1, 1))
    assert CountOfTotal(0, 0).rate is CountOfTotal(0, 0).interval is None


@pytest.mark.parametrize(
    ("detections", "false_alarms", "useless"),
    [((6, 100), (8, 100), True), ((60, 100), (8, 100), False), ((0, 0), (8, 100), False), ((12, 100), (9, 100), True)],
)
def test_threshold_that_flags_defects_hardly_more_often_is_called_useless(
    anomaly_build, detections, false_alarms, useless
):
    metrics = msgspec.structs.replace(
        anomaly_build.results.metrics,
        detections=CountOfTotal(*detections),
        false_alarms=CountOfTotal(*false_alarms),
    )
    assert metrics.no_better_than_chance == useless
    assert any("useless" in line for line in console.describe_metrics(metrics)) == useless


def test_no_score_is_clamped(anomaly_build):
    """The integers of map and score reach as high as any image can drive them."""
    model = onnx.load(anomaly_build.report.with_name("weave.float.onnx"))
    reach = compute_bounds(model, "score")
    measured = anomaly_build.manifest.measured
    detector = anomaly.load_anomaly_model(
        measured["detector"], efficientnet_lite.load_backbone(measured["blocks"]), anomaly_build.manifest.input.width
    )
    for name in ("map", "score"):
        output = anomaly_build.manifest.output(name)
        assert output.scale * (255 - output.zero_point) >= reach[name][1] - 1e-3
        least = max(reach[name][0], detector.bounded_outputs.get(name, float("-inf")))
        assert output.scale * (0 - output.zero_point) <= least + 1e-3


# Interval arithmetic


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_no_value_leaves_its_interval(seed):
    """Clip, Mul, Conv, Add, Resize and ReduceMax, on random inputs far outside the clip."""
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
    found = compute_bounds(model, "y")
    assert set(found) == set("abcdey")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for scale in (0.1, 1, 100):
        outputs = session.run(list("abcdey"), {"x": rng.normal(0, scale, (1, 3, 6, 6)).astype(np.float32)})
        for name, values in zip("abcdey", outputs, strict=True):
            assert found[name][0] - 1e-4 <= values.min()
            assert values.max() <= found[name][1] + 1e-4


def test_unbounded_tensor_is_an_error():
    node = helper.make_node("Mul", ["x", "x"], ["y"], name="square")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [value], [output]))
    assert isinstance(model, onnx.ModelProto)
    with pytest.raises(Problem, match="nothing bounds 'y'"):
        compute_bounds(model, "y")


def test_interleaved_timing_alternates_the_calls():
    order = []
    timings = time_interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert set(timings) == {"a", "b"}
    assert all(0 <= timing.median <= timing.p95 for timing in timings.values())


def test_box_surrounds_the_strongest_anomaly_alone():
    anomaly_map = np.ones((20, 20))
    anomaly_map[2:5, 3:7] = 8  # the strongest, with a weaker rim
    anomaly_map[5, 3:7] = 6
    anomaly_map[15:18, 15:18] = 7.5  # another one, not connected
    box = surround(find_peak(anomaly_map))
    assert (box.left, box.top, box.right, box.bottom) == (0.15, 0.1, 0.35, 0.3)
    assert surround(find_peak(3 * anomaly_map + 5)) == box


def test_box_and_area_are_compared_with_the_defect_that_the_box_overlaps():
    mask, anomaly_map = np.zeros((40, 40), bool), np.zeros((20, 20))
    mask[8:16, 8:16] = True
    mask[30:32, 2:4] = True
    anomaly_map[4:8, 4:8] = 1
    found = pixel_metrics.compute_pixel_metrics([np.zeros((20, 20))], [anomaly_map], {0: mask})
    assert found.box_iou == 1.0
    assert found.area_ratio == 1.0
    elsewhere = np.zeros((20, 20))
    elsewhere[10:13, 10:13] = 1
    both = pixel_metrics.compute_pixel_metrics([np.zeros((20, 20))], [anomaly_map, elsewhere], {0: mask, 1: mask})
    assert both.box_iou == 0.5
    assert both.area_ratio == 1.0  # a box beside the defect has no area to compare
    assert both.box_iou_interval == (0.0, 1.0)
    assert both.aupro_interval is not None
    assert both.aupro_interval[0] < both.aupro < both.aupro_interval[1]
