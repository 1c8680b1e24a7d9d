"""Parts that were rejected, or passed with a warning, as events that a person can look at and judge."""

from __future__ import annotations

import msgspec

from ..inference.prediction import Prediction
from .event import Event, SystemEvent
from .part_verdict import PartVerdict

RULE = "part"
_SHOWN = ("reject", "warn")


def read_part(message: SystemEvent) -> PartVerdict | None:
    """The verdict on a part that a list of events shows; None: the message is another one."""
    if (message.rule, message.kind) != (RULE, "verdict"):
        return None
    try:
        verdict = msgspec.convert(message.facts, PartVerdict)
    except msgspec.ValidationError:  # it was too large, and lost its facts
        return None
    return verdict if verdict.verdict in _SHOWN else None


def as_messages(message: SystemEvent, verdict: PartVerdict) -> tuple[Event, Event]:
    """The beginning and the end of the event of a part: both at its verdict. Its regions are the predictions."""
    score = 0.0 if verdict.score is None else verdict.score
    label = verdict.label or verdict.verdict
    found = tuple(
        Prediction(each.label or label, each.score or 0.0, each.box, area=each.name or None) for each in verdict.regions
    )
    began = Event(
        id=message.id,
        event=message.id,
        camera=message.camera,
        rule=RULE,
        kind="new",
        taken=message.taken,
        frame=0,
        started=message.taken,
        top_score=score,
        predictions=found or (Prediction(label, score),),
        model=f"{verdict.product}:{verdict.release}" if verdict.release else verdict.product,
    )
    return began, msgspec.structs.replace(began, kind="end", predictions=())
