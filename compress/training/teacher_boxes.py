"""What a detector found in a picture, as a lesson for another one with a smaller input; no labels are needed.

The two have grids of different sizes, and an object that is smaller in pixels may belong to a finer level. So the
teacher's numbers are not compared cell by cell. Its boxes, after the suppression of overlapping ones, are the targets,
each with the probabilities of all classes and with its objectness. A box belongs to those cells of the student that
answer it best already, as in detection_loss.py. The best of them learns the teacher's probabilities, and the others
keep their share of its score: a student that sees what its teacher sees learns nothing. Cells without a box learn to
be silent, weighted by the square of their score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .box_outputs import BoxOutputs
from .detection_loss import choose_cells, measure_alignment, overlap

MIN_SCORE = 0.03  # of a box that teaches
_BOX_WEIGHT = 2.0


class TeacherBoxes(NamedTuple):
    """M boxes that a teacher found in one picture."""

    edges: Tensor
    """M x 4: left, top, right, bottom, as fractions of the input."""
    labels: Tensor
    """M: the likeliest class."""
    scores: Tensor
    """M."""
    classes: Tensor
    """M x K probabilities."""
    objectness: Tensor | None
    """M probabilities; None: the detector has none."""


@torch.no_grad()
def find_teacher_boxes(found: BoxOutputs, iou: float) -> TeacherBoxes:
    """The boxes of one picture; of boxes of one class that overlap by more than `iou`, the best one stays."""
    scores, labels = found.scores[0].max(dim=1)
    order = scores.argsort(descending=True)
    order = order[scores[order] > MIN_SCORE]
    overlaps = overlap(found.edges[0][order][:, None], found.edges[0][order][None]) > iou
    rivals = overlaps & (labels[order][:, None] == labels[order][None])
    left = torch.ones(len(order), dtype=torch.bool)
    for row in range(len(order)):
        if left[row]:
            left[row + 1 :] &= ~rivals[row, row + 1 :]
    kept = order[left]
    logits = found.classes[0][kept]
    return TeacherBoxes(
        found.edges[0][kept],
        labels[kept],
        scores[kept],
        logits.softmax(dim=1) if found.softmax else logits.sigmoid(),
        None if found.objectness is None else found.objectness[0][kept].sigmoid(),
    )


def teacher_loss(found: BoxOutputs, lessons: Sequence[TeacherBoxes]) -> Tensor:
    """The loss of a batch, divided by the sum of the teacher's scores, which stands for the number of objects."""
    total, weight = torch.zeros(()), 0.0
    for image, lesson in enumerate(lessons):
        silent = torch.ones(found.edges.shape[1], dtype=torch.bool)
        if len(lesson.edges):
            cells, boxes, shares = _assign(found, image, lesson)
            silent[cells] = False
            errors = 1 - overlap(found.edges[image, cells], lesson.edges[boxes], generalized=True)
            total = total + _BOX_WEIGHT * (errors * shares * lesson.scores[boxes]).sum()
            total = total + _score_loss(found, image, lesson, cells, boxes, shares)
            weight += float(lesson.scores.sum())
        total = total + _silence_loss(found, image, silent)
    return total / max(weight, 1.0)


@torch.no_grad()
def _assign(found: BoxOutputs, image: int, lesson: TeacherBoxes) -> tuple[Tensor, Tensor, Tensor]:
    """Cells, the box of each, and its score as a share of the best cell's, n each."""
    scores = found.scores[image][:, lesson.labels].T.clamp(min=1e-9)  # each box has a cell, however blind the student
    alignment, _ = measure_alignment(found, image, lesson.edges, scores)
    chosen = choose_cells(alignment)
    cells = torch.nonzero(chosen.any(dim=0))[:, 0]
    contested = torch.where(chosen, alignment * lesson.scores[:, None], torch.full_like(alignment, -1.0))
    boxes = contested[:, cells].argmax(dim=0)
    best = torch.where(chosen, scores, torch.zeros_like(scores)).amax(dim=1)
    return cells, boxes, (scores[boxes, cells] / best[boxes].clamp(min=1e-9)).clamp(max=1.0)


def _score_loss(
    found: BoxOutputs, image: int, lesson: TeacherBoxes, cells: Tensor, boxes: Tensor, shares: Tensor
) -> Tensor:
    logits = found.classes[image, cells]
    if found.objectness is None or lesson.objectness is None:
        return _binary_divergence(logits, lesson.classes[boxes] * shares[:, None]).sum()
    target = lesson.objectness[boxes] * shares
    objectness = _binary_divergence(found.objectness[image, cells], target).sum()
    if found.softmax:
        divergence = functional.kl_div(logits.log_softmax(dim=1), lesson.classes[boxes], reduction="none")
    else:
        divergence = _binary_divergence(logits, lesson.classes[boxes])
    return objectness + (divergence.sum(dim=1) * target).sum()


def _silence_loss(found: BoxOutputs, image: int, silent: Tensor) -> Tensor:
    if found.objectness is None:
        logits = found.classes[image, silent]
        return (functional.softplus(logits) * logits.sigmoid().detach() ** 2).sum()
    scores = found.scores[image, silent].detach().amax(dim=1)
    return (functional.softplus(found.objectness[image, silent]) * scores**2).sum()


def _binary_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of two Bernoulli distributions: of a logit from a probability."""
    entropy = functional.binary_cross_entropy(target, target, reduction="none")
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none") - entropy
