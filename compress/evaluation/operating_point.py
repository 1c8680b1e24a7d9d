"""The score from which on a detector is believed: where, on held-out images, its answers are worth most.

Each box that is found is right if it overlaps a marked one of its class by half that no surer one has taken, as COCO
counts. The score is that at which F1, the harmonic mean of precision and recall, is highest. With few objects
that is a guess, and a rule may ask for more (`threshold` in the camera's file).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vedette.runtime.evaluation.object_annotations import Object
from vedette.runtime.inference.prediction import Box, Prediction

OVERLAP = 0.5
PLAIN = 0.3  # where nothing can be told


class Line(msgspec.Struct, frozen=True):
    """A score, and what it gives on the images that it was chosen with."""

    score: float
    precision: float
    recall: float
    f1: float
    objects: int


def choose(truth: Sequence[Sequence[Object]], seen: Sequence[Sequence[Prediction]], labels: Sequence[str]) -> Line:
    """The score of the highest F1; `PLAIN` where nothing was marked or found.

    Args:
        truth: what each image shows
        seen: what was found in it, doubtful boxes too
        labels: of the model
    """
    rights = sorted(
        (
            (each.score, right)
            for one, found in zip(truth, seen, strict=True)
            for each, right in _judged(one, found, labels)
        ),
        key=lambda pair: -pair[0],
    )
    objects = sum(not each.crowd for one in truth for each in one)
    best, right = Line(PLAIN, 0.0, 0.0, 0.0, objects), 0
    for number, (score, hit) in enumerate(rights, start=1):
        right += hit
        f1 = 2 * right / (number + objects)
        below = rights[number][0] if number < len(rights) else 0.0
        if hit and f1 > best.f1 and below < score:
            best = Line((score + below) / 2, right / number, right / objects, f1, objects)
    return best


def at(
    score: float, truth: Sequence[Sequence[Object]], seen: Sequence[Sequence[Prediction]], labels: Sequence[str]
) -> Line:
    """What that score gives on other images."""
    kept = [[each for each in found if each.score >= score] for found in seen]
    rights = [right for one, found in zip(truth, kept, strict=True) for _, right in _judged(one, found, labels)]
    objects = sum(not each.crowd for one in truth for each in one)
    right = sum(rights)
    return Line(
        score,
        right / len(rights) if rights else 0.0,
        right / objects if objects else 0.0,
        2 * right / (len(rights) + objects) if rights or objects else 0.0,
        objects,
    )


def _judged(
    truth: Sequence[Object], found: Sequence[Prediction], labels: Sequence[str]
) -> list[tuple[Prediction, bool]]:
    """Each box, the surest first, and whether it is right; boxes upon a crowd count neither way and are left out."""
    free = [each for each in truth if not each.crowd]
    crowds = [each for each in truth if each.crowd]
    judged = []
    for prediction in sorted(found, key=lambda each: -each.score):
        if prediction.box is None:
            continue
        overlaps = [
            (overlap(each.box, prediction.box), place)
            for place, each in enumerate(free)
            if labels[each.label] == prediction.label
        ]
        best, place = max(overlaps, default=(0.0, -1))
        if best >= OVERLAP:
            del free[place]
        elif any(
            labels[each.label] == prediction.label and overlap(each.box, prediction.box) >= OVERLAP for each in crowds
        ):
            continue
        judged.append((prediction, best >= OVERLAP))
    return judged


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = sum((each.right - each.left) * (each.bottom - each.top) for each in (one, other))
    return both / (areas - both)
