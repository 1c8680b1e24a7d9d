"""Events about the device itself in words (`events/system_events.py` lists them)."""

from __future__ import annotations

from typing import Any

from ..events.event import SystemEvent
from .health_words import Level, format_seconds
from .translation import Translation

_GOOD = {
    *("camera.recovered", "camera.view_back", "model.accepted", "device.cool"),
    *("golden_part.passed", "fleet.installed", "config.applied"),
}
_NEUTRAL = {"fleet.accepted", "golden_part.begun", "golden_part.acknowledged"}


def kind_of(notice: SystemEvent) -> str:
    """RULE.KIND, as in the table of events."""
    return f"{notice.rule}.{notice.kind}"


def level_of(notice: SystemEvent) -> Level:
    """How much a notice matters."""
    kind = kind_of(notice)
    if kind in _GOOD or (kind == "model.drift" and not notice.facts.get("drifted")):
        return "good"
    return "off" if kind in _NEUTRAL else "watch"


def describe_notice(notice: SystemEvent, _: Translation) -> str:
    """What happened, in a sentence; reasons stay as the device states them, in English."""
    kind, facts = kind_of(notice), notice.facts
    for describe in (_model, _camera, _delivery, _machine, _change, _golden_part):
        if (text := describe(kind, facts, _)) is not None:
            return text
    return f"{notice.rule} {notice.kind}"


def _model(kind: str, facts: dict[str, Any], _: Translation) -> str | None:
    if kind == "model.accepted":
        return _("Release %(release)s kept to its probation, and stays.", release=facts.get("release"))
    if kind == "model.rolled_back":
        text = _(
            "Release %(left)s did not keep to its probation; release %(release)s runs again.",
            left=facts.get("left"),
            release=facts.get("release"),
        )
        return _with_reason(text, facts)
    if kind == "model.drift":
        if facts.get("drifted"):
            return _("The scores of good parts have left their usual band.")
        return _("The scores of good parts lie in their usual band again.")
    return None


def _camera(kind: str, facts: dict[str, Any], _: Translation) -> str | None:
    if kind == "camera.recovered":
        lasted = format_seconds(float(facts.get("seconds", 0)), _)
        return _("The camera shows usable pictures again, after %(time)s.", time=lasted)
    texts = {
        "camera.stalled": _("The camera sends no pictures."),
        "camera.frozen": _("The picture of the camera does not change any more."),
        "camera.dark": _("The picture is too dark."),
        "camera.bright": _("The picture is too bright."),
        "camera.blurred": _("The picture is out of focus."),
        "camera.moved": _("The camera was moved, or something covers it."),
        "camera.view_moved": _("The camera was moved a little; its privacy masks follow."),
        "camera.view_lost": _("The camera looks elsewhere than its privacy masks need, so no picture is shown."),
        "camera.view_back": _("The privacy masks lie where they should again."),
    }
    return texts.get(kind)


def _delivery(kind: str, facts: dict[str, Any], _: Translation) -> str | None:
    if kind == "outbox.evicted":
        return _("The outbox was full: %(count)s events were deleted undelivered.", count=facts.get("count"))
    texts = {
        "outbox.recovered": _(
            "The file of the outbox was damaged; %(saved)s events were saved.", saved=facts.get("saved", 0)
        ),
        "outbox.truncated": _("An event was too large; its predictions of the lowest scores were left out."),
        "outbox.volatile": _("Events wait in memory: a power cut loses them."),
        "broker.refused": _("The broker refuses an event."),
        "broker.duplicate_identity": _("Another client seems to have the same name at the broker."),
        "sink.refused": _("The sink %(sink)s refuses an event.", sink=facts.get("sink", "")),
    }
    return None if kind not in texts else _with_reason(texts[kind], facts)


def _machine(kind: str, facts: dict[str, Any], _: Translation) -> str | None:
    if kind == "device.hot" and (temperature := facts.get("temperature")) is not None:
        return _("The device is hot (%(degrees)s °C) and looks at fewer frames.", degrees=f"{temperature:.0f}")
    texts = {
        "device.hot": _("The device is hot and looks at fewer frames."),
        "device.cool": _("The device has cooled down."),
        "device.undervoltage": _("The power supply is too weak."),
    }
    return texts.get(kind)


def _change(kind: str, facts: dict[str, Any], _: Translation) -> str | None:
    what = f"{facts.get('product', '')} {facts.get('release', '')}".strip()
    texts = {
        "fleet.accepted": _("An order of the fleet is carried out: %(what)s.", what=what),
        "fleet.installed": _("An order of the fleet was carried out: %(what)s.", what=what),
        "fleet.rolled_back": _("By an order of the fleet, the release before runs again: %(what)s.", what=what),
        "fleet.failed": _("An order of the fleet failed: %(what)s.", what=what),
        "fleet.refused": _("Orders of the fleet are refused."),
        "config.applied": _("The camera's settings were changed."),
        "config.refused": _("A change of the camera's settings was refused."),
        "config.rolled_back": _("A change of the camera's settings was taken back."),
    }
    if kind not in texts:
        return None
    changed = facts.get("changed")
    text = f"{texts[kind]} ({', '.join(changed)})" if changed else texts[kind]
    return _with_reason(text, facts)


def _golden_part(kind: str, _facts: dict[str, Any], _: Translation) -> str | None:
    texts = {
        "golden_part.locked": _("The line is locked until reference parts are judged right."),
        "golden_part.begun": _("A check with reference parts has begun."),
        "golden_part.passed": _("All reference parts were judged right."),
        "golden_part.failed": _("A reference part was judged wrong; the line is locked."),
        "golden_part.acknowledged": _("Somebody has acknowledged the failed check."),
    }
    return texts.get(kind)


def _with_reason(text: str, facts: dict[str, Any]) -> str:
    reason = facts.get("reason") or facts.get("detail") or facts.get("hint")
    return f"{text} {reason}" if reason else text
