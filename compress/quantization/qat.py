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
from vedette.runtime.progress import Progress, no_progress

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
    progress: Progress = no_progress
    """Wraps the steps and shows the progress."""


DEFAULT_RUN = TrainingRun()


def mse_objective(output_tensors: Sequence[str], inner_tensors: Sequence[str]) -> DistillationObjective:
    """Returns the objective with the mean square error of output tensors and inner tensors."""
    weights = torch.tensor(
        [1 / len(output_tensors)] * len(output_tensors) + [1 / max(len(inner_tensors), 1)] * len(inner_tensors)
    )

    def loss(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        errors = [((a - b) ** 2).mean() / (b**2).mean().clamp(min=1e-9) for a, b in zip(outputs, targets, strict=True)]
        return (torch.stack(errors) * weights).sum()

    return DistillationObjective(
        "near", [*output_tensors, *inner_tensors], loss, lambda image, rng: augment_image(image, AUGMENTATION, rng)
    )


def train_quantized_network(
    float_network: OnnxModule,
    simulation: IntegerSimulation,
    objective: DistillationObjective,
    images: Sequence[NDArray[Any]],
    spec: ModelInput,
    steps: int,
    learning_rate: float,
    seed: int,
    run: TrainingRun = DEFAULT_RUN,
) -> None:
    """Trains the weights and biases of `simulation` in place.

    Args:
        float_network: float network, the teacher
        simulation: integer simulation of the same network, the student; changed in place
        objective: compared tensors, loss and augmentation
        images: training images, 1 x H x W x 3, u8
        spec: model input; defines the normalization of a pixel
        steps: maximum number of steps
        learning_rate: learning rate of Adam at the first step
        seed: seed of the image order and the augmentation
        run: checkpoint folder, time limit and progress display
    """
    held_out_count = max(len(images) // 10, min(4, len(images) // 2))
    held_out, training = images[:held_out_count], images[held_out_count:]
    held_out_inputs, tensors = normalize_images(held_out, spec), objective.tensors
    with torch.no_grad():
        held_out_targets = float_network(held_out_inputs, tensors)

    def held_out_loss() -> float:
        with torch.no_grad():
            return float(objective.loss(simulation(held_out_inputs, tensors), held_out_targets))

    trained = list(simulation.parameters())
    optimizer = torch.optim.Adam(trained, lr=learning_rate)
    checkpoint = _Checkpoint(
        run.checkpoint_folder, _checkpoint_digest(images, objective, simulation, trained, (steps, learning_rate, seed))
    )
    first_step, best_loss, best_values, checks_without_gain = checkpoint.read(trained, optimizer)
    if first_step == 0:
        best_loss, best_values = held_out_loss(), [parameter.detach().clone() for parameter in trained]
    for step in run.progress(range(first_step, steps), "training"):
        if checks_without_gain >= PATIENCE or time.monotonic() > run.deadline:
            break
        rng = np.random.default_rng((seed, step))
        indices = rng.permutation(len(training))[: scale_batch_to_pixels(BATCH_SIZE, spec)]
        inputs = normalize_images([objective.augment(training[index][0], rng)[None] for index in indices], spec)
        with torch.no_grad():
            targets = float_network(inputs, tensors)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss = objective.loss(simulation(inputs, tensors), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation
        optimizer.step()
        if (step + 1) % CHECK_INTERVAL == 0 or step + 1 == steps:
            check_loss = held_out_loss()
            checks_without_gain = 0 if check_loss < best_loss else checks_without_gain + 1
            if check_loss < best_loss:
                best_loss, best_values = check_loss, [parameter.detach().clone() for parameter in trained]
            checkpoint.write(trained, optimizer, step + 1, best_loss, best_values, checks_without_gain)
    with torch.no_grad():
        for parameter, value in zip(trained, best_values, strict=True):
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

    def read(self, trained: Sequence[Tensor], optimizer: torch.optim.Adam) -> tuple[int, float, list[Tensor], int]:
        if self.path is None or not self.path.exists():
            return 0, math.inf, [], 0
        stored = torch.load(self.path, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(trained, stored["learnt"], strict=True):
                parameter.copy_(value)
        optimizer.load_state_dict(stored["adam"])
        return stored["step"], stored["best"], stored["kept"], stored["since"]

    def write(
        self,
        trained: Sequence[Tensor],
        optimizer: torch.optim.Adam,
        step: int,
        best_loss: float,
        best_values: list[Tensor],
        checks_without_gain: int,
    ) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "learnt": [parameter.detach() for parameter in trained],
            "adam": optimizer.state_dict(),
            "kept": best_values,
        }
        partial = self.path.with_suffix(".half")
        torch.save(state | {"step": step, "best": best_loss, "since": checks_without_gain}, partial)
        os.replace(partial, self.path)


def _checkpoint_digest(
    images: Sequence[NDArray[Any]],
    objective: DistillationObjective,
    simulation: IntegerSimulation,
    parameters: Sequence[Tensor],
    settings: tuple[float, ...],
) -> str:
    """Returns a digest of everything that the result depends on, including the ranges."""
    quantization = {
        name: (float(tensor.scale), float(tensor.zero_point))
        for name, tensor in sorted(simulation.activation_parameters.items())
    }
    digest = hashlib.sha256(repr((objective.name, objective.tensors, settings, quantization)).encode())
    for array in (*images, *(parameter.detach().numpy() for parameter in parameters)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
