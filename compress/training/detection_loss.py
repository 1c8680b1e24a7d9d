"""The training loss of an object detector with annotated boxes.

Each object is assigned to the cells that already answer it best (Feng et al., "TOOD: Task-aligned One-stage Object
Detection", 2021): those whose middle lies in its box, with the highest product of the score of its class and a power of
the overlap (IoU) of the predicted with the annotated box. The score that a cell should give is its share of the best
product, times the best overlap. Classes learn by the quality focal loss (Li et al., "Generalized Focal Loss", 2020),
boxes by the generalized IoU (Rezatofighi et al., 2019). Nothing else of the network's own training is repeated, so one
loss serves all families.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .box_outputs import BoxOutputs

CELLS_PER_OBJECT = 9
_OVERLAP_POWER = 4.0
_SCORE_POWER = 0.5
_BOX_WEIGHT = 2.0


class ImageTargets:
    """The annotated objects of one image.

    Args:
        edges: M x 4: left, top, right, bottom, as fractions of the input
        labels: M class indices
        ignored: M flags; cells in such an object (a crowd) learn nothing
    """

    def __init__(self, edges: Tensor, labels: Tensor, ignored: Tensor) -> None:
        self.edges, self.labels, self.crowds = edges[~ignored], labels[~ignored], edges[ignored]


def detection_loss(found: BoxOutputs, targets: Sequence[ImageTargets]) -> Tensor:
    """The mean loss over the objects of a batch, a scalar."""
    quality = torch.zeros_like(found.classes)
    weight = torch.ones(found.classes.shape[:2])
    box_losses = []
    for image, target in enumerate(targets):
        if len(target.crowds):
            weight[image][_lies_in(found.points, target.crowds).any(dim=0)] = 0.0
        if not len(target.edges):
            continue
        cells, objects, qualities = assign_cells(found, image, target)
        quality[image, cells, target.labels[objects]] = qualities
        weight[image, cells] = 1.0
        losses = 1 - overlap(found.edges[image, cells], target.edges[objects], generalized=True)
        box_losses.append((losses * qualities).sum())
    total = quality.sum().clamp(min=1.0)
    loss = _class_loss(found, quality, weight)
    return (loss + _BOX_WEIGHT * torch.stack(box_losses).sum()) / total if box_losses else loss / total


def _class_loss(found: BoxOutputs, quality: Tensor, weight: Tensor) -> Tensor:
    if found.objectness is None:
        return (_quality_focal_loss(found.classes, quality) * weight[..., None]).sum()
    best = quality.amax(dim=2)
    positive = best > 0
    objectness = _quality_focal_loss(found.objectness, best) * weight
    classes = found.classes[positive]
    if found.softmax:
        cross_entropy = functional.cross_entropy(classes, quality[positive].argmax(dim=1), reduction="none")
    else:
        target = (quality[positive] > 0).float()
        cross_entropy = functional.binary_cross_entropy_with_logits(classes, target, reduction="none").sum(dim=1)
    return objectness.sum() + (cross_entropy * best[positive]).sum()


def _quality_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return cross_entropy * (logits.sigmoid() - target).detach().abs() ** 2


@torch.no_grad()
def assign_cells(found: BoxOutputs, image: int, target: ImageTargets) -> tuple[Tensor, Tensor, Tensor]:
    """Cells that answer objects of an image: the cell, the object and the score that it should give, n each."""
    product, overlaps = measure_alignment(found, image, target.edges, found.scores[image][:, target.labels].T)
    chosen = choose_cells(product)
    contested = torch.where(chosen, overlaps, torch.full_like(overlaps, -1.0))
    cells = torch.nonzero(chosen.any(dim=0))[:, 0]
    objects = contested[:, cells].argmax(dim=0)
    best_product = torch.where(chosen, product, torch.zeros_like(product)).amax(dim=1)
    best_overlap = contested.amax(dim=1).clamp(min=0.1)
    qualities = product[objects, cells] / best_product[objects].clamp(min=1e-9) * best_overlap[objects]
    return cells, objects, qualities.clamp(1e-3, 1.0)


def measure_alignment(found: BoxOutputs, image: int, edges: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """How well each of P cells answers each of M boxes, and the overlaps, M x P each.

    Args:
        found: what the detector says
        image: index of the image
        edges: M x 4, as fractions of the input
        scores: M x P: what each cell gives the class of each box
    """
    overlaps = overlap(edges[:, None], found.edges[image][None])
    inside = _lies_in(found.points, edges)
    nearest = torch.cdist((edges[:, :2] + edges[:, 2:]) / 2, found.points).argmin(dim=1)
    inside[torch.arange(len(inside)), nearest] = True  # a small object may hold the middle of no cell
    return (scores**_SCORE_POWER) * (overlaps.clamp(min=1e-3) ** _OVERLAP_POWER) * inside, overlaps


def choose_cells(alignment: Tensor) -> Tensor:
    """Which of P cells answer each of M boxes best, M x P: CELLS_PER_OBJECT at most."""
    chosen = torch.zeros_like(alignment, dtype=torch.bool)
    chosen.scatter_(1, alignment.topk(min(CELLS_PER_OBJECT, alignment.shape[1]), dim=1).indices, True)
    return chosen & (alignment > 0)


def _lies_in(points: Tensor, edges: Tensor) -> Tensor:
    """Whether each of P points lies in each of M boxes, M x P."""
    return ((points[None] >= edges[:, None, :2]) & (points[None] <= edges[:, None, 2:])).all(dim=2)


def overlap(first: Tensor, second: Tensor, generalized: bool = False) -> Tensor:
    """Intersection over union of pairs of boxes, ... x 4; `generalized`: less the unused share of their hull."""
    sides = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(0)
    areas = [(each[..., 2:] - each[..., :2]).clamp(min=0).prod(dim=-1) for each in (first, second)]
    shared = sides.prod(dim=-1)
    union = areas[0] + areas[1] - shared + 1e-9
    if not generalized:
        return shared / union
    hull = (torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])).clamp(0)
    hull_area = hull.prod(dim=-1) + 1e-9
    return shared / union - (hull_area - union) / hull_area
