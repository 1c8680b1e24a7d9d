"""Detectors, the spoilt pictures that they are fitted with and chosen by, and what they cost."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vedette.compress.cost import design_cost
from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.data import synthetic_defects
from vedette.compress.data.image_feature_cache import ImageFeatures
from vedette.compress.evaluation import built_models
from vedette.compress.goal.goal_file import DataSettings, Goal, ModelTable
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx, feature_names
from vedette.compress.models import anomaly, efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import ANOMALY_MODELS
from vedette.compress.models.design import Design
from vedette.compress.quantization.quantize import quantize
from vedette.compress.search import selection
from vedette.compress.search.selection import Trial
from vedette.devices import read_host_profile
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation.metrics import auroc

SIZE, BLOCKS = 96, (2, 4)
HOST = read_host_profile()


def scene(rng, size=SIZE):
    """A plate with a grid, lit a little differently each time: 1 x size x size x 3, u8."""
    down, right = np.mgrid[:size, :size]
    plate = 120 + 40 * (((down // 12) + (right // 12)) % 2) + rng.normal(0, 6) + rng.normal(0, 3, (size, size))
    return np.repeat(plate.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def shown():
    rng = np.random.default_rng(0)
    good = [scene(rng) for _ in range(18)]
    return good, synthetic_defects.make_defects(good, 24, rng)


@pytest.fixture(scope="module")
def seen(shown):
    """Features of those images, by block, in one tensor each."""
    good, spoilt = shown
    network = efficientnet_lite.load_backbone(BLOCKS)
    levels = [
        torch.cat(level)
        for level in zip(*feature_extraction.extract_float_features(network, [*good, *spoilt.images]), strict=True)
    ]
    return [level[: len(good)] for level in levels], [level[len(good) :] for level in levels]


@pytest.fixture(scope="module", params=ANOMALY_MODELS)
def fitted(request, shown, seen):
    detector = anomaly.load_anomaly_model(request.param, efficientnet_lite.load_backbone(BLOCKS), SIZE)
    detector.fit(seen[0], seen[1], torch.from_numpy(shown[1].masks))
    return detector


def test_a_detector_finds_what_is_strange_and_where(fitted):
    rng = np.random.default_rng(1)
    good = [scene(rng) for _ in range(6)]
    strange = [image.copy() for image in good]
    for image in strange:
        image[:, 40:56, 40:56] = (250, 40, 20)
    with torch.inference_mode():
        calm_map, calm = fitted(next(feature_extraction.extract_float_features(fitted.backbone, good)))
        excited_map, excited = fitted(next(feature_extraction.extract_float_features(fitted.backbone, strange)))
    assert calm_map.shape == (6, 1, SIZE // 8, SIZE // 8)
    assert calm.shape == (6,)
    assert excited.min() > calm.max()
    for each in excited_map[:, 0]:
        down, right = divmod(int(each.argmax()), SIZE // 8)
        assert 4 <= down <= 7
        assert 4 <= right <= 7


def test_a_detector_forgets_what_it_knew(fitted, shown, seen):
    masks = torch.from_numpy(shown[1].masks)
    few = [[level[:12] for level in part] for part in seen]
    with torch.inference_mode():
        once = fitted(seen[0])[1]
    fitted.fit(few[0], few[1], masks[:12])
    with torch.inference_mode():
        assert not torch.equal(fitted(seen[0])[1], once)
    fitted.fit(seen[0], seen[1], masks)
    with torch.inference_mode():
        assert torch.allclose(fitted(seen[0])[1], once, atol=1e-5)


def test_a_detector_is_one_graph_and_two_int8_files_that_agree(fitted, shown):
    good, spoilt = shown
    float_model = export_to_onnx(fitted, SIZE)
    spec = efficientnet_lite.backbone_input(SIZE)
    int8_model = quantize(QuantizationSettings(), float_model, iter(good), spec, fitted.bounded_outputs)
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=SIZE))
    made = built_models.BuiltModels(goal, float_model, int8_model)
    scores = {name: [] for name in made.backends}
    for image in (*good[:6], *spoilt.images[:12]):
        runs = {name: backend.run(image) for name, backend in made.backends.items()}
        first, second = runs.values()
        for output in ("map", "score"):
            assert np.abs(first[output].astype(int) - second[output].astype(int)).max() <= 3
        for name, run in runs.items():
            scores[name].append(int(run["score"].flat[0]))
    with torch.inference_mode():
        real = fitted(torch_features(fitted, [*good[:6], *spoilt.images[:12]]))[1].numpy()
    assert np.corrcoef(real, scores["int8_onnx"])[0, 1] > 0.9
    assert len(feature_names(fitted)) == len(BLOCKS)


def torch_features(detector, images):
    return [
        torch.cat(level)
        for level in zip(*feature_extraction.extract_float_features(detector.backbone, images), strict=True)
    ]


def test_what_it_costs_is_known_before_it_is_fitted():
    for name in ANOMALY_MODELS:
        detector = anomaly.load_anomaly_model(name, efficientnet_lite.load_backbone(BLOCKS), SIZE)
        graph = onnx.shape_inference.infer_shapes(export_to_onnx(detector, SIZE)).graph
        shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
        shapes |= {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.output}
        weights = {constant.name: list(constant.dims) for constant in graph.initializer}
        counted = sum(
            int(np.prod(shapes[node.output[0]]) * np.prod(weights[node.input[1]][1:]))
            for node in graph.node
            if node.op_type == "Conv"
        )
        assert design_cost.estimate_cost(detector, SIZE).macs == counted


# Spoilt pictures


@pytest.mark.parametrize("kind", synthetic_defects.DEFECT_KINDS)
def test_a_picture_is_spoilt_where_the_mask_says(kind, shown):
    good, _ = shown
    made = synthetic_defects.make_defects(good, 12, np.random.default_rng(3), [kind])
    assert set(made.kinds) == {kind}
    for image, mask, source in zip(made.images, made.masks, made.sources, strict=True):
        assert image.shape == good[source].shape
        assert image.dtype == np.uint8
        changed = np.abs(image.astype(int) - good[source]).max(axis=3)[0] > synthetic_defects.MIN_VISIBLE_CHANGE
        assert changed.sum() >= synthetic_defects.MIN_CHANGED_PIXELS
        assert 0 < mask.mean() < 0.3
        near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert not (changed & (cv2.resize(near, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) == 0)).any()


def test_the_same_numbers_spoil_the_same_way(shown):
    one, same, other = (synthetic_defects.make_defects(shown[0], 5, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one.images, same.images, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))


# The choice


def test_what_is_named_is_not_chosen():
    def candidates(images=100, **model):
        return [trial.design for trial in selection.list_default_trials(ModelTable(**model), images, HOST)]

    assert {one.anomaly_model for one in candidates(input=SIZE)} == set(ANOMALY_MODELS)
    assert candidates(detector="patchcore", blocks=(4,), input=SIZE) == [Design("patchcore", (4,), SIZE)]
    assert candidates(detector="padim", blocks=(4, 2), rank=8) == [Design("padim", (2, 4), 224, 8)]
    costs = [trial.macs for trial in selection.list_default_trials(ModelTable(input=SIZE), 100, HOST)]
    assert costs == sorted(costs)
    with pytest.raises(ConfigProblem, match=r"model\.detector"):
        candidates(detector="oracle")


def trial(detector, blocks, effort, auroc=None, held=0):
    return Trial(Design(detector, blocks), 0, effort, held, auroc)


def test_the_cheapest_of_the_best_is_taken():
    trials = [
        trial("padim", (2,), 1, 0.80),
        trial("padim", (2, 4), 2, 0.8995),
        trial("discriminative", (4,), 3, 0.99),
        trial("patchcore", (4,), 4, 0.90),
    ]
    assert selection.choose_trial(trials).cost == 2
    assert selection.choose_trial([*trials, trial("discriminative", (2,), 5, 1.0 + 1e-9)]).cost == 2
    assert selection.choose_trial([trials[0], trials[2]]).cost == 3


def test_what_does_not_fit_the_budget_is_taken_only_where_nothing_does():
    trials = [trial("padim", (2,), 10, 0.7, 50), trial("padim", (4,), 20, 0.8, 50), trial("padim", (5,), 40, 0.9, 90)]
    assert selection.choose_trial(trials, CostLimits(20)).cost == 20
    assert selection.choose_trial(trials, CostLimits(40, 60)).cost == 20
    assert selection.choose_trial(trials, CostLimits(9)).cost == 10
    assert selection.choose_trial(trials, CostLimits(15, 10)).cost == 10


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(figures):
    trials = [trial("padim", (2,), effort, worth / 5, held) for effort, worth, held in figures]
    front = selection.pareto_front(trials)
    assert front
    for one in trials:
        beaten = any(
            (o.cost, o.bytes, -o.auroc) != (one.cost, one.bytes, -one.auroc)
            and o.cost <= one.cost
            and o.bytes <= one.bytes
            and o.auroc >= one.auroc
            for o in trials
        )
        assert (one in front) != beaten


def test_few_images_leave_out_what_needs_many():
    assert {
        each.design.anomaly_model for each in selection.list_default_trials(ModelTable(input=SIZE), 15, HOST)
    } == set(ANOMALY_MODELS) - {"padim"}
    named = selection.list_default_trials(ModelTable(detector="padim", blocks=(4,), input=SIZE), 15, HOST)
    assert [each.design.anomaly_model for each in named] == ["padim"]


@pytest.mark.parametrize("name", ANOMALY_MODELS)
def test_few_channels_are_enough(name, shown, seen):
    """One shallow block has fewer channels than detectors join many blocks to."""
    detector = anomaly.load_anomaly_model(name, efficientnet_lite.load_backbone((2,)), SIZE)
    detector.fit(seen[0][:1], seen[1][:1], torch.from_numpy(shown[1].masks))
    with torch.inference_mode():
        good, spoilt = (detector(levels[:1])[1].numpy() for levels in seen)
    assert auroc(good, spoilt) > 0.6


@pytest.mark.parametrize("rank", [1, 8, 64, 500])
def test_a_rank_keeps_the_directions_that_vary_least(rank, seen):
    network = efficientnet_lite.load_backbone(BLOCKS)
    detector: Any = anomaly.load_anomaly_model("padim", network, SIZE, rank)
    whole: Any = anomaly.load_anomaly_model("padim", network, SIZE)
    for each in (detector, whole):
        each.fit(seen[0], seen[1], torch.zeros(1))
    kept = detector.join(seen[0])
    assert kept.shape[1] == min(rank, anomaly.count_feature_channels(BLOCKS))
    assert torch.allclose(kept, whole.join(seen[0])[:, : kept.shape[1]], atol=1e-4)
    smallest = [float((weight.weight[0] ** 2).sum()) for weight in whole.join.projects]
    largest = [float((weight.weight[-1] ** 2).sum()) for weight in whole.join.projects]
    assert sum(smallest) > sum(largest)  # what varies little is stretched most


def test_a_trial_judges_by_what_it_did_not_fit(shown, seen):
    """A group that is fitted and judged would show: here each group has a picture that no other has."""
    good, spoilt = shown
    looked_at = ImageFeatures(
        dict(zip(BLOCKS, seen[0], strict=True)),
        dict(zip(BLOCKS, seen[1], strict=True)),
        torch.from_numpy(spoilt.masks),
        spoilt.kinds,
        spoilt.sources,
    )
    groups = [number // 4 for number in range(len(good))]
    designs = [each.design for each in selection.list_default_trials(ModelTable(blocks=BLOCKS, input=SIZE), 100, HOST)]
    tried = {one.anomaly_model: selection.cross_validated_auroc(one, looked_at, groups) for one in designs}
    assert all(0.5 < worth <= 1 for worth in tried.values())
    alone = anomaly.load_anomaly_model("padim", efficientnet_lite.load_backbone(BLOCKS), SIZE)
    alone.fit(seen[0], seen[1], looked_at.masks)
    with torch.inference_mode():
        flattered = auroc(alone(seen[0])[1].numpy(), alone(seen[1])[1].numpy())
    assert tried["padim"] <= flattered
