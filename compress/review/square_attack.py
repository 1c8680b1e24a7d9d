"""An attack that only asks the int8 model: how often does a change of pixels that is hardly visible turn its answer?

A square-type random search (Andriushchenko et al., "Square Attack", 2020): vertical stripes of ± EPSILON first, then
squares of ± EPSILON at random places, kept if they bring the answer nearer to another one. It needs no gradient, which
an integer model does not have. Its success in N queries is a lower bound: more queries and better attacks succeed more
often, and nothing here protects a model against someone who can change its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..evaluation.model_runners import Int8Runner
from . import decisions
from .decisions import Answers
from .finding import Finding
from .subject import Subject

EPSILON = 8  # gray levels, as in the literature
FIRST_SHARE = 0.3  # of the pixels that a square covers at first; the paper's p
OFTEN = 0.5  # success rate from which the finding is `low`


class AttackResult(NamedTuple):
    """Attacks on several images."""

    attacked: int
    turned: int
    queries: int
    """Allowed for each image."""
    median: float | None
    """Median of the queries of the successful attacks."""


def attack_model(subject: Subject) -> AttackResult:
    """Attack the answers to some images, whether they are right or not."""
    images = subject.images.sample(subject.effort.attacked_images)
    used = [_attack(subject, image, seed) for seed, image in enumerate(images.read())]
    turned = [count for count in used if count is not None]
    median = float(np.median(turned)) if turned else None
    return AttackResult(len(used), len(turned), subject.effort.queries, median)


def attack_findings(subject: Subject) -> Iterator[Finding]:
    """One finding with the success rate."""
    if subject.manifest.task not in ("anomaly", "classify") or not subject.images.paths:
        return
    result = attack_model(subject)
    if not result.attacked:
        return
    often = result.turned >= OFTEN * result.attacked
    median = "" if result.median is None else f", half of them within {result.median:.0f}"
    yield Finding(
        "low" if often else "info",
        "attack",
        f"a search without insight into the model turns {result.turned} of {result.attacked} answers in "
        f"{result.queries} queries",
        f"pixels changed by at most {EPSILON} of 255{median}",
        "keep strangers away from the camera's stream and cable; do not rely on the model against people who want to "
        "deceive it",
    )


def _attack(subject: Subject, image: NDArray[Any], seed: int) -> int | None:
    """Queries until the answer turned; None: it did not.

    The attack changes the pixels that the model sees, after scaling: stronger than an attack on the camera's image.
    """
    runner = subject.int8
    assert isinstance(runner, Int8Runner)
    pixels = runner.preprocess(image).astype(np.int16)
    rng = np.random.default_rng(seed)
    _, height, width, channels = pixels.shape

    def ask(candidate: NDArray[Any]) -> Answers:
        outputs = runner.run_input(candidate.clip(0, 255).astype(np.uint8))
        return _decide(subject, outputs)

    first = ask(pixels)
    decision = int(first.decisions[0])
    stripes = EPSILON * rng.choice((-1, 1), (1, 1, width, channels))
    best = pixels + np.broadcast_to(stripes, pixels.shape)
    margin = _margin(subject, ask(best), decision)
    for query in range(1, subject.effort.queries):
        if margin < 0:
            return query
        share = FIRST_SHARE * (1 - query / subject.effort.queries) ** 2
        side = max(1, min(height, width, round((share * height * width) ** 0.5)))
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        candidate = best.copy()
        square = np.s_[:, top : top + side, left : left + side]
        candidate[square] = pixels[square] + EPSILON * rng.choice((-1, 1), (1, 1, 1, channels))
        lower = _margin(subject, ask(candidate), decision)
        if lower <= margin:
            best, margin = candidate, lower
    return subject.effort.queries if margin < 0 else None


def _decide(subject: Subject, outputs: dict[str, NDArray[Any]]) -> Answers:
    if subject.manifest.task == "anomaly":
        scores = np.array([[decisions.score_on_device(outputs, subject.manifest)]])
        return Answers(scores, (scores[:, 0] >= subject.manifest.threshold).astype(np.int64), [])
    scores = outputs["scores"].reshape(1, -1).astype(float)
    return Answers(scores, scores.argmax(axis=1).astype(np.int64), [])


def _margin(subject: Subject, answers: Answers, decision: int) -> float:
    """How far the answer is from turning; below 0 it turned."""
    scores = answers.scores[0]
    if subject.manifest.task == "anomaly":
        above = float(scores[0]) - subject.manifest.threshold
        return above if decision == decisions.ALARM else -above - 1e-9
    return float(scores[decision] - np.delete(scores, decision).max())
