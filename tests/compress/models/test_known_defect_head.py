"""The head for known defects: it raises scores of what it has seen, lowers none, and is the same in both files."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from fitted_designs import few_training_steps

from vedette.compress.data import synthetic_defects
from vedette.compress.evaluation import built_models
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.graph.torch_export import export_to_onnx
from vedette.compress.models import efficientnet_lite, feature_extraction
from vedette.compress.models.anomaly import ANOMALY_MODELS, load_anomaly_model
from vedette.compress.models.anomaly.known_defect_head import (
    FOLDS,
    AnomalyModelWithKnownDefects,
    KnownDefectEvidence,
    assign_folds,
)
from vedette.compress.models.design import Design
from vedette.compress.quantization.quantize import quantize
from vedette.compress.search import selection
from vedette.compress.search.selection import KnownDefectsAuroc, Trial
from vedette.runtime.evaluation.metrics import auroc

SIZE, BLOCKS, GOOD = 96, (4, 10), 24


def plate(rng, stain=False):
    """A plate with a grid, 1 x 96 x 96 x 3, uint8; with a faint stain whose place varies."""
    down, right = np.mgrid[:SIZE, :SIZE]
    image = 120 + 40 * (((down // 12) + (right // 12)) % 2) + rng.normal(0, 6) + rng.normal(0, 5, (SIZE, SIZE))
    image = np.repeat(image[..., None], 3, axis=2)
    if stain:
        top, left = rng.integers(8, 56, 2)
        image[top : top + 24, left : left + 24] += (0, 0, 12)
    return image.clip(0, 255).astype(np.uint8)[None]


def features_of(images):
    batches = feature_extraction.extract_float_features(efficientnet_lite.load_backbone(BLOCKS), images)
    return [torch.cat(level) for level in zip(*batches, strict=True)]


@pytest.fixture(scope="module")
def parts():
    """Images: good, with synthetic defects (and their masks), known stains; and unseen good ones and stains."""
    rng = np.random.default_rng(0)
    good = [plate(rng) for _ in range(GOOD)]
    synthetic = synthetic_defects.make_defects(good, 24, rng)
    known, stained = ([plate(rng, stain=True) for _ in range(count)] for count in (10, 12))
    return good, synthetic, known, [plate(rng) for _ in range(12)], stained


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, marks=[pytest.mark.slow] * (each != "padim")) for each in ANOMALY_MODELS],
)
def fitted(request, parts):
    good, synthetic, known, *_ = parts
    model = load_anomaly_model(request.param, efficientnet_lite.load_backbone(BLOCKS), SIZE)
    joined = AnomalyModelWithKnownDefects(model, SIZE)
    masks = torch.from_numpy(np.stack(synthetic.masks))
    with few_training_steps(100):
        joined.fit(features_of(good), features_of(synthetic.images), masks, features_of(known), list(range(GOOD)))
    return joined


def test_head_raises_unseen_defects_of_a_known_kind_and_lowers_nothing(fitted, parts):
    *_, good, stained = map(features_of, (*parts[3:],))
    with torch.inference_mode():
        scores = [(fitted(part)[1].numpy(), fitted.model(part)[1].numpy()) for part in (good, stained)]
    assert all((raised >= plain - 1e-5).all() for raised, plain in scores)
    (good_raised, good_plain), (stained_raised, stained_plain) = scores
    assert auroc(good_raised, stained_raised) >= auroc(good_plain, stained_plain)
    gains = [float((raised - plain).mean()) for raised, plain in scores]
    assert gains[1] > 2 * gains[0] + 1e-4


def test_map_does_not_depend_on_known_defects(fitted, parts):
    stained = features_of(parts[4][:3])
    with torch.inference_mode():
        assert torch.equal(fitted(stained)[0], fitted.model(stained)[0])


def test_each_known_defect_has_a_correction(fitted, parts):
    assert len(fitted.known_corrections) == len(parts[2])
    assert max(fitted.known_corrections) <= 1e-6


def test_evidence_by_cross_validation_is_not_flattered(parts):
    """Known images without a defect: only a regression that has seen them tells them from good ones."""
    good, known = features_of(parts[0]), features_of(parts[3])
    head = KnownDefectEvidence(efficientnet_lite.load_backbone(BLOCKS), SIZE)
    with torch.inference_mode():
        fitted, unseen = head.fit(good, known, list(range(GOOD)))
        assert np.allclose(head(known).flatten().numpy(), fitted, atol=1e-3)
    assert fitted.mean() > unseen.mean() + 0.5
    assert unseen.mean() < 1.0


def test_both_files_compute_the_same_integers(fitted, parts):
    good, _, known, unseen, stained = parts
    float_model = export_to_onnx(fitted, SIZE)
    spec = efficientnet_lite.backbone_input_spec(SIZE)
    int8_model = quantize(QuantizationSettings(), float_model, iter([*good, *known]), spec, fitted.bounded_outputs)
    goal = Goal(name="plate", task="anomaly", data=DataSettings(good="."), model=ModelTable(input=SIZE))
    backends = built_models.BuiltModels(goal, float_model, int8_model).backends
    for image in (*unseen[:4], *stained[:4]):
        first, second = (backend.run(image) for backend in backends.values())
        for output in ("map", "score"):
            assert np.abs(first[output].astype(int) - second[output].astype(int)).max() <= 3


def test_second_fit_does_not_depend_on_the_first(parts):
    good, known = features_of(parts[0]), features_of(parts[2])
    head = KnownDefectEvidence(efficientnet_lite.load_backbone(BLOCKS), SIZE)
    with torch.inference_mode():
        head.fit(good, known, list(range(GOOD)))
        first = head(known)
        head.fit([level[:12] for level in good], [level[:5] for level in known], list(range(12)))
        head.fit(good, known, list(range(GOOD)))
        assert torch.allclose(head(known), first)


@pytest.mark.parametrize("groups", [["a"] * 12, ["a"] * 6 + ["b"] * 6, list(range(12))])
def test_head_can_be_fitted_to_any_number_of_groups(parts, groups):
    head = KnownDefectEvidence(efficientnet_lite.load_backbone(BLOCKS), SIZE)
    with torch.inference_mode():
        fitted, unseen = head.fit(features_of(parts[0][:12]), features_of(parts[2][:5]), groups)
    assert np.isfinite([*fitted, *unseen]).all()


def test_folds_keep_groups_whole():
    groups = [number // 3 for number in range(20)]
    folds = assign_folds(groups, FOLDS)
    assert set(folds.tolist()) == set(range(FOLDS))
    assert all(len({fold for fold, each in zip(folds, groups, strict=True) if each == group}) == 1 for group in groups)


def trial(name, synthetic, known=None, images=0):
    figures = msgspec.UNSET if known is None else KnownDefectsAuroc(known, images)
    return Trial(Design(name, BLOCKS), 1, 1.0, 1, synthetic, figures)


def test_known_defects_decide_between_designs_the_more_the_more_there_are():
    def chosen(known, images):
        trials = [trial("padim", 0.95, 0.7, images), trial("patchcore", 0.9, known, images)]
        return selection.choose_cheapest_near_best(trials).design.anomaly_model

    assert chosen(0.9, 20) == "patchcore"
    assert chosen(0.74, 1) == "padim"
    without = [trial("padim", 0.95), trial("patchcore", 0.9)]
    assert selection.choose_cheapest_near_best(without).design.anomaly_model == "padim"
    leading = [trial("discriminative", 0.99, 0.95, 40), trial("padim", 0.9, 0.8, 40)]
    assert selection.choose_cheapest_near_best(leading).design.anomaly_model == "discriminative"


def test_trials_without_known_defects_are_recorded_as_before():
    assert set(msgspec.to_builtins(trial("padim", 0.9))) == {"design", "macs", "effort", "bytes", "auroc"}
    record = msgspec.to_builtins(trial("padim", 0.9, 0.8, 7))
    assert msgspec.convert(record, Trial) == trial("padim", 0.9, 0.8, 7)
    assert record["known"] == {"auroc": 0.8, "images": 7}
