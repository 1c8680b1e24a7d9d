"""The float network teaches its quantised self, on images that nobody labelled.

Quantisation-aware training (Jacob et al., 2018) by distillation (Hinton et al., "Distilling the Knowledge in a Neural
Network", 2015) of a network into its own simulation: what the integers make of an image shall be what the float
network makes of it, at the outputs and at the end of each residual block on the way. The weights move a little, and
settle where rounding does least harm. There is nothing to be learnt about the task, so a hundred steps go far.

What is compared, how, and how pictures are varied, a lesson says. The plain one (`near`) takes, per tensor, the mean
square of the difference in units of the float tensor's mean square; the outputs weigh as much as all blocks together,
and pictures are varied a little. Adam, its rate falling to none along half a cosine; BATCH images at a time, fewer
where they are larger than 224 x 224. Their order follows from the seed and the step. A tenth of them, four at least,
are kept apart: every CHECK steps the weights that do best on them are remembered, and after PATIENCE checks without a
better one it ends.

With a folder, its state is written there at each check, whole or not at all; started again with the same images and
settings, it goes on from it and ends as if it had never been interrupted.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.bundle.manifest import Input
from vedette.runtime.evaluation.verify import Track

from ..data.augmentation import Augment, vary
from ..graph.torch_module import Network
from .integer_simulation import Simulation

BATCH = 16
CHECK = 25  # steps
PATIENCE = 4  # checks
FREE = Augment(shift=0.05, rotate=5.0, light=0.1, blur=0.0, noise=0.0)


class Lesson(NamedTuple):
    """What is to be learnt."""

    name: str
    wanted: list[str]
    """Tensors that shall be alike."""
    loss: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
    """Of the quantised and of the float network's, how far they are apart."""
    view: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
    """A picture of H x W x 3, u8, varied."""


class Course(NamedTuple):
    """How it is gone through."""

    folder: Path | None = None
    """For the state; None: it is not kept."""
    end: float = math.inf
    """When it ends, done or not, by time.monotonic()."""
    track: Track = lambda steps, _: steps
    """Wraps the steps, to show how far it is."""


UNWATCHED = Course()


def near(ends: Sequence[str], way: Sequence[str]) -> Lesson:
    """That all numbers are alike, at the end and on the way there."""
    shares = torch.tensor([1 / len(ends)] * len(ends) + [1 / max(len(way), 1)] * len(way))

    def loss(made: Sequence[Tensor], goals: Sequence[Tensor]) -> Tensor:
        parts = [((a - b) ** 2).mean() / (b**2).mean().clamp(min=1e-9) for a, b in zip(made, goals, strict=True)]
        return (torch.stack(parts) * shares).sum()

    return Lesson("near", [*ends, *way], loss, lambda image, rng: vary(image, FREE, rng))


def teach(
    exact: Network,
    simulated: Simulation,
    lesson: Lesson,
    learners: Sequence[str],
    images: Sequence[NDArray[Any]],
    spec: Input,
    steps: int,
    rate: float,
    seed: int,
    course: Course = UNWATCHED,
) -> None:
    """Changes the weights and biases `learners` of `simulated`.

    Args:
        exact: the float network
        simulated: the same, quantised; it is changed
        lesson: what is to be learnt
        learners: names of weights and biases
        images: 1 x H x W x 3, u8
        spec: how a pixel becomes a real value
        steps: at most
        rate: of Adam, at the first step
        seed: of the order and the variations
        course: how it is gone through
    """
    spare = max(len(images) // 10, min(4, len(images) // 2))
    held, shown = images[:spare], images[spare:]
    judged, wanted = entered(held, spec), lesson.wanted
    with torch.no_grad():
        truth = exact(judged, wanted)

    def held_loss() -> float:
        with torch.no_grad():
            return float(lesson.loss(simulated(judged, wanted), truth))

    learnt = [simulated.parameter(name) for name in learners]
    for parameter in simulated.parameters():
        parameter.requires_grad_(any(parameter is each for each in learnt))
    adam = torch.optim.Adam(learnt, lr=rate)
    state = _State(course.folder, _digest(images, lesson, simulated, learnt, (steps, rate, seed)))
    done, best, kept, since = state.read(learnt, adam)
    if done == 0:
        best, kept = held_loss(), [each.detach().clone() for each in learnt]
    for step in course.track(range(done, steps), "training"):
        if since >= PATIENCE or time.monotonic() > course.end:
            break
        rng = np.random.default_rng((seed, step))
        numbers = rng.permutation(len(shown))[: fitting(BATCH, spec)]
        inputs = entered([lesson.view(shown[number][0], rng)[None] for number in numbers], spec)
        with torch.no_grad():
            goals = exact(inputs, wanted)
        for group in adam.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        adam.zero_grad()
        lesson.loss(simulated(inputs, wanted), goals).backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        adam.step()
        if (step + 1) % CHECK == 0 or step + 1 == steps:
            reached = held_loss()
            since = 0 if reached < best else since + 1
            if reached < best:
                best, kept = reached, [each.detach().clone() for each in learnt]
            state.write(learnt, adam, step + 1, best, kept, since)
    with torch.no_grad():
        for parameter, value in zip(learnt, kept, strict=True):
            parameter.copy_(value)


def entered(images: Sequence[NDArray[Any]], spec: Input) -> Tensor:
    """Images of 1 x H x W x 3, u8, as the network's input."""
    pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float()
    return (pixels - spec.mean) / spec.std


def fitting(count: int, spec: Input) -> int:
    """How many images may go through at once where `count` of 224 x 224 may: as many pixels."""
    return max(1, min(count, count * 224 * 224 // (spec.width * spec.height)))


def blocks(model: onnx.ModelProto) -> list[str]:
    """The tensors at the ends of residual blocks."""
    constants = {value.name for value in model.graph.initializer}
    return [node.output[0] for node in model.graph.node if node.op_type == "Add" and not constants & set(node.input)]


class _State:
    """What is needed to go on, in one file of the folder."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self.path = None if folder is None else folder / f"teaching-{digest}.pt"

    def read(self, learnt: Sequence[Tensor], adam: torch.optim.Adam) -> tuple[int, float, list[Tensor], int]:
        if self.path is None or not self.path.exists():
            return 0, math.inf, [], 0
        found = torch.load(self.path, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(learnt, found["learnt"], strict=True):
                parameter.copy_(value)
        adam.load_state_dict(found["adam"])
        return found["step"], found["best"], found["kept"], found["since"]

    def write(
        self, learnt: Sequence[Tensor], adam: torch.optim.Adam, step: int, best: float, kept: list[Tensor], since: int
    ) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = {"learnt": [each.detach() for each in learnt], "adam": adam.state_dict(), "kept": kept}
        half = self.path.with_suffix(".half")
        torch.save(written | {"step": step, "best": best, "since": since}, half)
        os.replace(half, self.path)


def _digest(
    images: Sequence[NDArray[Any]],
    lesson: Lesson,
    simulated: Simulation,
    learnt: Sequence[Tensor],
    settings: tuple[float, ...],
) -> str:
    """Of all that the result depends on, the ranges too."""
    grids = {name: (float(grid.scale), float(grid.zero_point)) for name, grid in sorted(simulated.grids.items())}
    found = hashlib.sha256(repr((lesson.name, lesson.wanted, settings, grids)).encode())
    for array in (*images, *(each.detach().numpy() for each in learnt)):
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]
