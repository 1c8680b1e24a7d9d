"""Triggers by software: a part that enters a zone of the picture (`source = "presence"`).

A light barrier at the belt is more precise: here the trigger has the time of a frame, so a part may be a frame's time
farther than the last one, and a frame that comes while the model computes is not seen at all.
"""

from __future__ import annotations

from ...camera.frame import Frame
from ...config.configuration import Config
from ..handshake import Outputs
from ..zone_presence import ZonePresence
from . import LineInputs

_STUCK_SECONDS = 60.0
_COVERED = "something is in the zone of presence for a minute, or the light has changed"


class PresenceTrigger:
    """The adapter `presence`; it has no outputs of its own."""

    def __init__(self, settings: Config) -> None:
        assert settings.trigger is not None
        assert settings.trigger.presence is not None
        self.zone = ZonePresence(settings.trigger.presence)
        self.fault = "the empty scene is being learned"

    def start(self, inputs: LineInputs) -> None:
        self.inputs = inputs

    def see_frame(self, frame: Frame, exposed: float) -> None:
        """Triggers if a part has entered the zone. The zone goes by the frames' own times, as a recording needs it."""
        if self.zone.see(frame.pixels, frame.moment):
            self.inputs.trigger(at=exposed)
        if self.zone.is_learned:
            covered = frame.moment - self.zone.covered_since >= _STUCK_SECONDS
            self.fault = _COVERED if covered else ""

    def show(self, outputs: Outputs) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
