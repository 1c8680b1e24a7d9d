"""The payloads of Frigate, after the MQTT page of its documentation (0.17, docs.frigate.video/integrations/mqtt)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Change = Literal["new", "update", "end"]


class Snapshot(msgspec.Struct, frozen=True):
    """The best view of a tracked object so far."""

    frame_time: float
    box: tuple[int, int, int, int]
    area: int
    region: tuple[int, int, int, int]
    score: float
    attributes: tuple[dict[str, Any], ...] = ()


class TrackedObject(msgspec.Struct, frozen=True, kw_only=True):
    """`before` and `after` of `frigate/events`."""

    id: str
    camera: str
    frame_time: float
    snapshot: Snapshot | None
    label: str
    sub_label: tuple[str, float] | None = None
    top_score: float
    """0…1, like all scores."""
    false_positive: bool = False
    start_time: float
    """Seconds since 1970, UTC, like all times."""
    end_time: float | None
    score: float
    box: tuple[int, int, int, int]
    """Left, top, right, bottom, in pixels of the configured size."""
    area: int
    ratio: float
    """Width by height."""
    region: tuple[int, int, int, int]
    current_zones: tuple[str, ...]
    entered_zones: tuple[str, ...]
    thumbnail: str | None = None
    has_snapshot: bool
    has_clip: bool = False
    active: bool = True
    stationary: bool = False
    motionless_count: int = 0
    position_changes: int = 0
    attributes: dict[str, float] = {}
    current_attributes: tuple[dict[str, Any], ...] = ()
    current_estimated_speed: float
    average_estimated_speed: float
    velocity_angle: float = 0.0
    recognized_license_plate: str | None = None
    recognized_license_plate_score: float | None = None


class EventMessage(msgspec.Struct, frozen=True):
    """Payload of `frigate/events`."""

    type: Change
    before: TrackedObject
    after: TrackedObject


class ReviewData(msgspec.Struct, frozen=True):
    """`data` of a review item."""

    detections: tuple[str, ...]
    """Ids of the tracked objects."""
    objects: tuple[str, ...]
    """Their labels."""
    zones: tuple[str, ...]
    sub_labels: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """`before` and `after` of `frigate/reviews`: a span of time in which there was always an open event."""

    id: str
    camera: str
    start_time: float
    end_time: float | None
    severity: Literal["alert", "detection"] = "alert"
    thumb_path: str = ""
    data: ReviewData


class ReviewMessage(msgspec.Struct, frozen=True):
    """Payload of `frigate/reviews`."""

    type: Change
    before: Review
    after: Review


class CameraStats(msgspec.Struct, frozen=True):
    """A camera in `frigate/stats`."""

    camera_fps: float
    process_fps: float
    skipped_fps: float
    detection_fps: float
    pid: int
    capture_pid: int
    ffmpeg_pid: int
    detection_enabled: bool = True
    audio_rms: float = 0.0
    audio_dBFS: float = 0.0  # noqa: N815  # Frigate's name


class DetectorStats(msgspec.Struct, frozen=True):
    """A detector in `frigate/stats`."""

    inference_speed: float
    """Milliseconds for an inference."""
    detection_start: float
    pid: int


class ServiceStats(msgspec.Struct, frozen=True):
    """`service` of `frigate/stats`."""

    uptime: int
    version: str
    latest_version: str
    storage: dict[str, Any]
    temperatures: dict[str, float]
    last_updated: int


class StatsMessage(msgspec.Struct, frozen=True):
    """Payload of `frigate/stats`."""

    cameras: dict[str, CameraStats]
    detectors: dict[str, DetectorStats]
    detection_fps: float
    cpu_usages: dict[str, dict[str, str]]
    gpu_usages: dict[str, dict[str, str]]
    service: ServiceStats
