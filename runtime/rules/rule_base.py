"""A rule at its post: where it looks, when, and how it tells.

All rules about places and movement have these keys and parts in common.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..camera.frame import Frame
from ..config.configuration import Name
from ..config.polygon import Polygon
from ..errors import ConfigProblem
from ..events.event import PRIORITY
from . import Context
from .conditions.region import Area
from .conditions.schedule import Schedule
from .state.event_lifecycle import Episodes, Sender

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class PostSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys that each of these rules has in its `[[rules]]` table."""

    use: str
    name: Name = ""
    """The event's place in the topic; without one what `use` says."""
    labels: tuple[str, ...] | None = None
    """Only predictions of these labels count; None: of all but `normal` ones and `unknown`."""
    min_score: float | None = None
    """What a thing must once have reached to count; None: the bundle's threshold."""
    hours: str | tuple[str, ...] | None = None
    """When the rule looks, as `22:00-06:00`; None: at any hour."""
    days: tuple[str, ...] | None = None
    """On which days, as `mon`; None: on all."""
    inertia: NotNegative = 0.5
    """Seconds for which every frame must agree before a change is believed."""
    update: NotNegative = 10.0
    """Seconds between updates of an open event; 0: only where its zones change."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = PRIORITY
    """What is lower gives way first where the outbox is full."""

    @property
    def called(self) -> str:
        return self.name or self.use


class AreaSettings(PostSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Those of a rule that looks at a part of the picture."""

    polygon: Polygon | None = None
    """[x, y] of each corner, fractions 0…1; None: the whole picture."""
    zones: dict[Name, Polygon] = {}
    """The same for several, by name."""


class Post:
    """What a rule has from its settings; see above."""

    boxes = True
    """Whether it looks at the boxes of predictions."""

    def __init__(self, settings: Any, context: Context, area: Area | None = None, hold: float = 0.0) -> None:
        """`settings`: PostSettings, or AreaSettings without an `area`; `hold`: seconds for which it must be so.

        Raises:
            ConfigProblem: a setting makes no sense, or the bundle's predictions have no boxes.
        """
        if self.boxes and not context.boxes:
            hint = "take a bundle that finds things, or use presence"
            raise ConfigProblem(f"{settings.use}: the bundle does not say where in the picture it sees what", hint=hint)
        self.name: str = settings.called
        self.area = area or Area(self.name, settings.polygon, settings.zones)
        self.schedule = Schedule(settings.hours, settings.days, context.timezone)
        sender = Sender(self.name, context.model, settings.priority, settings.update, self.counts)
        self.episodes = Episodes(sender, settings.inertia, hold)
        self.last = float("-inf")

    def back(self, frame: Frame) -> bool:
        """Whether time has gone back since the frame before: what is open then ends, as it does outside the hours."""
        back, self.last = frame.taken < self.last, frame.taken
        return back

    def counts(self) -> dict[str, int]:
        """What is told of all things with every message."""
        return {}
