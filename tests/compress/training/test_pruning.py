"""Pruning and distillation: narrower blocks, unchanged output shapes, and a student that approaches its teacher."""

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
def unpruned():
    return efficientnet_lite.load_backbone(BLOCKS)


def difference(network, reference, images):
    """Mean squared difference of the features, relative to the variance of the reference; mean over the levels."""
    with torch.inference_mode():
        pairs = list(
            zip(
                network(features.normalized_image_batch(images)),
                reference(features.normalized_image_batch(images)),
                strict=True,
            )
        )
    return float(sum(((a - b) ** 2).mean() / b.var() for a, b in pairs)) / len(pairs)


@pytest.mark.parametrize("kept", [0.75, 0.5, 0.25])
def test_pruning_narrows_blocks_and_keeps_output_shapes(kept, unpruned, images):
    pruned = prune(PruningSettings(kept_share=kept), unpruned, images)
    for block, pruned_block in zip(unpruned.blocks, pruned.blocks, strict=True):
        assert pruned_block.project.conv.out_channels == block.project.conv.out_channels
        width = block.depthwise.conv.out_channels
        expected = width if isinstance(block.expand, torch.nn.Identity) else pruned_width(width, kept)
        assert pruned_block.depthwise.conv.out_channels == expected
        assert expected % 8 == 0
    with torch.inference_mode():
        shapes = [
            [each.shape for each in network(features.normalized_image_batch(images[:2]))]
            for network in (unpruned, pruned)
        ]
    assert shapes[0] == shapes[1]


def test_pruning_removes_least_important_channels_first(unpruned, images):
    differences = [
        difference(prune(PruningSettings(kept_share=kept), unpruned, images), unpruned, images)
        for kept in (0.9, 0.75, 0.5, 0.25)
    ]
    assert differences == sorted(differences)
    first_channels = Backbone(BLOCKS, 0.5).eval()
    for block, pruned_block in zip(unpruned.blocks, first_channels.blocks, strict=True):
        width = pruned_block.depthwise.conv.out_channels
        state = block.state_dict()
        for name, value in state.items():
            if name.startswith(("expand.", "depthwise.")) and value.ndim:
                state[name] = value[:width]
        state["project.conv.weight"] = block.project.conv.weight[:, :width]
        pruned_block.load_state_dict(state)
    first_channels.stem.load_state_dict(unpruned.stem.state_dict())
    assert differences[2] < 0.5 * difference(first_channels, unpruned, images)


def test_removing_constant_channels_keeps_outputs(images):
    """The constant output of a removed channel moves into the bias."""
    network = efficientnet_lite.load_backbone((1,))
    block = network.blocks[1]
    with torch.no_grad():
        constant_channels = torch.arange(0, 96, 2)
        block.depthwise.conv.weight[constant_channels] = 0.0
        block.depthwise.norm.bias[constant_channels] = 1.5
    pruned = prune(PruningSettings(kept_share=0.5), network, images)
    assert difference(pruned, network, images) < 1e-8


@pytest.mark.build
def test_distillation_reduces_difference_from_teacher(unpruned, images):
    student = prune(PruningSettings(kept_share=0.5), unpruned, images)
    before = difference(student, unpruned, images)
    distill(DistillationSettings(steps=60), student, unpruned, images)
    assert difference(student, unpruned, images) < 0.8 * before
    assert not any(parameter.requires_grad for parameter in student.parameters())


@pytest.mark.slow
def test_interrupted_distillation_resumes_to_same_weights(unpruned, images, tmp_path):
    steps = 2 * CHECK_INTERVAL
    uninterrupted = distill(
        DistillationSettings(steps=steps), prune(PruningSettings(kept_share=0.5), unpruned, images), unpruned, images
    )

    class Interrupted(Exception):
        pass

    def interrupt(items, _label):
        for number, item in enumerate(items):
            if number > CHECK_INTERVAL + 3:
                raise Interrupted
            yield item

    path = tmp_path / "work" / "student.pt"
    with pytest.raises(Interrupted):
        distill(
            DistillationSettings(steps=steps),
            prune(PruningSettings(kept_share=0.5), unpruned, images),
            unpruned,
            images,
            0,
            path,
            interrupt,
        )
    assert [each.name for each in path.parent.iterdir()] == ["student.pt"]
    resumed = distill(
        DistillationSettings(steps=steps),
        prune(PruningSettings(kept_share=0.5), unpruned, images),
        unpruned,
        images,
        0,
        path,
    )
    for expected, value in zip(uninterrupted.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, value)


def test_half_of_channels_need_nearly_half_of_macs():
    class BackboneOnly(torch.nn.Module):
        def __init__(self, kept):
            super().__init__()
            self.backbone = Backbone(BLOCKS, kept)

        def forward(self, features):
            return features[-1]

    all_channels, half_channels = (design_cost.estimate_cost(BackboneOnly(kept), SIZE).macs for kept in (1.0, 0.5))
    assert 0.5 < half_channels / all_channels < 0.75


@pytest.mark.parametrize(
    ("kept_share", "rounds", "shares"), [(0.5, 1, [0.5]), (0.25, 2, [0.5, 0.25]), (0.5, 3, [0.794, 0.63, 0.5])]
)
def test_kept_shares_shrink_geometrically(kept_share, rounds, shares):
    assert kept_shares(PruningSettings(kept_share=kept_share, rounds=rounds)) == pytest.approx(shares, abs=0.001)


def test_pruning_twice_gives_shape_of_pruning_once(unpruned, images):
    """Two rounds give the shape of one round, and a similar difference from the whole network."""
    pruned = prune(PruningSettings(kept_share=0.5), prune(PruningSettings(kept_share=0.75), unpruned, images), images)
    pruned_once = prune(PruningSettings(kept_share=0.5), unpruned, images)
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in (pruned, pruned_once)]
    assert shapes[0] == shapes[1]
    assert difference(pruned, unpruned, images) < 1.5 * difference(pruned_once, unpruned, images)
