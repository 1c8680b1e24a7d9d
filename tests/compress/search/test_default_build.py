"""The choice of a search is held against the build without it."""

from __future__ import annotations

import json
import math
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from products import write_goal_for
from small_search import PI4

from vedette.compress.cost.cost_limits import CostLimits
from vedette.compress.models import design
from vedette.compress.models.design import Design
from vedette.compress.models.efficientnet_lite import STAGES, stage_of_block
from vedette.compress.search import default_build, finalists, selection
from vedette.compress.search.default_build import ExpectedLosses
from vedette.compress.search.selection import Trial

DEFAULT = Design("padim", (4, 10))


@cache
def untried(blocks: tuple[int, ...], size: int) -> Trial:
    return Trial.for_design(Design("padim", blocks, size), PI4)


def trial(auroc: float, blocks: tuple[int, ...] = (4, 10), size: int = 224) -> Trial:
    return msgspec.structs.replace(untried(blocks, size), auroc=auroc)


def losses_of(*trials: Trial) -> dict[Trial, float]:
    expected = ExpectedLosses(trials, DEFAULT)
    return {each: expected.of_design(each.design) for each in trials}


def test_stage_of_a_block():
    assert [stage_of_block(block) for block in range(sum(stage.repeats for stage in STAGES))] == [
        number for number, stage in enumerate(STAGES) for _ in range(stage.repeats)
    ]


def test_loss_by_a_smaller_input_counts_half_and_by_other_blocks_in_full():
    losses = losses_of(trial(0.9), trial(0.86, size=160), trial(0.80, (4, 8), 160), trial(0.86, (4,), 160))
    at_160 = 0.02 * math.log2(1.4) + 0.04 / 2
    assert list(losses.values()) == pytest.approx([0, at_160, at_160 + 0.06 - 0.01, at_160 + 0.02])


def test_leaving_out_early_stages_counts_more_than_late_ones():
    losses = losses_of(trial(0.9), trial(0.9, (4, 7)), trial(0.9, (4,)), trial(0.9, (2,)), trial(0.9, (4, 10, 14)))
    assert list(losses.values()) == pytest.approx([0, 0.01, 0.02, 0.05, 0])


def test_loss_of_a_size_at_which_the_default_design_was_not_tried_counts_in_full():
    losses = losses_of(trial(0.9), trial(0.86, (4, 8), 160))
    assert list(losses.values()) == pytest.approx([0, 0.02 * math.log2(1.4) + 0.04 - 0.01])


def test_cheapest_design_near_the_default_is_chosen():
    losses = losses_of(trial(0.9), trial(0.9, size=192), trial(0.9, size=160), trial(0.9, (4,), 160))
    assert default_build.choose_cheapest(losses, selection.NO_LIMITS).design == Design("padim", (4, 10), 192)


def test_smaller_input_counts_even_if_synthetic_defects_lose_nothing():
    losses = losses_of(trial(0.6), trial(0.62, size=112))
    assert list(losses.values()) == pytest.approx([0, 0.02])


def test_limits_below_any_near_design_give_the_most_accurate_within_them():
    far, farther = trial(0.70, size=96), trial(0.50, (4, 8), 96)
    losses = losses_of(trial(0.9), trial(0.86, size=160), far, farther)
    assert default_build.choose_cheapest(losses, CostLimits(cost=far.cost)) == far
    assert default_build.choose_cheapest(losses, CostLimits(cost=1.0)) == farther  # none: the nearest miss


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 1), st.sampled_from([96, 128, 160, 192])), min_size=1, max_size=8),
    st.floats(0.5, 1),
)
def test_choice_never_costs_more_than_the_default_nor_loses_more_than_allowed(others, auroc):
    trials = {each.design: each for each in (trial(auroc), *(trial(value, size=size) for value, size in others))}
    losses = losses_of(*trials.values())
    chosen = default_build.choose_cheapest(losses, selection.NO_LIMITS)
    assert chosen.cost <= trials[DEFAULT].cost
    assert losses[chosen] <= default_build.MAX_LOSS


@pytest.mark.slow
def test_report_holds_the_search_against_the_build_without_it(anomaly_images, build_bundle, tmp_path, monkeypatch):
    """The default design of the search is the very model that a build without a search makes.

    No int8 model loses too much here, so none is built again with a better quantization.
    """
    monkeypatch.setattr(design, "RANK_CHOICES", (None, 16))
    monkeypatch.setattr(finalists, "CHANNEL_FRACTIONS", ())
    monkeypatch.setattr(finalists, "MAX_AUROC_DROP", 1.0)
    messages: list[str] = []
    goal = write_goal_for(
        anomaly_images,
        tmp_path,
        ("[model]", '[model]\ndetector = "padim"'),
        ("min_auroc = 0.9", "min_auroc = 0.9\nmax_drop = 0.5"),
    )
    plain = build_bundle(goal, tmp_path / "plain").manifest.measured
    searched = build_bundle(goal, tmp_path / "searched", search_seconds=600.0, log=messages.append).manifest.measured
    plain, searched = (msgspec.json.decode(msgspec.json.encode(each)) for each in (plain, searched))
    default, accurate = searched["default_build"], searched["most_accurate"]
    for key in ("detector", "blocks", "input", "rank", "kept", "auroc_fp32", "auroc_int8_onnx"):
        assert default[key] == plain[key], key
    assert default["auroc_interval_int8_onnx"] == plain["auroc_interval_int8_onnx"]
    assert searched["auroc_int8_onnx"] - default["auroc_int8_onnx"] == pytest.approx(default["auroc_difference"])
    low, high = default["auroc_difference_interval"]
    assert low <= default["auroc_difference"] <= high
    tried = [msgspec.convert(each, Trial) for each in searched["trials"]]
    assert msgspec.convert(accurate["blocks"], tuple[int, ...]) == max(tried, key=selection.utility).design.blocks
    assert any(each.design.blocks == tuple(default["blocks"]) for each in tried)
    report = json.loads((tmp_path / "searched" / "weave.json").read_text())
    assert report["default_build"] == default
    assert "The search and the build without it" in (tmp_path / "searched" / "weave.html").read_text()
    assert "default_build" not in plain
    assert not any("building it again" in message for message in messages)
    assert report["steps"] == []
    assert len(report["finals"]) == len({json.dumps(finalist["design"]) for finalist in report["finals"]})
