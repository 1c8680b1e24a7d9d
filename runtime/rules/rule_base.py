"""What all rules about places and movement share: settings, area, schedule and event lifecycles."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..camera.frame import Frame, FrameTime
from ..config.configuration import Name
from ..config.polygon import Polygon
from ..errors import ConfigProblem
from ..events.event import DEFAULT_PRIORITY, Quantity
from . import RuleContext
from .conditions.region import RuleArea
from .conditions.schedule import Schedule
from .open_event import OpenEvent
from .state.event_lifecycle import EventLifecycle, EventLifecycles, EventTemplate
from .state.update_interval import UpdateSettings

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]


class BaseRuleSettings(UpdateSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of each of these rules in its `[[rules]]` table."""

    use: str
    name: Name = ""
    """Name of the rule, in the topic of its events; empty: the value of `use`."""
    labels: tuple[str, ...] | None = None
    """Only predictions of these labels count; None: of all but `normal` ones and `unknown`."""
    min_score: float | None = None
    """Score that an object must have reached once to count; None: the bundle's threshold."""
    hours: str | tuple[str, ...] | None = None
    """Hours in which the rule is active, such as `22:00-06:00`; None: all."""
    days: tuple[str, ...] | None = None
    """Days on which the rule is active, such as `mon`; None: all."""
    inertia: NotNegative = 0.5
    """Seconds for which all frames must agree before a change counts (debounce)."""
    priority: Priority = DEFAULT_PRIORITY
    """Events of lower priority are dropped first if the outbox is full."""

    @property
    def event_name(self) -> str:
        return self.name or self.use


class AreaRuleSettings(BaseRuleSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a rule that applies to a part of the frame."""

    polygon: Polygon | None = None
    """[x, y] of each corner, fractions 0…1; None: the whole frame."""
    zones: dict[Name, Polygon] = msgspec.field(default_factory=dict)
    """Several polygons, by name."""


class RuleBase:
    """The parts of a rule that follow from its settings."""

    needs_boxes = True
    """True if the rule needs the boxes of predictions."""

    def __init__(
        self, settings: Any, context: RuleContext, area: RuleArea | None = None, min_seconds: float = 0.0
    ) -> None:
        """Takes AreaRuleSettings, or BaseRuleSettings with an `area`, and the seconds for which the condition must
        hold.

        Raises:
            ConfigProblem: a setting is invalid, or the bundle's predictions have no boxes.
        """
        if self.needs_boxes and not context.has_boxes:
            hint = "take a bundle that locates objects, or use presence"
            raise ConfigProblem(f"{settings.use}: the predictions of this bundle have no boxes", hint=hint)
        self.name: str = settings.event_name
        self.area = area or RuleArea(self.name, settings.polygon, settings.zones)
        self.least_score: float = context.threshold if settings.min_score is None else settings.min_score
        self.schedule = Schedule(settings.hours, settings.days, context.timezone)
        template = EventTemplate(self.name, context.model, settings.priority, settings, self.counts, self.present_time)
        self.lifecycles = EventLifecycles(template, settings.inertia, min_seconds)
        self.last_time = FrameTime(float("-inf"), float("-inf"))

    def time_went_back(self, frame: Frame) -> bool:
        """True if the moments of the frames went back; open events then end, as they do outside the schedule."""
        back, self.last_time = frame.moment < self.last_time.moment, frame.time
        return back

    def present_time(self) -> FrameTime:
        """Time of the newest frame, by which the times of events are given."""
        return self.last_time

    def counts(self) -> dict[str, int]:
        """The counts that every event of the rule carries."""
        return {}

    def open_events(self) -> list[OpenEvent]:
        """The open events of the rule, each with what `measure` says."""
        return [self._describe(each) for each in self.lifecycles.open_events.values() if each.event]

    def measure(self, opened: EventLifecycle) -> tuple[Quantity, float, float, str]:
        """Why an event is open: what is measured, its value in the last frame with the condition, its limit, and their
        unit. By default the highest score so far, which must have reached `min_score`.
        """
        return "score", opened.top_score, self.least_score, ""

    def _describe(self, opened: EventLifecycle) -> OpenEvent:
        quantity, measured, limit, unit = self.measure(opened)
        return OpenEvent(
            rule=self.name,
            event=opened.event,
            since=opened.started.by_clock_at(self.last_time),
            quantity=quantity,
            measured=measured,
            limit=limit,
            label=opened.state.label,
            zones=tuple(zone for zone in opened.state.zones if zone != self.name),
            track=opened.predictions[0].track if len(opened.predictions) == 1 else None,
            unit=unit,
        )
