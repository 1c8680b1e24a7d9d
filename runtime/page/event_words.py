"""Why an event was reported, in words: what its rule looks for, and what it measured beside its limit."""

from __future__ import annotations

from ..config.configuration import Config
from ..events.part_verdict import PartVerdict
from .event_records import EventRecord
from .plain_number import format_plain
from .translation import Translation


def rule_uses(config: Config) -> dict[str, str]:
    """`use` of each rule of a camera's file, by the rule's name."""
    return {str(rule.get("name", rule.get("use", ""))): str(rule.get("use", "")) for rule in config.rules}


def describe_event(record: EventRecord, use: str, _: Translation) -> str:
    """Why an event was reported.

    Args:
        record: the event
        use: `use` of its rule; empty: the camera's file has the rule no more
        _: the reader's language
    """
    if record.part is not None:
        return _describe_part(record.part, _)
    found = _sentences(_).get(use) or _("The rule %(name)s reported it.", name=record.rule)
    measured = describe_measurement(record, _)
    return f"{found} {measured}".strip()


def describe_measurement(record: EventRecord, _: Translation) -> str:
    """What the rule of an event measured at most, beside its limit; empty: it has none, or the event is too old."""
    reasons = [message.reason for message in record.messages if message.reason is not None]
    if not reasons:
        return ""
    quantity, limit, unit = reasons[0].quantity, reasons[0].limit, reasons[0].unit
    if quantity == "score":
        top = record.last.top_score
        return _(
            "Highest score %(measured)s, %(distance)s above the limit %(limit)s.",
            measured=format_plain(top),
            distance=format_plain(max(0.0, top - limit), 2),
            limit=format_plain(limit),
        )
    measured = format_plain(max(each.measured for each in reasons))
    values = {"measured": measured, "limit": format_plain(limit)}
    if quantity == "objects":
        return _("%(measured)s objects; the limit is %(limit)s.", **values)
    return _("%(measured)s %(unit)s; the limit is %(limit)s %(unit)s.", **values, unit=unit)


def _describe_part(part: PartVerdict, _: Translation) -> str:
    score = "–" if part.score is None else format_plain(part.score)
    if part.verdict == "reject":
        return _("The part was rejected: its score %(score)s reached the threshold.", score=score)
    return _("The part passed with a warning: its score %(score)s reached the limit of warnings.", score=score)


def _sentences(_: Translation) -> dict[str, str]:
    """What a rule looks for, by its `use`."""
    return {
        "presence": _("The score stayed at or above the limit."),
        "zone": _("An object was in the zone."),
        "intrusion": _("An object entered the zone."),
        "crossing": _("An object crossed the line."),
        "dwell": _("An object stayed too long."),
        "crowd": _("Too many objects were there at once."),
        "queue": _("Too many waited."),
        "tailgate": _("One followed another too soon."),
        "wrong_way": _("An object moved against the permitted direction."),
        "speed": _("An object was too fast."),
        "running": _("Somebody ran."),
        "lying": _("Somebody lay on the ground."),
        "fall": _("Somebody fell."),
        "left_object": _("An object was left behind."),
        "removed_object": _("An object was taken away."),
    }
