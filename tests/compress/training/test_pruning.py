"""Pruning and distillation: fewer channels inside, the same shapes outside, and a student that comes nearer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vedette.compress.cost import design_cost
from vedette.compress.goal.recipe import DistillationSettings, PruningSettings
from vedette.compress.models import efficientnet_lite
from vedette.compress.models import feature_extraction as features
from vedette.compress.models.efficientnet_lite import Backbone, pruned_width
from vedette.compress.training.distillation import CHECK_INTERVAL, distill
from vedette.compress.training.pruning import kept_shares, prune

SIZE, BLOCKS = 64, (2, 4)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    ramps = np.linspace(0, 200, SIZE)[None, :, None] * rng.random((24, 1, 1, 3))
    noise = rng.normal(0, 8, (24, SIZE, SIZE, 3))
    return [np.clip(ramp + each, 0, 255).astype(np.uint8)[None] for ramp, each in zip(ramps, noise, strict=True)]


@pytest.fixture(scope="module")
def whole():
    return efficientnet_lite.load_backbone(BLOCKS)


def difference(one, other, images):
    """Mean squared difference of all features, in units of the other's variance."""
    with torch.inference_mode():
        pairs = list(
            zip(
                one(features.normalized_image_batch(images)),
                other(features.normalized_image_batch(images)),
                strict=True,
            )
        )
    return float(sum(((a - b) ** 2).mean() / b.var() for a, b in pairs)) / len(pairs)


@pytest.mark.parametrize("kept", [0.75, 0.5, 0.25])
def test_what_is_pruned_is_narrower_inside_and_the_same_outside(kept, whole, images):
    narrow = prune(PruningSettings(kept_share=kept), whole, images)
    for block, small in zip(whole.blocks, narrow.blocks, strict=True):
        assert small.project.conv.out_channels == block.project.conv.out_channels
        width = block.depthwise.conv.out_channels
        expected = width if isinstance(block.expand, torch.nn.Identity) else pruned_width(width, kept)
        assert small.depthwise.conv.out_channels == expected
        assert expected % 8 == 0
    with torch.inference_mode():
        shapes = [
            [each.shape for each in network(features.normalized_image_batch(images[:2]))] for network in (whole, narrow)
        ]
    assert shapes[0] == shapes[1]


def test_what_matters_least_goes_first(whole, images):
    losses = [
        difference(prune(PruningSettings(kept_share=kept), whole, images), whole, images)
        for kept in (0.9, 0.75, 0.5, 0.25)
    ]
    assert losses == sorted(losses)
    by_chance = Backbone(BLOCKS, 0.5).eval()
    for block, small in zip(whole.blocks, by_chance.blocks, strict=True):
        width = small.depthwise.conv.out_channels
        state = block.state_dict()
        for name, value in state.items():
            if name.startswith(("expand.", "depthwise.")) and value.ndim:
                state[name] = value[:width]
        state["project.conv.weight"] = block.project.conv.weight[:, :width]
        small.load_state_dict(state)
    by_chance.stem.load_state_dict(whole.stem.state_dict())
    assert losses[2] < 0.5 * difference(by_chance, whole, images)


def test_channels_that_never_change_cost_nothing(images):
    """What stands still at its mean is kept in the bias: to leave it out changes nothing."""
    network = efficientnet_lite.load_backbone((1,))
    block = network.blocks[1]
    with torch.no_grad():
        still = torch.arange(0, 96, 2)
        block.depthwise.conv.weight[still] = 0.0
        block.depthwise.norm.bias[still] = 1.5
    narrow = prune(PruningSettings(kept_share=0.5), network, images)
    assert difference(narrow, network, images) < 1e-8


def test_a_student_comes_nearer_to_its_teacher(whole, images):
    student = prune(PruningSettings(kept_share=0.5), whole, images)
    before = difference(student, whole, images)
    distill(DistillationSettings(steps=60), student, whole, images)
    assert difference(student, whole, images) < 0.8 * before
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_a_distillation_that_was_killed_goes_on_as_if_nothing_had_been(whole, images, tmp_path):
    steps = 2 * CHECK_INTERVAL
    alone = distill(
        DistillationSettings(steps=steps), prune(PruningSettings(kept_share=0.5), whole, images), whole, images
    )

    class Killed(Exception):
        pass

    def killer(items, _label):
        for number, item in enumerate(items):
            if number > CHECK_INTERVAL + 3:
                raise Killed
            yield item

    path = tmp_path / "work" / "student.pt"
    with pytest.raises(Killed):
        distill(
            DistillationSettings(steps=steps),
            prune(PruningSettings(kept_share=0.5), whole, images),
            whole,
            images,
            0,
            path,
            killer,
        )
    assert [each.name for each in path.parent.iterdir()] == ["student.pt"]
    resumed = distill(
        DistillationSettings(steps=steps), prune(PruningSettings(kept_share=0.5), whole, images), whole, images, 0, path
    )
    for one, other in zip(alone.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_half_of_the_channels_is_nearly_half_of_the_work():
    class Plain(torch.nn.Module):
        def __init__(self, kept):
            super().__init__()
            self.backbone = Backbone(BLOCKS, kept)

        def forward(self, features):
            return features[-1]

    whole, half = (design_cost.estimate_cost(Plain(kept), SIZE).macs for kept in (1.0, 0.5))
    assert 0.5 < half / whole < 0.75


@pytest.mark.parametrize(
    ("kept", "rounds", "shares"), [(0.5, 1, [0.5]), (0.25, 2, [0.5, 0.25]), (0.5, 3, [0.794, 0.63, 0.5])]
)
def test_channels_go_in_rounds(kept, rounds, shares):
    assert kept_shares(PruningSettings(kept_share=kept, rounds=rounds)) == pytest.approx(shares, abs=0.001)


def test_what_was_pruned_is_pruned_further(whole, images):
    """In two rounds the network has the shape that it has in one, and what is measured next is what is left."""
    narrow = prune(PruningSettings(kept_share=0.5), prune(PruningSettings(kept_share=0.75), whole, images), images)
    at_once = prune(PruningSettings(kept_share=0.5), whole, images)
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (narrow, at_once)]
    assert shapes[0] == shapes[1]
    assert difference(narrow, whole, images) < 1.5 * difference(at_once, whole, images)
