"""Locks on designs, so that only one process evaluates a design: a table beside those of Optuna in the same database.

Optuna numbers trials one by one, but it lets two processes propose the same design, and a check before the start does
not help: both processes may check before either has begun. So a design is locked by inserting a row with the design in
its primary key, and the database accepts only one. A lock is valid as long as its trial runs, and after the trial is
complete. If the trial failed, for example because its process died, another process takes the design over by replacing
exactly that lock.
"""

from __future__ import annotations

import time

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

FIRST_HEARTBEAT_SECONDS = 10  # wait for the first heartbeat of a trial
_METADATA = sqlalchemy.MetaData()
_TABLE = sqlalchemy.Table(
    "vedette_claims",
    _METADATA,
    sqlalchemy.Column("study", sqlalchemy.String(512), primary_key=True),
    sqlalchemy.Column("design", sqlalchemy.String(200), primary_key=True),
    sqlalchemy.Column("trial", sqlalchemy.Integer, nullable=False),
)
_HEARTBEATS = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("trial_id"))


class TrialLocks:
    """Locks on the designs of one study. Creates the table if it does not exist.

    Args:
        study: the Optuna study
        storage: its database

    Raises:
        SQLAlchemyError: the table cannot be created, or another process is creating it.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self.study, self.storage = study, storage
        _METADATA.create_all(storage.engine)

    def acquire(self, design: str, trial: optuna.Trial) -> bool:
        """Lock a design for a trial; False if another trial evaluates it or has evaluated it.

        Args:
            design: the design as text
            trial: the trial that will evaluate it
        """
        if not self._has_heartbeat(trial):
            return False
        row = {"study": self.study.study_name, "design": design, "trial": trial.number}
        try:
            with self.storage.engine.begin() as connection:
                connection.execute(_TABLE.insert().values(row))
        except IntegrityError:
            holder = self._lock_holders()[design]
            if holder in self._trial_numbers(TrialState.RUNNING, TrialState.COMPLETE):
                return False
            is_that_lock = (_TABLE.c.study == row["study"]) & (_TABLE.c.design == design) & (_TABLE.c.trial == holder)
            with self.storage.engine.begin() as connection:
                return connection.execute(_TABLE.update().where(is_that_lock).values(trial=trial.number)).rowcount == 1
        return True

    def running_designs(self) -> set[str]:
        """Designs whose trials are running."""
        running = self._trial_numbers(TrialState.RUNNING)
        return {design for design, holder in self._lock_holders().items() if holder in running}

    def _lock_holders(self) -> dict[str, int]:
        """Design -> number of the trial that holds its lock."""
        query = sqlalchemy.select(_TABLE.c.design, _TABLE.c.trial).where(_TABLE.c.study == self.study.study_name)
        with self.storage.engine.connect() as connection:
            return {row.design: row.trial for row in connection.execute(query)}

    def _trial_numbers(self, *states: TrialState) -> set[int]:
        return {trial.number for trial in self.study.get_trials(deepcopy=False, states=states)}

    def _has_heartbeat(self, trial: optuna.Trial) -> bool:
        """Whether a trial of a shared study has its first heartbeat, without which its death would go unnoticed."""
        if self.storage.heartbeat_interval is None:
            return True
        query = sqlalchemy.select(_HEARTBEATS.c.trial_id).where(_HEARTBEATS.c.trial_id == trial._trial_id)
        end = time.monotonic() + FIRST_HEARTBEAT_SECONDS
        while time.monotonic() < end:
            with self.storage.engine.connect() as connection:
                if connection.execute(query).first() is not None:
                    return True
            time.sleep(0.01)
        return False
