"""Anomaly models, their synthetic defects, their cost, and the choice of a design."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from fitted_designs import few_training_steps
from hypothesis import given
from hypothesis import strategies as st

from vedette.compress import tasks
from vedette.compress.cost import design_cost
from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.data import synthetic_defects
from vedette.compress.data.image_feature_cache import GoodAndDefectiveFeatures
from vedette.compress.evaluation import built_models
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
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
    """A plate with a grid under slightly varying light: 1 x size x size x 3, u8."""
    down, right = np.mgrid[:size, :size]
    plate = 120 + 40 * (((down // 12) + (right // 12)) % 2) + rng.normal(0, 6) + rng.normal(0, 3, (size, size))
    return np.repeat(plate.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def images():
    """Good images, and images with synthetic defects."""
    rng = np.random.default_rng(0)
    good = [scene(rng) for _ in range(18)]
    return good, synthetic_defects.make_defects(good, 24, rng)


@pytest.fixture(scope="module")
def features(images):
    """Features of the good and of the defective images, a tensor per block."""
    good, defective = images
    network = efficientnet_lite.load_backbone(BLOCKS)
    levels = [
        torch.cat(level)
        for level in zip(*feature_extraction.extract_float_features(network, [*good, *defective.images]), strict=True)
    ]
    return [level[: len(good)] for level in levels], [level[len(good) :] for level in levels]


_DEAR = ("discriminative", "golden")


@pytest.fixture(
    scope="module", params=[pytest.param(each, marks=[pytest.mark.slow] * (each in _DEAR)) for each in ANOMALY_MODELS]
)
def fitted(request, images, features):
    """A fitted anomaly model of each kind."""
    model = anomaly.load_anomaly_model(request.param, efficientnet_lite.load_backbone(BLOCKS), SIZE)
    model.fit(features[0], features[1], torch.from_numpy(images[1].masks))
    return model


def test_anomaly_model_finds_a_defect_and_its_location(fitted):
    rng = np.random.default_rng(1)
    good = [scene(rng) for _ in range(6)]
    defective = [image.copy() for image in good]
    for image in defective:
        image[:, 40:56, 40:56] = (250, 40, 20)
    with torch.inference_mode():
        good_map, good_scores = fitted(next(feature_extraction.extract_float_features(fitted.backbone, good)))
        defect_map, defect_scores = fitted(next(feature_extraction.extract_float_features(fitted.backbone, defective)))
    assert good_map.shape == (6, 1, SIZE // 8, SIZE // 8)
    assert good_scores.shape == (6,)
    assert defect_scores.min() > good_scores.max()
    for each in defect_map[:, 0]:
        down, right = divmod(int(each.argmax()), SIZE // 8)
        assert 4 <= down <= 7
        assert 4 <= right <= 7


@pytest.mark.build
def test_second_fit_does_not_depend_on_the_first(fitted, images, features):
    masks = torch.from_numpy(images[1].masks)
    few = [[level[:12] for level in part] for part in features]
    with torch.inference_mode():
        scores = fitted(features[0])[1]
    fitted.fit(few[0], few[1], masks[:12])
    with torch.inference_mode():
        assert not torch.equal(fitted(features[0])[1], scores)
    fitted.fit(features[0], features[1], masks)
    with torch.inference_mode():
        assert torch.allclose(fitted(features[0])[1], scores, atol=1e-5)


def test_int8_onnx_and_tflite_of_an_anomaly_model_agree(fitted, images):
    good, defective = images
    float_model = export_to_onnx(fitted, SIZE)
    spec = efficientnet_lite.backbone_input_spec(SIZE)
    int8_model = quantize(QuantizationSettings(), float_model, iter(good), spec, fitted.bounded_outputs)
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=SIZE))
    models = built_models.BuiltModels(goal, float_model, int8_model)
    scores = {name: [] for name in models.backends}
    for image in (*good[:6], *defective.images[:12]):
        runs = {name: backend.run(image) for name, backend in models.backends.items()}
        first, second = runs.values()
        for output in ("map", "score"):
            assert np.abs(first[output].astype(int) - second[output].astype(int)).max() <= 1
        for name, run in runs.items():
            scores[name].append(int(run["score"].flat[0]))
    with torch.inference_mode():
        float_scores = fitted(float_features(fitted, [*good[:6], *defective.images[:12]]))[1].numpy()
    assert np.corrcoef(float_scores, scores["int8_onnx"])[0, 1] > 0.9
    assert len(feature_names(fitted)) == len(BLOCKS)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        pytest.param(name, blocks, marks=[pytest.mark.slow] * ((name, blocks) != ("patchcore", (5,))))
        for name in ANOMALY_MODELS
        for blocks in ((5,) if name != "student" else (4, 5), (4, 10, 14))
    ],
)
def test_files_agree_whatever_the_resolution_of_the_levels(name, blocks, images):
    """The map is finer than block 5 at 96 pixels, so the graph upsamples it, and both files must copy one scale."""
    good, defective = images
    model = anomaly.load_anomaly_model(name, efficientnet_lite.load_backbone(blocks), SIZE)
    levels = float_features(model, [*good, *defective.images])
    parts = [level[: len(good)] for level in levels], [level[len(good) :] for level in levels]
    with few_training_steps():
        model.fit(*parts, torch.from_numpy(np.stack([cv2.resize(mask, (12, 12)) for mask in defective.masks])))
    spec = efficientnet_lite.backbone_input_spec(SIZE)
    float_model = export_to_onnx(model, SIZE)
    int8_model = quantize(QuantizationSettings(), float_model, iter(good), spec, model.bounded_outputs)
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=SIZE))
    backends = built_models.BuiltModels(goal, float_model, int8_model).backends
    for image in (*good[:3], *defective.images[:6]):
        first, second = (backend.run(image) for backend in backends.values())
        for output in ("map", "score"):
            assert np.abs(first[output].astype(int) - second[output].astype(int)).max() <= 1


def float_features(model, images):
    return [
        torch.cat(level)
        for level in zip(*feature_extraction.extract_float_features(model.backbone, images), strict=True)
    ]


@pytest.mark.slow
def test_cost_of_an_unfitted_model_equals_that_of_its_graph():
    for name in ANOMALY_MODELS:
        model = anomaly.load_anomaly_model(name, efficientnet_lite.load_backbone(BLOCKS), SIZE)
        graph = onnx.shape_inference.infer_shapes(export_to_onnx(model, SIZE)).graph
        shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
        shapes |= {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.output}
        weights = {constant.name: list(constant.dims) for constant in graph.initializer}
        counted = sum(
            int(np.prod(shapes[node.output[0]]) * np.prod(weights[node.input[1]][1:]))
            for node in graph.node
            if node.op_type == "Conv"
        )
        assert design_cost.estimate_cost(model, SIZE).macs == counted


# Synthetic defects


@pytest.mark.parametrize("kind", synthetic_defects.DEFECT_KINDS)
def test_defect_lies_inside_its_mask(kind, images):
    good, _ = images
    defects = synthetic_defects.make_defects(good, 12, np.random.default_rng(3), [kind])
    assert set(defects.kinds) == {kind}
    for image, mask, source in zip(defects.images, defects.masks, defects.sources, strict=True):
        assert image.shape == good[source].shape
        assert image.dtype == np.uint8
        changed = np.abs(image.astype(int) - good[source]).max(axis=3)[0] > synthetic_defects.MIN_VISIBLE_CHANGE
        assert changed.sum() >= synthetic_defects.MIN_CHANGED_PIXELS
        assert 0 < mask.mean() < 0.3
        near = cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert not (changed & (cv2.resize(near, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) == 0)).any()


def test_defects_depend_on_the_seed_only(images):
    first, same, other = (
        synthetic_defects.make_defects(images[0], 5, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.images, same.images, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.images, other.images, strict=True))


# Choice of a design


def test_keys_of_the_goal_restrict_the_designs():
    def candidates(images=100, **model):
        return [trial.design for trial in selection.list_default_trials(ModelTable(**model), images, HOST)]

    assert {design.anomaly_model for design in candidates(input=SIZE)} == {"padim", "patchcore"}
    assert candidates(detector="student", rank=8) == [Design("student", (2, 4, 10), 224, 8)]
    assert candidates(detector="golden", input=SIZE) == [Design("golden", (2, 4), SIZE)]
    assert candidates(detector="patchcore", blocks=(4,), input=SIZE) == [Design("patchcore", (4,), SIZE)]
    assert candidates(detector="padim", blocks=(4, 2), rank=8) == [Design("padim", (2, 4), 224, 8)]
    costs = [trial.macs for trial in selection.list_default_trials(ModelTable(input=SIZE), 100, HOST)]
    assert costs == sorted(costs)
    with pytest.raises(ConfigProblem, match=r"model\.detector"):
        candidates(detector="oracle")
    for blocks in ((4,), (5, 10)):
        with pytest.raises(ConfigProblem, match=r"model\.blocks"):
            candidates(detector="student", blocks=blocks)


@pytest.mark.parametrize(
    ("key", "model"), [("detector", {"detector": "oracle"}), ("blocks", {"detector": "student", "blocks": (4,)})]
)
def test_a_detector_that_cannot_be_is_refused_before_any_image_is_read(key, model):
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(**model))
    with pytest.raises(ConfigProblem, match=rf"model\.{key}"):
        tasks.load(goal, HOST)


def trial(anomaly_model, blocks, cost, auroc=None, file_bytes=0):
    return Trial(Design(anomaly_model, blocks), 0, cost, file_bytes, auroc)


def test_cheapest_of_the_best_trials_is_chosen():
    trials = [
        trial("padim", (2,), 1, 0.80),
        trial("padim", (2, 4), 2, 0.8995),
        trial("patchcore", (4,), 4, 0.90),
    ]
    assert selection.choose_cheapest_near_best(trials).cost == 2
    assert selection.choose_cheapest_near_best([*trials, trial("patchcore", (2,), 5, 0.92)]).cost == 5


def test_trial_beyond_the_limits_is_chosen_only_if_all_are():
    trials = [trial("padim", (2,), 10, 0.7, 50), trial("padim", (4,), 20, 0.8, 50), trial("padim", (5,), 40, 0.9, 90)]
    assert selection.choose_cheapest_near_best(trials, CostLimits(20)).cost == 20
    assert selection.choose_cheapest_near_best(trials, CostLimits(40, 60)).cost == 20
    assert selection.choose_cheapest_near_best(trials, CostLimits(9)).cost == 10
    assert selection.choose_cheapest_near_best(trials, CostLimits(15, 10)).cost == 10


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=12))
def test_pareto_front_holds_the_trials_that_no_other_dominates(figures):
    trials = [trial("padim", (2,), cost, auroc / 5, file_bytes) for cost, auroc, file_bytes in figures]
    front = selection.pareto_front(trials)
    assert front
    for candidate in trials:
        dominated = any(
            (other.cost, other.bytes, -other.auroc) != (candidate.cost, candidate.bytes, -candidate.auroc)
            and other.cost <= candidate.cost
            and other.bytes <= candidate.bytes
            and other.auroc >= candidate.auroc
            for other in trials
        )
        assert (candidate in front) != dominated


def test_padim_is_not_a_candidate_with_few_images():
    assert {each.design.anomaly_model for each in selection.list_default_trials(ModelTable(input=SIZE), 15, HOST)} == {
        "patchcore"
    }
    named = selection.list_default_trials(ModelTable(detector="padim", blocks=(4,), input=SIZE), 15, HOST)
    assert [each.design.anomaly_model for each in named] == ["padim"]


@pytest.mark.parametrize("name", [name for name in ANOMALY_MODELS if name != "student"])
def test_one_shallow_block_is_enough(name, images, features):
    """One shallow block has fewer channels than the output of the feature fusion."""
    model = anomaly.load_anomaly_model(name, efficientnet_lite.load_backbone((2,)), SIZE)
    model.fit(features[0][:1], features[1][:1], torch.from_numpy(images[1].masks))
    with torch.inference_mode():
        good, defective = (model(levels[:1])[1].numpy() for levels in features)
    assert auroc(good, defective) > 0.6


@pytest.mark.parametrize("rank", [1, 8, 64, 500])
def test_rank_selects_the_directions_that_vary_least(rank, features):
    network = efficientnet_lite.load_backbone(BLOCKS)
    reduced: Any = anomaly.load_anomaly_model("padim", network, SIZE, rank)
    whole: Any = anomaly.load_anomaly_model("padim", network, SIZE)
    for model in (reduced, whole):
        model.fit(features[0], features[1], torch.zeros(1))
    kept = reduced.join(features[0])
    assert kept.shape[1] == min(rank, anomaly.count_feature_channels(BLOCKS))
    assert torch.allclose(kept, whole.join(features[0])[:, : kept.shape[1]], atol=1e-4)
    smallest = [float((weight.weight[0] ** 2).sum()) for weight in whole.join.projects]
    largest = [float((weight.weight[-1] ** 2).sum()) for weight in whole.join.projects]
    assert sum(smallest) > sum(largest)  # directions that vary least have the largest weights


@pytest.mark.build
def test_trial_is_evaluated_on_held_out_groups(images, features):
    """Each group has an image that no other group has, so leakage would raise the AUROC."""
    good, defective = images
    image_features = GoodAndDefectiveFeatures(
        dict(zip(BLOCKS, features[0], strict=True)),
        dict(zip(BLOCKS, features[1], strict=True)),
        torch.from_numpy(defective.masks),
        defective.kinds,
        defective.sources,
    )
    groups = [number // 4 for number in range(len(good))]
    designs = [each.design for each in selection.list_default_trials(ModelTable(blocks=BLOCKS, input=SIZE), 100, HOST)]
    aurocs = {
        design.anomaly_model: selection.cross_validate(design, image_features, groups).auroc for design in designs
    }
    assert all(0.5 < value <= 1 for value in aurocs.values())
    model = anomaly.load_anomaly_model("padim", efficientnet_lite.load_backbone(BLOCKS), SIZE)
    model.fit(features[0], features[1], image_features.masks)
    with torch.inference_mode():
        training_auroc = auroc(model(features[0])[1].numpy(), model(features[1])[1].numpy())
    assert aurocs["padim"] <= training_auroc
