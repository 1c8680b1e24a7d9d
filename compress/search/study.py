"""Search for the best designs by Optuna, with cheap trials in a study that survives interruptions.

A trial takes seconds, because it uses float features that are computed once per input size (selection.py), and because
the cost on the device is known without fitting. The search has three objectives: maximize the utility (the AUROC of
good images against synthetic defects), minimize the cost, and minimize the bytes. NSGA-II (Deb et
al., "A fast and elitist multiobjective genetic algorithm", 2002) keeps the trials that no other dominates. A design
that exceeds the limits of the goal ranks below every design within them.

The study is stored in a database: a file beside the bundle, or a server that many processes share. Each step depends
only on the study and the seed, so a search that was killed continues as if it had not been interrupted. No design is
evaluated twice: if a design is known, its figures are reported to Optuna again, and if another process has locked it
(trial_locks.py), this process leaves it.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from typing import Any, Literal, cast

import msgspec
import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from vedette.runtime.distribution import install_command
from vedette.runtime.errors import MachineProblem
from vedette.runtime.progress import Log

from ..cost import cost_limits
from ..data.image_feature_cache import ImageFeatureCache
from ..goal.goal_tables import Goal
from ..models.design import Design, SearchSpace
from ..models.image_size import ImageSize
from . import selection
from .search_setup import SearchSetup
from .selection import Trial
from .trial_locks import TrialLocks

POPULATION_SIZE = 24
CONVERGENCE_PATIENCE = 60  # trials in a row without a better design within the limits
MAX_REPEATS = 40  # known suggestions in a row, after which the space counts as exhausted
_DIRECTIONS: list[Literal["maximize", "minimize"]] = ["maximize", "minimize", "minimize"]  # utility, cost, bytes
MAX_ATTEMPTS = 3  # to open the study
HEARTBEAT_SECONDS, GRACE_SECONDS = 10, 60
WAIT_SECONDS = 0.2  # for a design that another process has locked


class DesignSearch:
    """Search for designs; the trials are kept in an Optuna study.

    Args:
        goal: the goal file
        space: the search space
        feature_cache: features and synthetic defects for the trials
        setup: time, database, device and cost limits
        log: receives progress messages

    Raises:
        MachineProblem: the database cannot be opened.
    """

    def __init__(
        self, goal: Goal, space: SearchSpace, feature_cache: ImageFeatureCache, setup: SearchSetup, log: Log
    ) -> None:
        self.space, self.feature_cache, self.setup, self.log = space, feature_cache, setup, log
        self.limits, self.seed = setup.limits, goal.data.seed
        self.unit = cost_limits.cost_unit(setup.device).partition(",")[0]
        url = setup.study_url
        self.shared = not url.startswith("sqlite")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        # Everything that the figures of a trial depend on, and the limits, which change the order of the trials.
        facts = msgspec.json.encode([space, goal.data.seed, feature_cache.trial_digest, setup.device, setup.limits])
        name = f"{goal.name}-{hashlib.sha256(facts).hexdigest()[:12]}"
        setup.folder.mkdir(parents=True, exist_ok=True)
        self.study, self.locks = _open_study(url, name)
        trials = [Trial.for_design(design, setup.device) for design in space.initial_designs()]
        excess = {trial.design: max(0.0, trial.limit_excess(self.limits)) for trial in trials}
        self.initial_designs = sorted(excess, key=excess.__getitem__)  # designs within the limits first
        if not self.shared:  # the only process died during these trials: release their designs
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self.study.tell(trial.number, state=TrialState.FAIL)

    def run(self) -> list[Trial]:
        """Run trials until the time is up or the search has converged.

        Returns:
            The trials of all processes, at least one.
        """
        repeats, fruitless, trials = 0, 0, self.completed_trials()  # fruitless: repeats, and waits for other processes
        while self._time_is_left(trials) and repeats < MAX_REPEATS and not self._has_converged(trials):
            before = len(trials)
            seed = 1000 * self.seed + before + 100_000 * fruitless
            self.study.sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION_SIZE, seed=seed)
            self._enqueue_initial_design({trial.design for trial in trials})
            self.study.optimize(self._evaluate, n_trials=1)
            trials = self.completed_trials()
            if len(trials) > before:
                repeats = fruitless = 0
            else:  # the space is exhausted only if no other process evaluates a design
                repeats, fruitless = repeats + (not self.locks.running_designs()), fruitless + 1
        return trials

    def _enqueue_initial_design(self, known_designs: set[Design]) -> None:
        """Enqueue the next initial design that is neither known nor running, so that it precedes the sampler's."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            running = self.locks.running_designs()
            for design in self.initial_designs:
                if design not in known_designs and str(design) not in running:
                    self.study.enqueue_trial(self._parameters(design))
                    return

    def completed_trials(self) -> list[Trial]:
        """The completed trials in their order, each design once."""
        trials: dict[Design, Trial] = {}
        for stored in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            trial = msgspec.convert(stored.user_attrs["trial"], Trial)
            trials.setdefault(trial.design, trial)
        return list(trials.values())

    def _time_is_left(self, trials: list[Trial]) -> bool:
        return not trials or time.monotonic() < self.setup.trials_deadline

    def _has_converged(self, trials: list[Trial]) -> bool:
        """Whether the best design within the limits is more than CONVERGENCE_PATIENCE trials old."""
        within_limits = [trial for trial in trials if trial.limit_excess(self.limits) <= 0]
        if not within_limits:
            return False
        best = max(within_limits, key=selection.utility)
        return len(trials) - trials.index(best) > CONVERGENCE_PATIENCE

    def _evaluate(self, optuna_trial: optuna.Trial) -> tuple[float, float, float]:
        design = self._suggest_design(optuna_trial)
        trial = next((known for known in self.completed_trials() if known.design == design), None)
        if trial is None and not self.locks.acquire(str(design), optuna_trial):
            time.sleep(WAIT_SECONDS)
            raise optuna.TrialPruned
        if trial is None:
            trial = selection.evaluate_trial(Trial.for_design(design, self.setup.device), self.feature_cache)
            self.log(f"{design}: AUROC in trials {trial.auroc:.3f}, {trial.cost / 1e6:.1f} million {self.unit}")
        optuna_trial.set_user_attr("trial", msgspec.to_builtins(trial))
        optuna_trial.set_constraint("budget", trial.limit_excess(self.limits))
        return selection.utility(trial), trial.cost, float(trial.bytes)

    def _suggest_design(self, trial: optuna.Trial) -> Design:
        space = self.space
        return space.make_design(
            trial.suggest_categorical("detector", space.anomaly_models),
            _parse_blocks(trial.suggest_categorical("blocks", [_format_blocks(blocks) for blocks in space.blocks])),
            _parse_size(
                cast("int | str", trial.suggest_categorical("input", list(map(_format_size, space.input_sizes))))
            ),
            cast("int | None", trial.suggest_categorical("rank", space.ranks)),
        )

    def _parameters(self, design: Design) -> dict[str, Any]:
        rank = design.rank if design.rank in self.space.ranks else self.space.ranks[0]
        return {
            "detector": design.anomaly_model,
            "blocks": _format_blocks(design.blocks),
            "input": _format_size(design.input),
            "rank": rank,
        }


def _open_study(url: str, name: str) -> tuple[optuna.Study, TrialLocks]:
    """The study called `name` and its locks, created if needed.

    Another process may be creating them at the same time, so a failure is retried.

    Raises:
        MachineProblem: the database cannot be opened.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            storage = RDBStorage(url) if url.startswith("sqlite") else _open_shared_storage(url)
            study = optuna.create_study(storage=storage, study_name=name, directions=_DIRECTIONS, load_if_exists=True)
            return study, TrialLocks(study, storage)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            hint = f"check the address after --study and the database; {install_command('study')} installs its driver"
            problem = MachineProblem(f"no study in {url.rpartition('@')[2]}: {str(error).splitlines()[0]}", hint=hint)
            time.sleep(0.5 * attempt)
    raise problem


def _open_shared_storage(url: str) -> RDBStorage:
    """A shared database with heartbeats, so that other processes take over the trials of a dead one."""
    if url.startswith("postgresql://"):
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)  # the driver in `vedette[study]`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        retry = RetryHeartbeatStaleTrialCallback()
        return RDBStorage(
            url,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=retry,
        )


def _format_blocks(blocks: tuple[int, ...]) -> str:
    return " ".join(map(str, blocks))


def _parse_blocks(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _format_size(size: ImageSize) -> int | str:
    """A size as optuna can store it: a number, or `HEIGHTxWIDTH`."""
    return size if isinstance(size, int) else f"{size[0]}x{size[1]}"


def _parse_size(value: int | str) -> ImageSize:
    if isinstance(value, int):
        return value
    height, width = map(int, value.split("x"))
    return height, width
