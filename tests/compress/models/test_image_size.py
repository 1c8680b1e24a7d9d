"""The size of an input, and anomaly models whose input is no square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitted_designs import few_training_steps
from hypothesis import given
from hypothesis import strategies as st

from vedette.compress.cost import design_cost
from vedette.compress.data import synthetic_defects
from vedette.compress.evaluation import built_models
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import anomaly, efficientnet_lite, feature_extraction, image_size
from vedette.compress.models.anomaly import ANOMALY_MODELS
from vedette.compress.models.design import DEFAULT_INPUT, INPUT_SIZES, SearchSpace, choose_input, default_designs
from vedette.compress.quantization.quantize import quantize

HEIGHT, WIDTH = SIZE = 64, 160
BLOCKS = (4, 10)


@given(st.sampled_from(INPUT_SIZES), st.floats(0.25, 4.0))
def test_size_keeps_the_aspect_ratio_at_about_the_same_number_of_pixels(side, ratio):
    height, width = image_size.height_and_width(image_size.fit_aspect_ratio(side, ratio))
    assert height % 32 == width % 32 == 0
    error = abs(np.log(width / height / ratio))
    assert error <= abs(np.log(ratio)) + 1e-9, "never worse than a square"
    if side == DEFAULT_INPUT:
        assert error < np.log(1.2)
        assert 0.7 < height * width / side**2 < 1.4


def test_square_image_has_a_square_input_written_as_one_number():
    for side in INPUT_SIZES:
        assert image_size.fit_aspect_ratio(side, 1.0) == side


def test_input_of_a_goal():
    assert choose_input(ModelTable()) == DEFAULT_INPUT
    assert choose_input(ModelTable(input=(128, 128))) == 128
    assert choose_input(ModelTable(input=(96, 192))) == (96, 192)
    assert choose_input(ModelTable(input="auto"), 0.75) == (256, 192)
    assert {design.input for design in default_designs(ModelTable(input=(96, 192)), 100)} == {(96, 192)}
    sizes = SearchSpace.for_goal(ModelTable(input="auto"), 100, 0.75).input_sizes
    assert sizes[0] == (256, 192)
    assert all(height > width for height, width in map(image_size.height_and_width, sizes[:-1]))


def strip(rng):
    """A plate with a grid under slightly varying light: 1 x HEIGHT x WIDTH x 3, u8."""
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    plate = 120 + 40 * (((down // 12) + (right // 12)) % 2) + rng.normal(0, 6) + rng.normal(0, 3, SIZE)
    return np.repeat(plate.clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def images():
    """Good images, and images with synthetic defects."""
    rng = np.random.default_rng(0)
    good = [strip(rng) for _ in range(18)]
    return good, synthetic_defects.make_defects(good, 24, rng)


def test_synthetic_defects_reach_all_of_a_rectangle(images):
    _, defective = images
    assert {image.shape for image in defective.images} == {(1, HEIGHT, WIDTH, 3)}
    assert defective.masks.shape[1:] == (HEIGHT // 8, WIDTH // 8)
    assert (defective.masks.max(axis=(0, 1)) > 0).mean() > 0.8
    assert (defective.masks.max(axis=(0, 2)) > 0).all()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, marks=[pytest.mark.slow] * (each not in ("padim", "patchcore"))) for each in ANOMALY_MODELS
    ],
)
def fitted(request, images):
    """An anomaly model of each kind, fitted to rectangular images."""
    model = anomaly.load_anomaly_model(request.param, efficientnet_lite.load_backbone(BLOCKS), SIZE)
    good, defective = images
    batches = feature_extraction.extract_float_features(model.backbone, [*good, *defective.images])
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    count = len(good)
    masks = torch.from_numpy(defective.masks)
    with few_training_steps(100):
        model.fit([level[:count] for level in levels], [level[count:] for level in levels], masks)
    return model


def test_defect_is_found_where_it_is(fitted):
    image = strip(np.random.default_rng(1))
    image[:, 24:40, 120:136] = (250, 40, 20)
    with torch.inference_mode():
        anomaly_map = fitted(next(feature_extraction.extract_float_features(fitted.backbone, [image])))[0]
    assert anomaly_map.shape == (1, 1, HEIGHT // 8, WIDTH // 8)
    down, right = divmod(int(anomaly_map.argmax()), WIDTH // 8)
    assert 2 <= down <= 5
    assert 14 <= right <= 17


@pytest.mark.slow
def test_both_files_agree_and_the_cost_is_that_of_the_pixels(fitted, images):
    good, defective = images
    float_model = export_to_onnx(fitted, SIZE)
    spec = efficientnet_lite.backbone_input_spec(SIZE)
    int8_model = quantize(QuantizationSettings(), float_model, iter(good), spec, fitted.bounded_outputs)
    goal = Goal(name="strip", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=SIZE))
    models = built_models.BuiltModels(goal, float_model, int8_model)
    assert (models.manifest.input.height, models.manifest.input.width) == SIZE
    for image in (*good[:4], *defective.images[:8]):
        first, second = (backend.run(image) for backend in models.backends.values())
        for output in ("map", "score"):
            assert np.abs(first[output].astype(int) - second[output].astype(int)).max() <= 3
    square = design_cost.estimate_cost(
        anomaly.load_anomaly_model("patchcore", efficientnet_lite.load_backbone(BLOCKS), 96), 96
    )
    same = design_cost.estimate_cost(
        anomaly.load_anomaly_model("patchcore", efficientnet_lite.load_backbone(BLOCKS), (64, 160)), (64, 160)
    )
    assert same.macs / square.macs == pytest.approx(64 * 160 / 96**2, rel=0.05)
