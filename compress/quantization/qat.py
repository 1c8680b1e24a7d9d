"""Quantization-aware training (QAT) by distillation: the float network teaches its integer simulation, without labels.

QAT (Jacob et al., 2018) is combined with distillation (Hinton et al., "Distilling the Knowledge in a Neural Network",
2015). The teacher is the float network and the student is its integer simulation. The student learns to reproduce the
teacher's tensors at the outputs and at the end of each residual block. The weights move a little, to values where
rounding does least harm. The network already knows the task, so a hundred steps have a large effect.

A `DistillationObjective` defines the compared tensors, the loss and the augmentation. The default objective (`near`)
takes, per tensor, the mean square of the difference divided by the mean square of the float tensor. The outputs
together weigh as much as all residual blocks together. Images are augmented slightly. The optimizer is Adam with a
learning rate that falls to zero along half a cosine. A batch has BATCH_SIZE images, fewer if they are larger than 224 x
224. The order of the images depends on the seed and the step. A tenth of the images, at least four, are held out. The
held-out loss is checked every CHECK_INTERVAL steps, and the best weights are kept. Training stops after PATIENCE checks
without improvement.

With a checkpoint folder, each check writes the training state there atomically. A later run with the same images and
settings resumes from it and gives the result of an uninterrupted run.
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

from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.progress import Progress

from ..data.augmentation import augment_image
from ..goal.augmentation_settings import AugmentationSettings
from ..graph.torch_module import OnnxModule
from .integer_simulation import IntegerSimulation

BATCH_SIZE = 16
CHECK_INTERVAL = 25  # steps
PATIENCE = 4  # checks
AUGMENTATION = AugmentationSettings(shift=0.05, rotate=5.0, light=0.1, blur=0.0, noise=0.0)


class DistillationObjective(NamedTuple):
    """Training objective: compared tensors, loss and augmentation."""

    name: str
    tensors: list[str]
    """Names of the compared tensors."""
    loss: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
    """Returns the distillation loss, from the tensors of the quantized and of the float network."""
    augment: Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
    """Returns an augmented copy of an image, H x W x 3, u8."""


class TrainingRun(NamedTuple):
    """Checkpoint folder, time limit and progress display of a training run."""

    checkpoint_folder: Path | None = None
    """Folder of the training state; None: no state is written."""
    deadline: float = math.inf
    """Time at which training stops, on the clock of time.monotonic()."""
    progress: Progress = lambda steps, _: steps
    """Wraps the steps and shows the progress."""


DEFAULT_RUN = TrainingRun()


def mse_objective(output_tensors: Sequence[str], inner_tensors: Sequence[str]) -> DistillationObjective:
    """Returns the objective with the mean square error of output tensors and inner tensors."""
    shares = torch.tensor(
        [1 / len(output_tensors)] * len(output_tensors) + [1 / max(len(inner_tensors), 1)] * len(inner_tensors)
    )

    def loss(made: Sequence[Tensor], goals: Sequence[Tensor]) -> Tensor:
        parts = [((a - b) ** 2).mean() / (b**2).mean().clamp(min=1e-9) for a, b in zip(made, goals, strict=True)]
        return (torch.stack(parts) * shares).sum()

    return DistillationObjective(
        "near", [*output_tensors, *inner_tensors], loss, lambda image, rng: augment_image(image, AUGMENTATION, rng)
    )


def train_quantized_network(
    float_network: OnnxModule,
    simulation: IntegerSimulation,
    objective: DistillationObjective,
    parameter_names: Sequence[str],
    images: Sequence[NDArray[Any]],
    spec: ModelInput,
    steps: int,
    learning_rate: float,
    seed: int,
    run: TrainingRun = DEFAULT_RUN,
) -> None:
    """Trains the parameters `parameter_names` of `simulation` in place.

    Args:
        float_network: float network, the teacher
        simulation: integer simulation of the same network, the student; changed in place
        objective: compared tensors, loss and augmentation
        parameter_names: names of the trained weights and biases
        images: training images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        steps: maximum number of steps
        learning_rate: learning rate of Adam at the first step
        seed: seed of the image order and the augmentation
        run: checkpoint folder, time limit and progress display
    """
    spare = max(len(images) // 10, min(4, len(images) // 2))
    held, shown = images[:spare], images[spare:]
    judged, wanted = normalize_images(held, spec), objective.tensors
    with torch.no_grad():
        truth = float_network(judged, wanted)

    def held_loss() -> float:
        with torch.no_grad():
            return float(objective.loss(simulation(judged, wanted), truth))

    learnt = [simulation.get_parameter_by_name(name) for name in parameter_names]
    for parameter in simulation.parameters():
        parameter.requires_grad_(any(parameter is each for each in learnt))
    adam = torch.optim.Adam(learnt, lr=learning_rate)
    state = _Checkpoint(
        run.checkpoint_folder, _checkpoint_digest(images, objective, simulation, learnt, (steps, learning_rate, seed))
    )
    done, best, kept, since = state.read(learnt, adam)
    if done == 0:
        best, kept = held_loss(), [each.detach().clone() for each in learnt]
    for step in run.progress(range(done, steps), "training"):
        if since >= PATIENCE or time.monotonic() > run.deadline:
            break
        rng = np.random.default_rng((seed, step))
        numbers = rng.permutation(len(shown))[: scale_batch_to_pixels(BATCH_SIZE, spec)]
        inputs = normalize_images([objective.augment(shown[number][0], rng)[None] for number in numbers], spec)
        with torch.no_grad():
            goals = float_network(inputs, wanted)
        for group in adam.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        adam.zero_grad()
        objective.loss(simulation(inputs, wanted), goals).backward()  # type: ignore[no-untyped-call]  # torch has no annotation
        adam.step()
        if (step + 1) % CHECK_INTERVAL == 0 or step + 1 == steps:
            reached = held_loss()
            since = 0 if reached < best else since + 1
            if reached < best:
                best, kept = reached, [each.detach().clone() for each in learnt]
            state.write(learnt, adam, step + 1, best, kept, since)
    with torch.no_grad():
        for parameter, value in zip(learnt, kept, strict=True):
            parameter.copy_(value)


def normalize_images(images: Sequence[NDArray[Any]], spec: ModelInput) -> Tensor:
    """Converts images of 1 x H x W x 3, u8, to the normalized network input, N x 3 x H x W."""
    pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float()
    return (pixels - spec.mean) / spec.std


def scale_batch_to_pixels(count: int, spec: ModelInput) -> int:
    """Returns the batch size with as many pixels as `count` images of 224 x 224, between 1 and `count`."""
    return max(1, min(count, count * 224 * 224 // (spec.width * spec.height)))


def find_residual_outputs(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the output tensors of residual blocks."""
    constants = {value.name for value in model.graph.initializer}
    return [node.output[0] for node in model.graph.node if node.op_type == "Add" and not constants & set(node.input)]


class _Checkpoint:
    """Training state in one file of the checkpoint folder."""

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


def _checkpoint_digest(
    images: Sequence[NDArray[Any]],
    objective: DistillationObjective,
    simulation: IntegerSimulation,
    parameters: Sequence[Tensor],
    settings: tuple[float, ...],
) -> str:
    """Returns a digest of everything that the result depends on, including the ranges."""
    grids = {
        name: (float(grid.scale), float(grid.zero_point))
        for name, grid in sorted(simulation.activation_parameters.items())
    }
    found = hashlib.sha256(repr((objective.name, objective.tensors, settings, grids)).encode())
    for array in (*images, *(each.detach().numpy() for each in parameters)):
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]
