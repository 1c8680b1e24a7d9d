"""From events and status reports to Frigate's payloads: pure functions.

One of our events is one of Frigate's tracked objects. Scores of anomalies have a unit of their own; Frigate's lie in
0…1, so score s with the threshold t becomes s / (s + t): 0.5 at the threshold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ..bundle.manifest import Manifest
from ..config.integration_tables import FrigateSettings
from ..events.event import SubjectState
from ..inference.prediction import Box, Prediction
from ..monitoring.status import StatusReport
from . import PublishedEvent
from .frigate_messages import (
    CameraStats,
    Change,
    DetectorStats,
    Review,
    ReviewData,
    ReviewMessage,
    ServiceStats,
    Snapshot,
    StatsMessage,
    TrackedObject,
)

_WHOLE_FRAME = Box(0.0, 0.0, 1.0, 1.0)
_TASKS_WITH_SHARES = ("detect", "classify")  # their scores are shares already


def seconds(time: str) -> float:
    """A time of RFC 3339 in seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


def make_id(event: str, digits: slice = slice(-6, None)) -> str:
    """An id as Frigate writes them, from the UUIDv7 of an event: seconds, and six characters of the random part."""
    text = UUID(event).hex
    return f"{int(text[:12], 16) / 1000:.6f}-{text[digits]}"


def make_topic_level(label: str) -> str:
    """A label as a level of a topic."""
    return re.sub(r"[/+#\x00-\x1f\x7f]", "_", label)


def scale_score(score: float, manifest: Manifest) -> float:
    """A score in 0…1."""
    if manifest.task in _TASKS_WITH_SHARES:
        return round(min(max(score, 0.0), 1.0), 6)
    positive = max(score, 0.0)
    return round(positive / (positive + manifest.threshold), 6) if manifest.threshold > 0 else min(positive, 1.0)


def make_tracked_object(event: PublishedEvent, manifest: Manifest, settings: FrigateSettings) -> TrackedObject:
    """The state after an event."""
    message = event.message
    data = message.data
    subject = data.after or _describe_subject(data.predictions, event.rule)
    box = subject.box or next((each.box for each in data.predictions if each.box is not None), None) or _WHOLE_FRAME
    left, top, right, bottom = pixels = _scale_box(box, settings)
    width, height = right - left, bottom - top
    moment, score = seconds(message.time), scale_score(subject.score, manifest)
    has_picture = data.evidence is not None
    snapshot = Snapshot(moment, pixels, width * height, pixels, score) if has_picture else None
    return TrackedObject(
        id=make_id(data.event),
        camera=event.camera,
        frame_time=moment,
        snapshot=snapshot,
        label=subject.label or event.rule,
        top_score=scale_score(data.top_score, manifest),
        start_time=seconds(data.started),
        end_time=moment if data.kind == "end" else None,
        score=score,
        box=pixels,
        area=width * height,
        ratio=round(width / height, 6),
        region=(0, 0, settings.width, settings.height),
        current_zones=() if data.kind == "end" else subject.zones,
        entered_zones=subject.entered_zones or subject.zones,
        has_snapshot=has_picture,
        active=data.kind != "end",
        current_estimated_speed=subject.speed or 0.0,
        average_estimated_speed=subject.speed or 0.0,
    )


def _describe_subject(predictions: Sequence[Prediction], rule: str) -> SubjectState:
    """The prediction of the highest score, for a rule that does not describe its subject."""
    best = max(predictions, key=lambda each: each.score, default=None)
    return SubjectState(label=rule) if best is None else SubjectState(best.label, best.score, best.box)


def _scale_box(box: Box, settings: FrigateSettings) -> tuple[int, int, int, int]:
    left, top = round(box.left * settings.width), round(box.top * settings.height)
    right, bottom = round(box.right * settings.width), round(box.bottom * settings.height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def make_review(event: str, objects: Sequence[TrackedObject], start: float, end: float | None) -> Review:
    """The review item of the objects that were there since its start.

    Args:
        event: id of our event that began it
        objects: all of them, in order
        start: seconds since 1970
        end: seconds since 1970; None: it goes on
    """
    data = ReviewData(
        detections=tuple(dict.fromkeys(each.id for each in objects)),
        objects=tuple(dict.fromkeys(each.label for each in objects)),
        zones=tuple(dict.fromkeys(zone for each in objects for zone in each.entered_zones)),
    )
    identifier = make_id(event, slice(-12, -6))
    return Review(id=identifier, camera=objects[0].camera, start_time=start, end_time=end, data=data)


def make_review_message(before: Review | None, after: Review) -> ReviewMessage | None:
    """The message about a changed review item; None: nothing changed."""
    if before is None:
        return ReviewMessage("new", after, after)
    if before == after:
        return None
    kind: Change = "update" if after.end_time is None else "end"
    return ReviewMessage(kind, before, after)


def make_stats(report: StatusReport, version: str, pid: int, now: float) -> StatsMessage:
    """The statistics of one camera.

    Args:
        report: its status report
        version: of this program
        pid: of this process
        now: seconds since 1970
    """
    rate = report.frames_per_second or 0.0
    share = report.skipped / report.frames if report.frames else 0.0
    inferred = rate * (1 - share)
    speed = 1000 * (report.duty or 0.0) / inferred if inferred else 0.0
    camera = CameraStats(
        camera_fps=round(rate, 2),
        process_fps=round(inferred, 2),
        skipped_fps=round(rate - inferred, 2),
        detection_fps=round(inferred, 2),
        pid=pid,
        capture_pid=pid,
        ffmpeg_pid=pid,
    )
    temperatures = {} if report.temperature is None else {"device": report.temperature}
    return StatsMessage(
        cameras={report.camera: camera},
        detectors={"vedette": DetectorStats(round(speed, 2), 0.0, pid)},
        detection_fps=round(inferred, 2),
        cpu_usages={},
        gpu_usages={},
        service=ServiceStats(int(report.uptime_seconds), version, version, {}, temperatures, int(now)),
    )
