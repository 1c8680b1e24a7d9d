"""Which detector suits these parts: tried on good images that it was not fitted to, plain and spoilt.

No detector is best for all parts. Where each part lies as the last one did, it pays to know what belongs where (PaDiM);
where parts lie anyhow, it pays to know what belongs anywhere (PatchCore). So each candidate is fitted to some of the
good images and has to tell the others from their spoilt copies: the mean AUROC over FOLDS such trials decides. Those
within MARGIN of the best it cannot tell apart; of them the one with the fewest multiplications is taken. Groups stay
whole.

A detector that was fitted to spoilt pictures knows how they are spoilt. So the kinds of defect are dealt too: the
kinds that a trial is judged by were never seen by what it fitted. That is not enough, for whatever is drawn into a
picture has something in common: on solar cells, cookies, toy figures and ball screws a discriminative head told drawn
defects from good parts better than the others by 0.02 to 0.09, and real ones no better or worse, by up to 0.17. So it
has to lead by HANDICAP.

How a place of the picture varies cannot be told from few pictures, nor can trials tell much then: on 15 good cookies
another draw of the spoilt copies moved an AUROC by 0.06. So below FEW images PaDiM does not stand for choice.

All is measured on float features, worked out once. The spoilt copies are not what happens on the line; a choice is all
that they are used for, and no figure of the report comes from them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from vedette.runtime.accuracy import auroc
from vedette.runtime.verify import Track

from . import cost, detectors
from .goal import Model

FOLDS = 3
MARGIN = 0.01
HANDICAP = {"discriminative": 0.15}
FEW = 40
MOST = 240  # good images that are looked at

CANDIDATES: dict[str, tuple[tuple[int, ...], ...]] = {
    "padim": ((4, 10), (4, 10, 14)),
    "discriminative": ((4, 10),),
    "patchcore": ((4, 10),),
}


class Trial(msgspec.Struct, frozen=True):
    """One candidate."""

    detector: str
    blocks: tuple[int, ...]
    macs: int
    """Multiplications and additions for one image, backbone and detector."""
    auroc: float | None = None
    """Of spoilt against good images that it had not seen; None where there was no choice."""

    def __str__(self) -> str:
        return f"{self.detector} over blocks {', '.join(map(str, self.blocks))}"


class Features(NamedTuple):
    """Of good images and of spoilt ones, by block: N x C x H x W."""

    good: dict[int, Tensor]
    spoilt: dict[int, Tensor]
    masks: Tensor
    kinds: tuple[str, ...]
    sources: tuple[int, ...]
    """Which good image each spoilt one was made of."""


def candidates(model: Model) -> list[Trial]:
    """What `model` leaves open, the cheapest first."""
    names = CANDIDATES if model.detector == "auto" else (model.detector,)
    given = (tuple(sorted(model.blocks)),) if model.blocks is not None else None
    options = [(name, blocks) for name in names for blocks in given or CANDIDATES.get(name, ((10,),))]
    trials = [  # a name that is no detector is refused here
        Trial(name, blocks, cost.macs(detectors.load(name, blocks, model.input), model.input))
        for name, blocks in options
    ]
    return sorted(trials, key=lambda trial: trial.macs)


def feasible(trials: list[Trial], images: int) -> list[Trial]:
    """Those of them that so many good images suffice for; all, where that leaves none."""
    return [trial for trial in trials if trial.detector != "padim" or images >= FEW] or trials


def tried(trials: list[Trial], size: int, features: Features, groups: Sequence[Hashable], track: Track) -> list[Trial]:
    """The same, each with its mean AUROC.

    Args:
        trials: from `candidates`
        size: pixels of the input
        features: of all blocks that the candidates look at
        groups: of each good image
        track: wraps the loop over the candidates, to show its progress
    """
    folds = _folds(groups)
    found = []
    for trial in track(trials, "trying detectors"):
        figures = [_trial(trial, size, features, folds, fold) for fold in range(folds.max() + 1)]
        found.append(msgspec.structs.replace(trial, auroc=float(np.mean(figures))))
    return found


def best(trials: list[Trial]) -> Trial:
    """The cheapest of those that are as good as the best."""
    figures = {trial: (trial.auroc or 0.0) - HANDICAP.get(trial.detector, 0.0) for trial in trials}
    return next(trial for trial in trials if figures[trial] >= max(figures.values()) - MARGIN)


def _folds(groups: Sequence[Hashable]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The fold of each image; groups are dealt from the largest to whichever fold has fewest images."""
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    folds, sizes = np.zeros(len(groups), np.int64), [0] * min(FOLDS, len(members))
    for numbers in sorted(members.values(), key=len, reverse=True):
        fold = sizes.index(min(sizes))
        folds[numbers] = fold
        sizes[fold] += len(numbers)
    return folds


def _trial(
    trial: Trial, size: int, features: Features, folds: np.ndarray[tuple[int], np.dtype[np.int64]], fold: int
) -> float:
    held = torch.from_numpy(folds == fold)
    apart = torch.from_numpy(folds[list(features.sources)] == fold)
    order = sorted(set(features.kinds))
    judged = torch.tensor([(order.index(kind) + fold) % 2 == 0 for kind in features.kinds])

    detector = detectors.load(trial.detector, trial.blocks, size)
    learn = ~apart & ~judged
    detector.fit(
        [features.good[block][~held] for block in trial.blocks],
        [features.spoilt[block][learn] for block in trial.blocks],
        features.masks[learn],
    )
    with torch.inference_mode():
        good = detector([features.good[block][held] for block in trial.blocks])[1]
        spoilt = detector([features.spoilt[block][apart & judged] for block in trial.blocks])[1]
    return auroc(good.numpy(), spoilt.numpy())
