"""Who works on which design: a table beside Optuna's own, in the same database.

Optuna numbers trials one by one but lets two processes propose the same design, and nothing that they ask first keeps
them from it: both may look before either has begun. So a design is claimed by a row whose key it is, and the database
lets only one in. A claim is worth what its trial is: while that runs, or once it is complete, the design is taken;
where it has failed, as where its process has died, whoever replaces exactly that claim has the design.
"""

from __future__ import annotations

import time

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

PATIENCE_SECONDS = 10  # for the first sign of life
_METADATA = sqlalchemy.MetaData()
_TABLE = sqlalchemy.Table(
    "vedette_claims",
    _METADATA,
    sqlalchemy.Column("study", sqlalchemy.String(512), primary_key=True),
    sqlalchemy.Column("design", sqlalchemy.String(200), primary_key=True),
    sqlalchemy.Column("trial", sqlalchemy.Integer, nullable=False),
)
_HEARTS = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("trial_id"))


class Claims:
    """Those of one study; the table is made if need be.

    Raises:
        SQLAlchemyError: it cannot be made, or another process makes it just now.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self.study, self.storage = study, storage
        _METADATA.create_all(storage.engine)

    def take(self, design: str, trial: optuna.Trial) -> bool:
        """Whether the design is now that trial's alone; not, where another has it or has done it."""
        if not self._beating(trial):
            return False
        row = {"study": self.study.study_name, "design": design, "trial": trial.number}
        try:
            with self.storage.engine.begin() as connection:
                connection.execute(_TABLE.insert().values(row))
        except IntegrityError:
            holder = self._all()[design]
            if holder in self._numbers(TrialState.RUNNING, TrialState.COMPLETE):
                return False
            one = (_TABLE.c.study == row["study"]) & (_TABLE.c.design == design) & (_TABLE.c.trial == holder)
            with self.storage.engine.begin() as connection:
                return connection.execute(_TABLE.update().where(one).values(trial=trial.number)).rowcount == 1
        return True

    def under_way(self) -> set[str]:
        """The designs that are being tried."""
        running = self._numbers(TrialState.RUNNING)
        return {design for design, holder in self._all().items() if holder in running}

    def _all(self) -> dict[str, int]:
        """The trial that has each design."""
        ours = sqlalchemy.select(_TABLE.c.design, _TABLE.c.trial).where(_TABLE.c.study == self.study.study_name)
        with self.storage.engine.connect() as connection:
            return {row.design: row.trial for row in connection.execute(ours)}

    def _numbers(self, *states: TrialState) -> set[int]:
        return {trial.number for trial in self.study.get_trials(deepcopy=False, states=states)}

    def _beating(self, trial: optuna.Trial) -> bool:
        """Whether a trial of a shared study gives its first sign of life: without one nobody could tell its death."""
        if self.storage.heartbeat_interval is None:
            return True
        sign = sqlalchemy.select(_HEARTS.c.trial_id).where(_HEARTS.c.trial_id == trial._trial_id)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with self.storage.engine.connect() as connection:
                if connection.execute(sign).first() is not None:
                    return True
            time.sleep(0.01)
        return False
