"""The status of a camera in words: one sentence that says how it is, and the facts behind it.

The daemon states its faults in English; those that it can state are in the catalogues word by word.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec.structs import asdict

from ..calibration.drift import WINDOW, DriftFigures
from ..line.line_figures import VerdictCounts
from ..monitoring.status import StatusReport
from .plain_number import format_plain
from .translation import Translation

Level = Literal["good", "watch", "bad", "off"]
FEW_SCORES = 30
"""Below so many, shares say nothing."""
MAX_PRODUCTS = 12
"""Products that are shown one by one."""
_NUMBER = re.compile(r"\d+")


class Fact(msgspec.Struct, frozen=True):
    """One line of a camera's card."""

    name: str
    value: str
    level: Level = "good"


class CameraHealth(msgspec.Struct, frozen=True):
    """How a camera is."""

    camera: str
    level: Level
    headline: str
    faults: tuple[str, ...]
    facts: tuple[Fact, ...]

    def add_fact(self, fact: Fact, _: Translation) -> CameraHealth:
        """With a further fact, first, that needs attention."""
        level: Level = "watch" if self.level == "good" else self.level
        headline = _headlines(_)[level] if level != self.level else self.headline
        return msgspec.structs.replace(self, level=level, headline=headline, facts=(fact, *self.facts))


def describe_missing(camera: str, reason: str, hint: str, _: Translation) -> CameraHealth:
    """A camera whose daemon does not answer.

    Args:
        camera: its name
        reason: why nothing is known; empty: it does not run
        hint: what to do
        _: the reader's language
    """
    headline = reason or _("It is not running.")
    advice = _("After a change it starts again within seconds. Otherwise, on the device:")
    facts = (Fact(_("What to do"), hint or f"{advice} systemctl status vedette@{camera}", "watch"),)
    return CameraHealth(camera, "bad" if reason else "off", headline, (), facts)


def describe_report(report: StatusReport, _: Translation, has_broker: bool = True) -> CameraHealth:
    """A camera whose daemon has answered.

    Args:
        report: its answer
        _: the reader's language
        has_broker: False: `broker = "none:"`, only sinks get its events
    """
    facts = [
        *_work(report, _),
        *_parts(report, _),
        *_delivery(report, _, has_broker),
        *_model(report, _),
        *_machine(report, _),
    ]
    faults = tuple(_translate_fault(fault, _) for fault in report.faults)
    levels = [fact.level for fact in facts]
    level: Level = "bad" if faults else "watch" if "watch" in levels or "bad" in levels else "good"
    return CameraHealth(report.camera, level, _headlines(_)[level], faults, tuple(facts))


def _headlines(_: Translation) -> dict[Level, str]:
    return {
        "good": _("Everything works."),
        "watch": _("It works; something needs attention."),
        "bad": _("Something is wrong."),
    }


def format_seconds(seconds: float, _: Translation) -> str:
    """A duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d d %(hours)d h", days=days, hours=hours)
    if hours:
        return _("%(hours)d h %(minutes)d min", hours=hours, minutes=minutes)
    if minutes:
        return _("%(minutes)d min %(seconds)d s", minutes=minutes, seconds=rest)
    return _("%(seconds)s s", seconds=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")


def format_bytes(count: float) -> str:
    """A number of bytes in its largest unit of a thousand."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{format_plain(count)} {unit}"
        count /= 1000
    return f"{format_plain(count)} GB"


def describe_shares(drift: DriftFigures, _: Translation) -> str:
    """Where the scores of good parts lie, and of how many this is said."""
    shares = {"above": f"{drift.share_above:.0%}", "below": f"{drift.share_below:.0%}"}
    if drift.samples < FEW_SCORES and not drift.drifted:
        return _("only %(number)s scores so far, too few to say", number=drift.samples)
    text = _("%(above)s above and %(below)s below the usual band (10%% each are usual)", **shares)
    return f"{text}, " + _("of the last %(number)s scores", number=min(drift.samples, WINDOW))


def _translate_fault(fault: str, _: Translation) -> str:
    """A fault of the daemon; a number in it is kept. One that the catalogue lacks stays as the daemon states it."""
    number, pattern = _NUMBER.search(fault), _NUMBER.sub("%(number)s", fault, count=1)
    if number is not None and pattern in _.catalogue:
        return _(pattern, number=number[0])
    return _(fault)


def _work(report: StatusReport, _: Translation) -> list[Fact]:
    rate, latency = report.frames_per_second, report.latency_ms
    running = format_seconds(report.uptime_seconds, _)
    facts = [Fact(_("Running for"), _("%(time)s, %(frames)s frames", time=running, frames=report.frames))]
    if rate is not None:
        facts.append(Fact(_("Frame rate"), _("%(rate)s frames per second", rate=f"{rate:.1f}")))
    if latency:
        typical, slow = f"{latency.get('p50', 0):.0f}", f"{latency.get('p95', 0):.0f}"
        facts.append(
            Fact(_("Time per frame"), _("%(typical)s ms, 95 of 100 at most %(slow)s ms", typical=typical, slow=slow))
        )
    if report.skipped:
        text = _("%(skipped)s of %(frames)s frames, nothing moved", skipped=report.skipped, frames=report.frames)
        facts.append(Fact(_("Skipped by the motion gate"), text))
    if (pictures := report.pictures) is not None and (pictures.trouble or pictures.restarts):
        text = _(
            "%(restarts)s restarts, %(dropped)s frames dropped", restarts=pictures.restarts, dropped=pictures.dropped
        )
        facts.append(Fact(_("Camera"), f"{text}; {pictures.trouble}" if pictures.trouble else text, "watch"))
    return facts


def _parts(report: StatusReport, _: Translation) -> list[Fact]:
    if (line := report.line) is None:
        return []
    facts = [Fact(_("Parts"), _describe_counts(line.verdicts, _))]
    if len(line.products) > 1:
        facts.append(Fact(_("Product on the line"), line.product))
    for each in line.products[: MAX_PRODUCTS if len(line.products) > 1 else 0]:
        name = _("Product %(index)s, %(name)s", index=each.index, name=each.name)
        if each.release:
            text = _("release %(release)s: %(counts)s", release=each.release, counts=_describe_counts(each.verdicts, _))
            if each.drift is not None and each.drift.drifted:
                text = f"{text}; {_('drifted: recalibrate, or find out what changed')}"
                facts.append(Fact(name, text, "watch"))
            else:
                facts.append(Fact(name, text))
        else:
            facts.append(Fact(name, _("its model is not loaded; its parts are errors"), "bad"))
    return facts


def _describe_counts(counts: VerdictCounts, _: Translation) -> str:
    return _("%(accept)s accepted, %(warn)s to review, %(reject)s rejected, %(error)s errors", **asdict(counts))


def _delivery(report: StatusReport, _: Translation, has_broker: bool) -> list[Fact]:
    if has_broker:
        text = _("connected") if report.connected else _("no connection; events wait and none is lost")
        waiting = _("%(waiting)s wait, %(dead)s refused by the broker", waiting=report.backlog, dead=report.dead)
        facts = [
            Fact(_("Broker"), text, "good" if report.connected else "watch"),
            Fact(_("Outbox"), waiting, "watch" if report.dead else "good"),
        ]
    else:
        text = _("none; the receivers below get the events") if report.sinks else _("none; events stay on this device")
        facts = [Fact(_("Broker"), text)]
    for sink in report.sinks:
        counts = _("%(waiting)s wait, %(dead)s refused", waiting=sink.backlog, dead=sink.dead)
        level: Level = "watch" if sink.trouble or sink.dead else "good"
        name = _("Receiver %(name)s", name=sink.name)
        facts.append(Fact(name, f"{counts}; {sink.trouble}" if sink.trouble else counts, level))
    facts.append(Fact(_("Events since the start"), str(report.events)))
    if (evidence := report.evidence) is not None:
        text = _("%(files)s files, %(size)s", files=evidence.files, size=format_bytes(evidence.bytes))
        if evidence.waiting:
            text += "; " + _("%(waiting)s wait for upload", waiting=evidence.waiting)
        trouble = evidence.unwritable or evidence.trouble
        facts.append(Fact(_("Evidence"), f"{text}; {trouble}" if trouble else text, "watch" if trouble else "good"))
    return facts


def _model(report: StatusReport, _: Translation) -> list[Fact]:
    facts = [Fact(_("Model"), report.model), Fact(_("Back end"), report.backend)]
    if report.probation is not None:
        facts.append(Fact(_("New release"), report.probation, "watch"))
    if report.recalibration is not None:
        facts.append(Fact(_("Recalibrated"), report.recalibration))
    if (drift := report.drift) is not None and drift.samples:
        verdict = _("drifted: recalibrate, or find out what changed") if drift.drifted else _("no drift is proven")
        text = f"{verdict}; {describe_shares(drift, _)}"
        facts.append(Fact(_("Scores of good parts"), text, "watch" if drift.drifted else "good"))
    return facts


def _machine(report: StatusReport, _: Translation) -> list[Fact]:
    facts = [Fact(_("Memory"), f"{report.memory_mb:.0f} MB")]
    if report.temperature is not None:
        level: Level = "watch" if report.slowness > 1 else "good"
        text = f"{report.temperature:.0f} °C"
        if report.slowness > 1:
            text += "; " + _("fewer frames, to stay cool")
        facts.append(Fact(_("Temperature"), text, level))
    if report.throttled:
        facts.append(Fact(_("Power and heat"), ", ".join(report.throttled), "watch"))
    return facts
