"""What our rules and camera faults are called in ONVIF, and the JSON of an event.

Topics and items of rules: ONVIF Analytics Service Specification, annex A "Specified Rules"; of the camera: Imaging
Service Specification and Core Specification. What ONVIF has no rule for goes below the namespace `vedette:`, as Core,
"Topic Structure", asks of vendors. The payload: Core, "JSON Event Payload" and "Property events".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ..events.cloud_event import EventData
from .frigate_mapping import make_topic_level

Item = str | int | float | bool
Items = Mapping[str, Item]

ANALYTICS_CONFIGURATION = "vedette"
PAYLOAD_PREFIX = "onvif-ej"


class RuleTopic(msgspec.Struct, frozen=True):
    """How a rule's events are published."""

    topic: str
    state: str = ""
    """The data item that is true while something is there; empty: the event has none."""
    is_property: bool = True
    """Whether it has a state that lasts, and is retained."""


RULE_TOPICS = {
    "crossing": RuleTopic("RuleEngine/LineDetector/Crossed", is_property=False),
    "crowd": RuleTopic("RuleEngine/vedette:Crowd", "State"),
    "dwell": RuleTopic("RuleEngine/LoiteringDetector/ObjectIsLoitering"),
    "fall": RuleTopic("RuleEngine/vedette:Fall", "State"),
    "intrusion": RuleTopic("RuleEngine/vedette:Intrusion", "State"),
    "left_object": RuleTopic("RuleEngine/vedette:LeftObject", "State"),
    "lying": RuleTopic("RuleEngine/vedette:Lying", "State"),
    "presence": RuleTopic("RuleEngine/ObjectDetection/Object", is_property=False),
    "queue": RuleTopic("RuleEngine/vedette:Queue", "State"),
    "removed_object": RuleTopic("RuleEngine/vedette:RemovedObject", "State"),
    "running": RuleTopic("RuleEngine/vedette:Running", "State"),
    "speed": RuleTopic("RuleEngine/vedette:Speed", "State"),
    "tailgate": RuleTopic("RuleEngine/vedette:Tailgate", is_property=False),
    "wrong_way": RuleTopic("RuleEngine/vedette:WrongWay", "State"),
    "zone": RuleTopic("RuleEngine/FieldDetector/ObjectsInside", "IsInside"),
}
"""By `use` of the rule. `dwell` has no state item: the topic is empty while nobody loiters."""
INSTANT_RULES = ("crossing", "tailgate")
"""Rules whose `new` and `end` come together."""
COUNTER_TOPIC = "RuleEngine/CountAggregation/Counter"
FAULT_TOPICS = {
    "stalled": "VideoSource/SignalLoss",
    "frozen": "VideoSource/vedette:ImageFrozen",
    "dark": "VideoSource/ImageTooDark/ImagingService",
    "bright": "VideoSource/ImageTooBright/ImagingService",
    "blurred": "VideoSource/ImageTooBlurry/ImagingService",
    "moved": "VideoSource/GlobalSceneChange/ImagingService",
}
"""By `KIND` of `vedette.camera.KIND`; data item `State`."""
_CLASSES = {
    "person": "Human",
    "face": "Face",
    "bicycle": "Bicycle",
    "license_plate": "LicensePlate",
    **dict.fromkeys(("car", "truck", "bus", "motorcycle", "van", "train"), "Vehicle"),
    **dict.fromkeys(("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"), "Animal"),
}


class OpenObject(msgspec.Struct, frozen=True):
    """What one open event of a rule is about."""

    track: int | None
    label: str
    started: str


def describe_object(data: EventData) -> OpenObject:
    """The object of an event: its track, and the label with the highest score."""
    best = max(data.predictions, key=lambda each: each.score, default=None)
    label = data.after.label if data.after is not None and data.after.label else best.label if best is not None else ""
    return OpenObject(data.track, label, data.started)


def make_object_items(objects: Iterable[OpenObject]) -> dict[str, Item]:
    """`ObjectId` and `ClassTypes`: lists in one text, in the same order (Analytics, annex A, "Message format")."""
    objects = list(objects)
    items: dict[str, Item] = {"ClassTypes": " ".join(map_class(each.label) for each in objects)}
    if objects and all(each.track is not None for each in objects):
        return {"ObjectId": " ".join(str(each.track) for each in objects)} | items
    return items


def map_class(label: str) -> str:
    """A label as an object type of ONVIF, or itself; it has no blank, because lists are separated by them."""
    return _CLASSES.get(label.lower(), "_".join(label.split()))


def make_topic(prefix: str, topic: str, source: Items) -> str:
    """PREFIX/onvif-ej/TOPIC/&VALUE/VALUE with the values of the source (Core, "Topic Structure")."""
    values = "/".join(make_topic_level(str(value)) for value in source.values())
    return f"{prefix}/{PAYLOAD_PREFIX}/{topic}/&{values}"


def make_payload(time: str, source: Items, data: Items) -> bytes:
    """The JSON of an event. It has no PropertyOperation (Core, "Property events").

    Args:
        time: RFC 3339, UTC
        source: where it comes from
        data: what happened
    """
    return msgspec.json.encode({"UtcTime": time, "Source": source, "Data": data})
