"""A classifier is fitted: head first, then the late half of the backbone by a short schedule.

trunk    early blocks, which see edges and textures that all images share; frozen, so run once for each view of an image
views    each image as it is, and varied (augment.py)
head     a linear layer on frozen, pooled features: seconds, and from then on nothing it says tears the backbone apart
         (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", 2022)
tail     late blocks and head together: AdamW, one cycle of warming up and cosine, label smoothing; batch normalisation
         keeps the statistics that it came with, for batches of a few images know no better
check    groups of the fit images that only judge: where they are surely worse off (by more than a standard error) than
         with the head alone, the tail stays as it was. To choose the best epoch by so few would be to choose by chance

While it learns, a rare class weighs as much as a common one (the inverse of its frequency). Afterwards the frequencies
of the fit images are given back, so that a probability is one among parts as they come (Menon et al., "Long-tail
Learning via Logit Adjustment", 2021, the other way round). On solar cells, two of three being good, this took the
accuracy of the head alone from 0.797 to 0.829, and the balanced one from 0.783 to 0.786.

On one core of a server, at 224 pixels, the
trunk took 10 ms for each image and view, and a step of the tail 40 ms for each image and epoch: minutes for a thousand
images. The price of running the trunk only once per view is that an epoch draws from VIEWS views of an image and not
from all there could be.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vedette.runtime.bundle.manifest import Input
from vedette.runtime.evaluation.verify import Track

from ..data import split
from ..data.augmentation import Augment, vary
from ..data.stratified_split import Labelled, deal
from ..graph.torch_export import INPUT, network
from ..models import efficientnet_lite
from ..models.classifier_head import Classifier

CUT = 5  # blocks of the trunk: up to 8 pixels of the input per cell
VIEWS = 4  # of each image, the first as it is
CHECK = 0.15  # of the fit images
BATCH = 32
RATE = 1e-4  # of learning, in the backbone
HEAD_RATE = 1e-3
DECAY = 0.02
SMOOTHING = 0.05
WARM_UP = 0.15  # of the schedule
PENALTY = 1e-2  # on the head's weights while it learns alone


class Views(NamedTuple):
    """What the trunk makes of some images."""

    features: list[Tensor]
    """Per view N x C x H x W, half precision."""
    truth: Tensor
    """The class of each, N."""


def tune(
    classifier: Classifier, images: Labelled, spec: Input, how: Augment, epochs: int, seed: int, track: Track
) -> None:
    """Fits `classifier` to the images' part `fit`; the same seed on the same machine gives the same classifier.

    Args:
        classifier: on a backbone that has its ImageNet weights and taps no block of the trunk
        images: what to learn from
        spec: how an image enters the model
        how: how far a picture may be varied
        epochs: of fine-tuning; 0: only the head learns
        seed: decides what is varied and shuffled, and which groups check
        track: wraps long loops
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    fit = {path: images.truth[path] for path in images.fit}
    parts = deal(fit, images.groups, {"learn": 1 - CHECK, "check": CHECK}, seed)
    trunk = _Trunk(spec)
    learn, check = (
        Views(
            list(_views(trunk, parts[part], spec, how, number, rng, track)),
            torch.tensor(images.labels(parts[part]), dtype=torch.long),
        )
        for part, number in (("learn", VIEWS), ("check", 1))
    )
    counts = torch.bincount(learn.truth, minlength=len(images.classes))
    weights = counts.sum() / (len(counts) * counts)
    classifier.learn(_late(classifier, batch) for batch in torch.split(learn.features[0], BATCH))
    _fit_head(classifier, learn, weights)
    if epochs and len(check.truth) > 1:
        _fit_tail(classifier, learn, check, weights, epochs, track)
    classifier.expect(1 / weights)


class _Trunk:
    """The early blocks, run by ONNX Runtime: on a processor four times as fast as PyTorch."""

    def __init__(self, spec: Input) -> None:
        model = network(efficientnet_lite.load((CUT - 1,)), spec.width, ("features",))
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.spec = spec

    def __call__(self, image: NDArray[Any]) -> Tensor:
        pixels = (image.transpose(0, 3, 1, 2).astype(np.float32) - self.spec.mean) / self.spec.std
        return torch.from_numpy(self.session.run(None, {INPUT: pixels})[0]).half()


def _views(
    trunk: _Trunk, paths: list[Path], spec: Input, how: Augment, number: int, rng: np.random.Generator, track: Track
) -> Iterator[Tensor]:
    """Each view of all images, the first as they are."""
    for view in range(number):
        images = split.tensors(track(paths, f"view {view + 1} of {number}"), spec)
        yield torch.cat([trunk(vary(image[0], how, rng)[np.newaxis] if view else image) for image in images])


def _fit_head(classifier: Classifier, learn: Views, weights: Tensor) -> None:
    """Logistic regression on the pooled features of all views, to its minimum."""
    pooled = classifier.standardise(torch.cat([_pooled(classifier, view) for view in learn.features]))
    truth = learn.truth.repeat(len(learn.features))
    parameters = list(classifier.head.parameters())
    optimiser: torch.optim.Optimizer = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        scores = classifier.head(pooled).flatten(1)
        size = sum((each**2).sum() for each in parameters if each.ndim > 1)
        value = functional.cross_entropy(scores, truth, weight=weights) + PENALTY * size
        torch.autograd.backward(value)
        return float(value.detach())

    optimiser.step(loss)


def _fit_tail(classifier: Classifier, learn: Views, check: Views, weights: Tensor, epochs: int, track: Track) -> None:
    """Late blocks and head together; undone where the check images are surely worse off."""
    classifier.backbone.requires_grad_(False)
    convolutions = [each for each in classifier.backbone.blocks[CUT:].modules() if isinstance(each, nn.Conv2d)]
    groups = [
        {"params": [each.weight.requires_grad_() for each in convolutions], "lr": RATE},
        {"params": list(classifier.head.parameters()), "lr": HEAD_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=DECAY)
    batches = -(-len(learn.truth) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [RATE, HEAD_RATE], total_steps=epochs * batches, pct_start=WARM_UP
    )
    before, head_alone = _surprise(classifier, check, weights), copy.deepcopy(classifier.state_dict())
    for _ in track(range(epochs), "fine-tuning"):
        order = torch.randperm(len(learn.truth))
        for batch in torch.split(order, BATCH):
            views = torch.randint(len(learn.features), (len(batch),))
            images = torch.stack([learn.features[view][image] for view, image in zip(views, batch, strict=True)])
            (scores,) = classifier(_late(classifier, images))
            loss = functional.cross_entropy(
                scores.flatten(1), learn.truth[batch], weight=weights, label_smoothing=SMOOTHING
            )
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    worse = _surprise(classifier, check, weights) - before
    if worse.mean() > worse.std() / len(worse) ** 0.5:
        classifier.load_state_dict(head_alone)


@torch.no_grad()
def _pooled(classifier: Classifier, features: Tensor) -> Tensor:
    """What the trunk makes of images -> N x width x 1 x 1."""
    return torch.cat([classifier.pool(_late(classifier, batch)) for batch in torch.split(features, BATCH)])


@torch.no_grad()
def _surprise(classifier: Classifier, images: Views, weights: Tensor) -> Tensor:
    """The loss of each image as it is, each class weighing alike: N."""
    scores = classifier.head(_pooled(classifier, images.features[0])).flatten(1)
    return functional.cross_entropy(scores, images.truth, weight=weights, reduction="none")


def _late(classifier: Classifier, features: Tensor) -> list[Tensor]:
    """The tapped features. In this layout in memory, depthwise convolutions take half the time."""
    return classifier.backbone.onward(features.float().contiguous(memory_format=torch.channels_last), CUT)
