"""Something stays in a place for longer than it should: loitering, a car that blocks the gate.

The seconds count from the frame that first saw it inside. Leaving for less than `inertia`, or being hidden for as
long as the tracker waits, does not start them anew; coming back after longer does.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..camera.frame import Frame
from ..events.event import State
from . import Context
from .rule_base import AreaSettings
from .state.track_state import Thing
from .track_rule import Watch, place


class DwellSettings(AreaSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rules]]` table with `use = "dwell"`."""

    seconds: Annotated[float, msgspec.Meta(gt=0)]
    """That something may stay."""


class Dwell(Watch):
    """The rule; see above."""

    Settings = DwellSettings

    def __init__(self, settings: DwellSettings, context: Context) -> None:
        super().__init__(settings, context, hold=settings.seconds)

    def judge(self, frame: Frame, thing: Thing) -> State | None:
        return place(thing) if thing.inside else None
