"""Events for tests that only store or send them."""

from __future__ import annotations

from vedette.runtime.events.event import Event, new_event_id
from vedette.runtime.inference.prediction import Box, Prediction


def make_event(number: int = 0) -> Event:
    """A new event of the rule `presence` on the frame `number`, with one prediction."""
    identifier = new_event_id()
    predictions = (Prediction("anomaly", 3.5, Box(0.1, 0.2, 0.3, 0.4)),)
    return Event(
        identifier, identifier, "door", "presence", "new", float(number), number, float(number), 3.5, predictions
    )
