"""Which design is worth most for what it costs: searched by Optuna, with cheap trials, in one study that outlives us.

A trial costs seconds, for it is told from float features that are worked out once per size (selection.py); cost on the
device is known without fitting anything. Three things are sought at once: that spoilt pictures are told from good ones,
little effort, few bytes. NSGA-II (Deb et al., "A fast and elitist multiobjective genetic algorithm", 2002) keeps what
no other beats in all three; what does not fit the goal's budget counts less than anything that does.

The study lies in a database: a file beside the bundle, or one that many processes share. Each step depends on nothing
but what the study holds and the seed, so a search that was killed goes on as if nothing had been. No design is tried
twice: what is known is told again for nothing, and what another process has claimed (claims.py) is left to it.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from vedette.devices import DeviceProfile
from vedette.runtime.errors import ConfigProblem, MachineProblem

from ..cost import cost_limits as budget
from ..cost.cost_limits import Budget
from ..data.feature_cache import Gallery
from ..goal.goal_file import Goal
from ..models.design import Design, Space
from . import selection
from .selection import Trial
from .trial_locks import Claims

POPULATION = 24
PATIENCE = 60  # trials in a row without a better design that fits the budget
REPEATS = 40  # suggestions in a row that were known already: there is nothing left to find
_SOUGHT: list[Literal["maximize", "minimize"]] = ["maximize", "minimize", "minimize"]  # merit, effort, bytes
ATTEMPTS = 3  # at making the study
HEARTBEAT_SECONDS, GRACE_SECONDS = 10, 60
WAIT_SECONDS = 0.2  # for what another process has under way

SHARE = 0.7  # of the time for trials; what is left builds and measures the leaders


class Effort(msgspec.Struct, frozen=True):
    """What may be spent on a search, and for what."""

    until: float
    """When trials end, by time.monotonic()."""
    end: float
    """When nothing new is begun any more."""
    study: str
    """URL of the database: `sqlite:///PATH`, of one process alone, or `postgresql://…`, shared by many."""
    folder: Path
    """Where the search and what is built after it keep how far they are; made when the search begins."""
    device: DeviceProfile
    """What designs are to run on."""
    budget: Budget
    """What they may cost there."""

    @classmethod
    def of(cls, goal: Goal, seconds: float, study: str, folder: Path, device: DeviceProfile) -> Effort:
        """From now on.

        Raises:
            ConfigProblem: the task has no designs to search among, or none that processes could share.
        """
        if goal.task not in ("anomaly", "detect"):
            hint = "leave --time, or the recipe's search, out; a smaller [model] input makes it cheaper"
            raise ConfigProblem(f'task = "{goal.task}" is built as the goal file has it, not searched for', hint=hint)
        if goal.task == "detect" and study != within(folder):
            hint = "leave --study and --worker out: a few sizes are tried, by one process"
            raise ConfigProblem('task = "detect" keeps no study', hint=hint)
        now = time.monotonic()
        return cls(now + SHARE * seconds, now + seconds, study, folder, device, budget.of(goal, device))


class Search:
    """One study.

    Args:
        goal: what is built
        space: what may be varied
        gallery: the pictures that designs are tried on
        effort: what may be spent
        say: is told what was found

    Raises:
        MachineProblem: there is no such database.
    """

    def __init__(self, goal: Goal, space: Space, gallery: Gallery, effort: Effort, say: Callable[[str], None]) -> None:
        self.space, self.gallery, self.effort, self.say = space, gallery, effort, say
        self.budget, self.seed = effort.budget, goal.data.seed
        self.unit = budget.unit(effort.device).partition(",")[0]
        url = effort.study
        self.shared = not url.startswith("sqlite")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # What a trial's figures depend on; another budget only asks for another order.
        facts = msgspec.json.encode([space, goal.data.seed, gallery.digest, effort.device, effort.budget])
        name = f"{goal.name}-{hashlib.sha256(facts).hexdigest()[:12]}"
        effort.folder.mkdir(parents=True, exist_ok=True)
        self.study, self.claims = _study(url, name)
        over = {one: max(0.0, Trial.of(one, effort.device).excess(self.budget)) for one in space.beginnings()}
        self.beginnings = sorted(over, key=over.__getitem__)  # what may win comes first
        if not self.shared:  # what was under way when the only process died is begun anew
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self.study.tell(trial.number, state=TrialState.FAIL)

    def run(self) -> list[Trial]:
        """Until its time is up or nothing better is to be expected; the trials of all processes, one at least."""
        repeats, fruitless, known = 0, 0, self.trials()  # fruitless: repeats, and waits for other processes
        while self._time_is_left(known) and repeats < REPEATS and not self._settled(known):
            before = len(known)
            seed = 1000 * self.seed + before + 100_000 * fruitless
            self.study.sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
            self._begin({trial.design for trial in known})
            self.study.optimize(self._try, n_trials=1)
            known = self.trials()
            if len(known) > before:
                repeats = fruitless = 0
            else:  # nothing is left to find only where nothing is under way either
                repeats, fruitless = repeats + (not self.claims.under_way()), fruitless + 1
        return known

    def _begin(self, known: set[Design]) -> None:
        """The next of the first designs, if one is left, before the sampler has its say."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            busy = self.claims.under_way()
            for one in [one for one in self.beginnings if one not in known and str(one) not in busy][:1]:
                self.study.enqueue_trial(self._parameters(one))

    def trials(self) -> list[Trial]:
        """All that is known, in the order in which it was found; each design once."""
        found: dict[Design, Trial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            one = self._design(trial)
            found.setdefault(one, _told(trial))
        return list(found.values())

    def _time_is_left(self, known: list[Trial]) -> bool:
        return not known or time.monotonic() < self.effort.until

    def _settled(self, known: list[Trial]) -> bool:
        """The best that fits the budget was found PATIENCE trials ago."""
        fits = [trial for trial in known if trial.excess(self.budget) <= 0]
        return bool(fits) and len(known) - known.index(max(fits, key=selection.merit)) > PATIENCE

    def _try(self, trial: optuna.Trial) -> tuple[float, float, float]:
        one = self._suggested(trial)
        known = next((each for each in self.trials() if each.design == one), None)
        if known is None and not self.claims.take(str(one), trial):
            time.sleep(WAIT_SECONDS)
            raise optuna.TrialPruned
        if known is None:
            worth = selection.worth(one, self.gallery.features(one.input), self.gallery.groups)
            known = Trial.of(one, self.effort.device, worth)
            self.say(f"{one}: AUROC in trials {worth:.3f}, {known.effort / 1e6:.1f} million {self.unit}")
        trial.set_user_attr("trial", msgspec.to_builtins(known))
        trial.set_constraint("budget", known.excess(self.budget))
        return selection.merit(known), known.effort, float(known.bytes)

    def _suggested(self, trial: optuna.Trial) -> Design:
        space = self.space
        return space.design(
            trial.suggest_categorical("detector", space.detectors),
            _numbers(trial.suggest_categorical("blocks", [_text(blocks) for blocks in space.blocks])),
            trial.suggest_categorical("input", space.inputs),
            cast("int | None", trial.suggest_categorical("rank", space.ranks)),
        )

    def _parameters(self, one: Design) -> dict[str, Any]:
        rank = one.rank if one.rank in self.space.ranks else self.space.ranks[0]
        return {"detector": one.detector, "blocks": _text(one.blocks), "input": one.input, "rank": rank}

    def _design(self, trial: FrozenTrial) -> Design:
        values = trial.params
        return self.space.design(values["detector"], _numbers(values["blocks"]), values["input"], values["rank"])


def within(folder: Path) -> str:
    """URL of a database in that folder."""
    return f"sqlite:///{folder.resolve()}/study.db"


def _study(url: str, name: str) -> tuple[optuna.Study, Claims]:
    """The study of that name and its claims, made if need be; others may be making it, so a failure is tried again."""
    for attempt in range(ATTEMPTS):
        try:
            storage = RDBStorage(url) if url.startswith("sqlite") else _shared(url)
            study = optuna.create_study(storage=storage, study_name=name, directions=_SOUGHT, load_if_exists=True)
            return study, Claims(study, storage)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            hint = "check the address after --study and the database; pip install 'vedette[study]' brings its driver"
            problem = MachineProblem(f"no study in {url.rpartition('@')[2]}: {str(error).splitlines()[0]}", hint=hint)
            time.sleep(0.5 * attempt)
    raise problem


def _shared(url: str) -> RDBStorage:
    """A database in which each process shows that it lives, so that the others take over what a dead one had begun."""
    if url.startswith("postgresql://"):
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)  # the driver that `vedette[study]` brings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        again = RetryHeartbeatStaleTrialCallback()
        return RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=again,
        )


def _told(trial: FrozenTrial) -> Trial:
    return msgspec.convert(trial.user_attrs["trial"], Trial)


def _text(blocks: tuple[int, ...]) -> str:
    return " ".join(map(str, blocks))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
