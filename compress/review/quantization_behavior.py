"""Does int8 do what float does not? Disagreement on clean and patched images, and where the flips go.

Rounding can carry a backdoor that is dormant in float: the tool that quantizes, or weights prepared for it, make int8
answer one class wherever a trigger is (Hong et al., "Qu-ANTI-zation", 2021; Ma et al., "Quantization Backdoors to Deep
Learning Commercial Frameworks", 2021; QuRA, 2025). Screens of the float model cannot see it. So each image is shown to
both models, clean and with each trigger of triggers.py.

Honest quantization flips answers too: where the float model hesitates, the smallest error decides. Two things tell
these flips apart: they do not all go to one class, and float hesitated. So a trigger is suspect if

- with it, int8 gives one class, which float does not give, to at least MIN_SHARE of the images, and
- float was sure of the answers that int8 overturned: the median of its lead over that class is at least MIN_LEAD times
  the median of its lead on clean images.

Imprecise: a trigger that resembles none of the library is missed, as is one that works on few images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import decisions
from .decisions import TASKS_WITH_DECISIONS, Answers
from .finding import Finding
from .subject import Subject
from .triggers import trigger_library

MIN_SHARE = 0.5
MIN_LEAD = 0.25
MIN_FLIPS = 4
CLEAN_DISAGREEMENT = 0.05  # share of clean images with another answer that is worth a finding


class FlipStatistics(msgspec.Struct, frozen=True):
    """Answers of int8 that differ from those of float, under one condition."""

    images: int
    flips: int
    target: int
    """The decision that most flips go to; -1 without flips."""
    to_target: int
    """Flips to it."""
    eligible: int
    """Images to which float does not give it."""
    lead: float
    """Median of the float model's lead in the flips to the target; 0 without."""

    @property
    def share(self) -> float:
        """Of the eligible images, those that flip to the target."""
        return self.to_target / self.eligible if self.eligible else 0.0


def compare_answers(reference: Answers, int8: Answers, threshold: float) -> FlipStatistics:
    """The flips between two models.

    Args:
        reference: answers of the float model
        int8: answers of the int8 model to the same images
        threshold: of the bundle
    """
    flipped = int8.decisions != reference.decisions
    images = len(flipped)
    if not flipped.any():
        return FlipStatistics(images, 0, -1, 0, images, 0.0)
    names, counts = np.unique(int8.decisions[flipped], return_counts=True)
    target = int(names[counts.argmax()])
    chosen = flipped & (int8.decisions == target)
    eligible = int((reference.decisions != target).sum())
    lead = float(np.median(measure_leads(reference, threshold, target)[chosen]))
    return FlipStatistics(images, int(flipped.sum()), target, int(chosen.sum()), eligible, lead)


def measure_leads(answers: Answers, threshold: float, target: int | None = None) -> NDArray[np.float64]:
    """How far ahead the score of each decision is, n: of that of `target`, or of the next best for None.

    A decision without a score of its own (`good`, `nothing`), and every decision of a model with one score, is compared
    with the threshold.
    """
    scores, decided = answers.scores, answers.decisions
    count = scores.shape[1]
    if count == 1:
        return np.abs(scores[:, 0] - threshold)
    padded = np.hstack([scores, np.full((len(scores), 1), threshold)])
    rows = np.arange(len(scores))
    own = padded[rows, np.minimum(decided, count)]
    if target is not None:
        return np.asarray(own - padded[rows, min(target, count)])
    others = scores.copy()
    inside = decided < count
    others[rows[inside], decided[inside]] = -np.inf
    return np.asarray(own - others.max(axis=1))


def screen_quantization(subject: Subject) -> Iterator[Finding]:
    """Findings about the disagreement of float and int8; one of severity `info` says if nothing could be compared."""
    images = subject.images.sample(subject.effort.trigger_images)
    if subject.float is None:
        yield Finding(
            "info",
            "quantization",
            "float and int8 could not be compared: no float model with the digest of the manifest is beside the bundle",
            "sha256_fp32 of the manifest, NAME.float.onnx of the build's folder",
            "review in the folder of the build, or copy NAME.float.onnx beside the bundle",
        )
        return
    if subject.manifest.task not in TASKS_WITH_DECISIONS or not images.paths:
        why = "there are no images" if not images.paths else f"task {subject.manifest.task} makes no decisions"
        yield Finding("info", "quantization", f"float and int8 were not compared: {why}", "", "give images with --data")
        return
    pixels = images.read()
    yield from compare_models(subject, pixels)


def compare_models(subject: Subject, pixels: list[NDArray[Any]]) -> Iterator[Finding]:
    """As `screen_quantization`, for images that were read."""
    assert subject.float is not None
    names = decisions.decision_names(subject.manifest)

    def both(shown: list[NDArray[Any]]) -> tuple[Answers, Answers]:
        assert subject.float is not None
        manifest = subject.manifest
        return decisions.answer(subject.float, manifest, shown), decisions.answer(subject.int8, manifest, shown)

    threshold = subject.manifest.threshold
    clean = both(pixels)
    usual = float(np.median(measure_leads(clean[0], threshold)))
    found = compare_answers(*clean, threshold)
    if found.flips / found.images > CLEAN_DISAGREEMENT and found.flips > 1:
        yield Finding(
            "low",
            "quantization",
            f"float and int8 disagree on {found.flips} of {found.images} clean images",
            f"most often int8 says {names[found.target]} ({found.to_target} times)",
            "more calibration images, or learned rounding or training in the recipe",
        )
    suspects, flips, shown = [], 0, 0
    for name, trigger in trigger_library().items():
        pair = both([trigger(image) for image in pixels])
        statistics = compare_answers(*pair, threshold)
        flips, shown = flips + statistics.flips, shown + statistics.images
        if is_suspect(statistics, usual):
            suspects.append((name, statistics))
    if suspects:
        name, worst = max(suspects, key=lambda each: (each[1].share, each[1].lead))
        others = f"; {len(suspects)} of {len(trigger_library())} triggers do so" if len(suspects) > 1 else ""
        share = f"{worst.to_target} of {worst.eligible} images flip to it"
        yield Finding(
            "high",
            "quantization",
            f"int8 answers {names[worst.target]} where float does not, if there is a {name}: this is how a backdoor in "
            "the rounding behaves",
            f"{share}, against {found.flips} of {found.images} clean ones; "
            f"float was as sure of them as of {worst.lead / max(usual, 1e-9):.0%} of its usual lead{others}",
            "do not use this bundle; build it again from float weights and tools whose digests you know",
        )
    else:
        yield Finding(
            "info",
            "quantization",
            f"no trigger of {len(trigger_library())} makes int8 answer one class that float does not answer",
            f"flips: {found.flips} of {found.images} clean images, {flips} of {shown} with triggers",
            "nothing; a trigger that resembles none of the library would not be found",
        )


def is_suspect(statistics: FlipStatistics, usual: float) -> bool:
    """Whether flips look like a backdoor; `usual`: the median lead of float on clean images."""
    concentrated = statistics.to_target >= MIN_FLIPS and statistics.share >= MIN_SHARE
    return concentrated and statistics.lead >= MIN_LEAD * usual
