"""JSON Schemas of Frigate's messages, written after its documentation, of version 0.17.

https://docs.frigate.video/integrations/mqtt and, for the statistics, https://docs.frigate.video/integrations/api. Each
key that the examples there have is required, and no other is allowed.
"""

from __future__ import annotations

from typing import Any

NUMBER: dict[str, Any] = {"type": "number"}
TEXT: dict[str, Any] = {"type": "string"}
FLAG: dict[str, Any] = {"type": "boolean"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT}
BOX: dict[str, Any] = {"type": "array", "items": COUNT, "minItems": 4, "maxItems": 4}
ID: dict[str, Any] = {"type": "string", "pattern": r"^[0-9]{10}\.[0-9]{6}-[a-z0-9]{6}$"}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def mapping(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


TRACKED_OBJECT = closed(
    id=ID,
    camera=TEXT,
    frame_time=NUMBER,
    snapshot=optional(
        closed(frame_time=NUMBER, box=BOX, area=COUNT, region=BOX, score=SHARE, attributes={"type": "array"})
    ),
    label=TEXT,
    sub_label=optional({"type": "array", "prefixItems": [TEXT, SHARE], "minItems": 2, "maxItems": 2}),
    top_score=SHARE,
    false_positive=FLAG,
    start_time=NUMBER,
    end_time=optional(NUMBER),
    score=SHARE,
    box=BOX,
    area=COUNT,
    ratio=NUMBER,
    region=BOX,
    current_zones=TEXTS,
    entered_zones=TEXTS,
    thumbnail=optional(TEXT),
    has_snapshot=FLAG,
    has_clip=FLAG,
    active=FLAG,
    stationary=FLAG,
    motionless_count=COUNT,
    position_changes=COUNT,
    attributes=mapping(SHARE),
    current_attributes={"type": "array", "items": closed(label=TEXT, box=BOX, score=SHARE)},
    current_estimated_speed=NUMBER,
    average_estimated_speed=NUMBER,
    velocity_angle=NUMBER,
    recognized_license_plate=optional(TEXT),
    recognized_license_plate_score=optional(SHARE),
)
TYPE = {"enum": ["new", "update", "end"]}
EVENT = closed(type=TYPE, before=TRACKED_OBJECT, after=TRACKED_OBJECT)
REVIEW_ITEM = closed(
    id=ID,
    camera=TEXT,
    start_time=NUMBER,
    end_time=optional(NUMBER),
    severity={"enum": ["alert", "detection"]},
    thumb_path=TEXT,
    data=closed(detections={"type": "array", "items": ID}, objects=TEXTS, sub_labels=TEXTS, zones=TEXTS, audio=TEXTS),
)
REVIEW = closed(type=TYPE, before=REVIEW_ITEM, after=REVIEW_ITEM)
STATS = {
    "type": "object",
    "required": ["cameras", "detection_fps", "detectors", "service"],
    "properties": {
        "cameras": mapping(
            {
                "type": "object",
                "required": ["camera_fps", "detection_fps", "capture_pid", "pid", "process_fps", "skipped_fps"],
                "additionalProperties": NUMBER | {"type": ["number", "boolean"]},
            }
        ),
        "detection_fps": NUMBER,
        "detectors": mapping(closed(inference_speed=NUMBER, detection_start=NUMBER, pid=COUNT)),
        "service": {
            "type": "object",
            "required": ["uptime", "version", "latest_version", "storage"],
            "properties": {"uptime": COUNT, "version": TEXT, "latest_version": TEXT, "storage": mapping({})},
        },
    },
}
BY_TOPIC = {"events": EVENT, "reviews": REVIEW, "stats": STATS}
