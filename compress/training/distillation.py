"""Distillation: a network that has lost channels learns to see what its teacher sees.

Teacher and student look at the product's own pictures, varied a little, without labels; the student learns to give the
teacher's features (Romero et al., "FitNets: Hints for Thin Deep Nets", 2015), each channel in units of how much it
varies, for a detector measures in those units too. Adam, its rate falling as a cosine; batch normalisation keeps its
statistics. It stops early where pictures that it does not learn from no longer gain, and keeps the best that they have
seen. Every CHECK steps what is known is written to `checkpoint`, and a distillation that was killed goes on from there.

On solar cells at 96 pixels, blocks 4 and 7, seed 0, float: AUROC 0.933; with half of the channels at once 0.914, after
150 steps 0.926 (rate 2e-4), 0.922 (6e-4) or 0.921 (2e-3); with three quarters 0.933 as pruned. docs/techniques.md has
what rounds of pruning give.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.evaluation.verify import Track

from ..data.augmentation import Augment, vary
from ..models.efficientnet_lite import Backbone
from ..models.feature_extraction import pixels

BATCH = 16
CHECK = 25  # steps between looks at the held-out pictures
PATIENCE = 4  # such looks without a gain
HELD_OUT = 0.15  # of the pictures
FLOOR = 1e-3
VARIATION = Augment()


class Distil(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the technique."""

    steps: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 300
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 2e-4
    """Of learning, at the beginning."""

    def __call__(
        self,
        student: Backbone,
        teacher: Backbone,
        images: list[NDArray[Any]],
        seed: int = 0,
        checkpoint: Path | None = None,
        track: Track = lambda items, _: items,
    ) -> Backbone:
        """The student, taught; the same seed gives the same.

        Args:
            student: changed in place
            teacher: of the same taps
            images: of the product, 1 x H x W x 3, u8
            seed: decides what is held out, shown and varied
            checkpoint: file to go on from and to write to, replaced at once or not at all
            track: wraps the loop over the steps
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(images))
        held = max(1, math.ceil(HELD_OUT * len(images)))
        check, learn = [images[i] for i in order[:held]], [images[i] for i in order[held:]] or images
        teacher.eval()
        student.eval().requires_grad_(True)
        optimiser = torch.optim.Adam(student.parameters(), self.rate)
        with torch.no_grad():
            truth = teacher(pixels(check))
            spread = [each.std(dim=(0, 2, 3), keepdim=True).clamp(min=FLOOR) for each in teacher(pixels(learn[:64]))]
        state: dict[str, Any] = {"step": 0, "best": float("inf"), "since": 0, "kept": None}
        if checkpoint is not None and checkpoint.exists():
            stored = torch.load(checkpoint, weights_only=True)
            student.load_state_dict(stored["student"])
            optimiser.load_state_dict(stored["optimiser"])
            state = stored["state"]

        for step in track(range(state["step"], self.steps), "distilling"):
            if step % CHECK == 0 and _judged(student, check, truth, spread, state):
                break
            if step % CHECK == 0 and checkpoint is not None:
                state["step"] = step
                _write(
                    checkpoint, {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "state": state}
                )
            for group in optimiser.param_groups:
                group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            draw = np.random.default_rng([seed, step])
            batch = pixels([vary(learn[i][0], VARIATION, draw)[None] for i in draw.integers(len(learn), size=BATCH)])
            with torch.no_grad():
                wanted = teacher(batch)
            optimiser.zero_grad()
            torch.autograd.backward(_loss(student(batch), wanted, spread))
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
        _judged(student, check, truth, spread, state)
        student.load_state_dict(state["kept"])
        return student.requires_grad_(False)


def _judged(
    student: Backbone, check: list[NDArray[Any]], truth: list[Tensor], spread: list[Tensor], state: dict[str, Any]
) -> bool:
    """Looks at the held-out pictures and keeps the best; whether nothing has been gained for long."""
    with torch.no_grad():
        loss = float(_loss(student(pixels(check)), truth, spread))
    if loss < state["best"]:
        state |= {"best": loss, "since": 0, "kept": copy.deepcopy(student.state_dict())}
    else:
        state["since"] += 1
    return bool(state["since"] >= PATIENCE)


def _loss(seen: list[Tensor], wanted: list[Tensor], spread: list[Tensor]) -> Tensor:
    """Mean over the levels of the mean squared difference, in units of the spread of each channel."""
    parts = [(((a - b) / unit) ** 2).mean() for a, b, unit in zip(seen, wanted, spread, strict=True)]
    return torch.stack(parts).mean()


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
