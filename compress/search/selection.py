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
All is measured on float features, worked out once. The spoilt copies are not what happens on the line; a choice is all
that they are used for, and no figure of the report comes from them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import msgspec
import numpy as np
import torch

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.metrics import auroc

from ..cost import cost_limits
from ..cost.cost_limits import Budget
from ..data.feature_cache import Features, Gallery
from ..goal.goal_file import Model
from ..models import design, efficientnet_lite
from ..models.design import Design

FOLDS = 3
MARGIN = 0.01
HANDICAP = {"discriminative": 0.15}
FINALISTS = 3


class Trial(msgspec.Struct, frozen=True):
    """A design and what is known of it."""

    design: Design
    macs: int
    """Multiplications and additions for one image, backbone and detector."""
    effort: float
    """Of one image on the device: budget.py."""
    bytes: int
    """Of the int8 file, about."""
    auroc: float | None = None
    """Of spoilt against good images that it had not seen; None where there was no choice."""

    @classmethod
    def of(cls, design: Design, device: DeviceProfile, auroc: float | None = None) -> Trial:
        """With its cost, which is known before anything is fitted."""
        cost = design.cost()
        return cls(design, cost.macs, cost_limits.effort(cost, device), cost.bytes, auroc)

    def excess(self, allowed: Budget) -> float:
        """The share by which it costs too much, of whatever it exceeds most; 0 or less where it fits."""
        pairs = ((self.effort, allowed.effort), (self.bytes, allowed.bytes))
        return max((cost / most - 1 for cost, most in pairs if most is not None), default=-1.0)


def candidates(model: Model, images: int, device: DeviceProfile) -> list[Trial]:
    """What `model` leaves open without a search and `images` good images suffice for, the cheapest first."""
    trials = [Trial.of(one, device) for one in design.customary(model, images)]
    return sorted(trials, key=lambda trial: trial.effort)


def tried(trials: Iterable[Trial], gallery: Gallery) -> list[Trial]:
    """The same, each with its mean AUROC."""
    return [
        msgspec.structs.replace(each, auroc=worth(each.design, gallery.features(each.design.input), gallery.groups))
        for each in trials
    ]


def worth(one: Design, features: Features, groups: Sequence[Hashable]) -> float:
    """Mean AUROC of spoilt against good images that it had not seen.

    Args:
        one: the design
        features: at its size, of all blocks that it looks at
        groups: of each good image
    """
    folds = _folds(groups)
    return float(np.mean([_trial(one, features, folds, fold) for fold in range(folds.max() + 1)]))


def merit(trial: Trial) -> float:
    """Its AUROC in trials, less the handicap of what knows how pictures are spoilt."""
    return (trial.auroc or 0.0) - HANDICAP.get(trial.design.detector, 0.0)


ANYTHING = Budget()


def best(trials: list[Trial], allowed: Budget = ANYTHING) -> Trial:
    """The cheapest of those that are as good as the best within the budget; where none fits, the nearest miss."""
    fits = [trial for trial in trials if trial.excess(allowed) <= 0]
    if not fits:
        return min(trials, key=lambda trial: trial.excess(allowed))
    enough = max(map(merit, fits)) - MARGIN
    return min((trial for trial in fits if merit(trial) >= enough), key=lambda trial: trial.effort)


def front(trials: list[Trial]) -> list[Trial]:
    """Those that no other beats in merit, effort and bytes at once, the cheapest first."""

    def better(one: Trial, other: Trial) -> bool:
        pairs = ((-merit(one), -merit(other)), (one.effort, other.effort), (one.bytes, other.bytes))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    kept = [trial for trial in trials if not any(better(other, trial) for other in trials)]
    return sorted(kept, key=lambda trial: trial.effort)


def leading(trials: list[Trial], allowed: Budget, count: int = FINALISTS) -> list[Trial]:
    """The `count` that the choice would fall on one after the other, from the front alone."""
    left = front(trials)
    found: list[Trial] = []
    while left and len(found) < count:
        found.append(best(left, allowed))
        left = [trial for trial in left if trial is not found[-1]]
    return found


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


def _trial(one: Design, features: Features, folds: np.ndarray[tuple[int], np.dtype[np.int64]], fold: int) -> float:
    held = torch.from_numpy(folds == fold)
    apart = torch.from_numpy(folds[list(features.sources)] == fold)
    order = sorted(set(features.kinds))
    judged = torch.tensor([(order.index(kind) + fold) % 2 == 0 for kind in features.kinds])

    detector = one.load(efficientnet_lite.load(one.blocks))
    learn = ~apart & ~judged
    detector.fit(
        [features.good[block][~held].float() for block in one.blocks],
        [features.spoilt[block][learn].float() for block in one.blocks],
        features.masks[learn],
    )
    with torch.inference_mode():
        good = detector([features.good[block][held].float() for block in one.blocks])[1]
        spoilt = detector([features.spoilt[block][apart & judged].float() for block in one.blocks])[1]
    return auroc(good.numpy(), spoilt.numpy())
