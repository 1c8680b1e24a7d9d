"""Writes the JSON Schemas in docs/schemas and docs/asyncapi.yaml from the types of the messages.

Run it with `make docs`. A test fails while a file differs from the types.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import yaml

from vedette.runtime.bundle.signed_order import SignedOrder
from vedette.runtime.events.cloud_event import CLOUD_EVENTS_TYPE, CloudEvent, EventData
from vedette.runtime.events.event_batch import BATCH_TYPE
from vedette.runtime.events.part_stats import PartStats
from vedette.runtime.events.replay import ReplayAnswer, ReplayCommand
from vedette.runtime.events.system_events import SYSTEM_EVENTS, OmittedFacts
from vedette.runtime.installation.configuration.configuration_order import ConfigurationOrder
from vedette.runtime.installation.orders.installed_products import ProductInfo
from vedette.runtime.installation.orders.order import Order
from vedette.runtime.installation.orders.order_handler import Report
from vedette.runtime.line.adapters.mqtt import AcknowledgeMessage, TriggerMessage
from vedette.runtime.line.golden_messages import GoldenCommand, GoldenStatus
from vedette.runtime.line.golden_order import GoldenOrder
from vedette.runtime.line.handshake import Outputs
from vedette.runtime.monitoring.status import DaemonState, StatusReport
from vedette.runtime.monitoring.status_messages import ClockCorrelation

DOCS = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES: dict[str, Any] = {
    "event": CloudEvent[EventData],
    "info": ProductInfo,
    "state": DaemonState,
    "stats": StatusReport,
    "stats-part": PartStats,
    "time-correlation": ClockCorrelation,
    "line": Outputs,
    "line-trigger": TriggerMessage,
    "line-acknowledge": AcknowledgeMessage,
    "golden-part-command": GoldenCommand,
    "golden-part-order": GoldenOrder,
    "golden-part-status": GoldenStatus,
    "replay-command": ReplayCommand,
    "replay-answer": ReplayAnswer,
    "order": Order,
    "configuration-order": ConfigurationOrder,
    "signed-order": SignedOrder,
    "order-report": Report,
}
"""Type of a message by the name of its schema."""
LEVELS = {
    "prefix": "`[broker] prefix`: one level or several",
    "site": "`[device] site`",
    "area": "`[device] area`",
    "line": "`[device] line`",
    "device": "`[device] name`",
    "camera": "The name of the camera's file",
    "rule": "The name of the rule; `outbox`, `broker`, `camera` and so on in events about the device itself",
    "answer": "Whatever the command named",
}
ROOT = "{prefix}/v1/{site}/{area}/{line}/{device}"


def describe_fields(kind: type) -> dict[str, str]:
    """The docstrings below the fields of a struct, by name of the field."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each is msgspec.Struct or not issubclass(each, msgspec.Struct):
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(node, ast.ClassDef)
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                match text:
                    case ast.Expr(ast.Constant(str(words))):
                        found[field.target.id] = inspect.cleandoc(words).replace("\n", " ")
    return found


def struct_types(kind: Any, found: dict[str, type] | None = None) -> dict[str, type]:
    """All structs that a type is made of, by name."""
    found = {} if found is None else found
    origin = getattr(kind, "__origin__", kind)
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        if origin.__name__ in found:
            return found
        found[origin.__name__] = origin
        for field in msgspec.structs.fields(kind):
            struct_types(field.type, found)
    for part in getattr(kind, "__args__", ()):
        struct_types(part, found)
    return found


def make_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type, with the docstrings of its fields."""
    schema = msgspec.json.schema(kind)
    structs = struct_types(kind)
    for name, definition in schema["$defs"].items():
        struct = structs[name.split("[")[0].split("_")[0]]
        if doc := inspect.cleandoc(struct.__doc__ or ""):
            definition["description"] = doc.replace("\n", " ")
        names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
        for field, text in describe_fields(struct).items():
            definition["properties"][names[field]] = {"description": text, **definition["properties"][names[field]]}
    return {"$schema": DIALECT, **schema}


def make_system_event_schema() -> dict[str, Any]:
    """The JSON Schema of all events about the device itself: `type` selects that of `data`."""
    schema = make_schema(CloudEvent[OmittedFacts])
    (envelope,) = (name for name in schema["$defs"] if name.startswith("CloudEvent"))
    definition = schema["$defs"].pop(envelope)
    del definition["properties"]["modelid"]
    definition["properties"]["data"] = {"type": "object"}
    schema["$defs"]["Envelope"] = definition
    choices = []
    for name, kind in SYSTEM_EVENTS.items():
        schema["$defs"] |= make_schema(kind)["$defs"]
        data = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"}, {"$ref": "#/$defs/OmittedFacts"}]}
        choices.append({"properties": {"type": {"const": f"vedette.{name}"}, "data": data}, "required": ["type"]})
    return {"$schema": DIALECT, "allOf": [{"$ref": "#/$defs/Envelope"}], "oneOf": choices, "$defs": schema["$defs"]}


def make_channel(address: str, text: str, *messages: str) -> dict[str, Any]:
    """A topic with its messages; `address` begins below the device's levels."""
    address = f"{ROOT}/{address}"
    levels = {name: {"description": words} for name, words in LEVELS.items() if f"{{{name}}}" in address}
    named = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {"address": address, "description": text, "messages": named, "parameters": levels}


def make_message(title: str, schema: str, content_type: str = "application/json") -> dict[str, Any]:
    """A message whose payload is described by a file in docs/schemas."""
    payload = {"$ref": f"./schemas/{schema}.json"}
    return {"name": schema, "title": title, "contentType": content_type, "payload": payload}


def make_operation(action: str, channel: str, text: str, retain: bool = False) -> dict[str, Any]:
    """What a device does with a channel: it sends or receives."""
    binding = {"qos": 1, "retain": retain, "bindingVersion": "0.2.0"} if action == "send" else {"qos": 1}
    reference = {"$ref": f"#/channels/{channel}"}
    return {"action": action, "channel": reference, "summary": text, "bindings": {"mqtt": binding}}


def make_asyncapi() -> dict[str, Any]:
    """The AsyncAPI document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vedette device",
            "version": "v1",
            "description": "What the daemon of a camera publishes and takes over MQTT; events.md has it in words.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "plain": {"host": "localhost:1883", "protocol": "mqtt", "protocolVersion": "5"},
            "tls": {"host": "localhost:8883", "protocol": "mqtts", "protocolVersion": "5"},
        },
        "channels": {
            "events": make_channel("evt/{camera}/{rule}", "Events, in order of `sequence`.", "event", "systemEvent"),
            "batches": make_channel("batch/{camera}", "Several events, with `[broker.batch]`.", "batch"),
            "availability": make_channel("availability/{camera}", "Whether the daemon is there.", "availability"),
            "stats": make_channel("stats/{camera}", "The status report, every minute.", "stats"),
            "partStats": make_channel("stats/part/{camera}", "Parts, yield and rejects of the shift.", "partStats"),
            "state": make_channel("state/{camera}", "Open events and faults, at each change.", "state"),
            "thumbnail": make_channel("thumbnail/{camera}", "Only with `[home_assistant] pictures`.", "thumbnail"),
            "timeCorrelation": make_channel("time/correlation/{camera}", "Every minute.", "timeCorrelation"),
            "info": make_channel("info/{camera}", "What runs.", "info"),
            "line": make_channel("line/{camera}", "Signals to the line, with `trigger.source` `mqtt:`.", "line"),
            "trigger": make_channel("cmd/trigger/{camera}", "A part arrives.", "lineTrigger"),
            "acknowledge": make_channel("cmd/acknowledge/{camera}", "The line has read a result.", "lineAcknowledge"),
            "goldenPart": make_channel(
                "cmd/golden-part", "A command about reference parts.", "goldenPartCommand", "signedOrder"
            ),
            "replay": make_channel("cmd/replay", "Asks for delivered events again.", "replayCommand"),
            "install": make_channel("cmd/install", "A signed order of the fleet.", "signedOrder"),
            "configure": make_channel("cmd/configure", "A signed order that changes a camera's file.", "signedOrder"),
            "piece": make_channel("cmd/piece", "A piece of a bundle that the device asked for.", "piece"),
            "answers": make_channel(
                "res/{answer}", "Answers to commands.", "replayAnswer", "goldenPartStatus", "orderReport"
            ),
        },
        "operations": {
            "sendEvent": make_operation("send", "events", "At least once, and never retained."),
            "sendBatch": make_operation("send", "batches", "In place of `sendEvent`; at least once, never retained."),
            "sendAvailability": make_operation("send", "availability", "At each connection; also the last will.", True),
            "sendStats": make_operation("send", "stats", "Every minute.", True),
            "sendPartStats": make_operation("send", "partStats", "When a part got a verdict; at most every 5 s.", True),
            "sendState": make_operation("send", "state", "At each change.", True),
            "sendThumbnail": make_operation("send", "thumbnail", "Before the event that it belongs to.", True),
            "sendTimeCorrelation": make_operation("send", "timeCorrelation", "Once the clock is synchronized.", True),
            "sendInfo": make_operation("send", "info", "At each connection, and when a product is installed.", True),
            "sendLine": make_operation("send", "line", "At each change, and at each connection."),
            "receiveTrigger": make_operation("receive", "trigger", "Each gets one verdict."),
            "receiveAcknowledge": make_operation("receive", "acknowledge", "With `trigger.acknowledge`."),
            "receiveGoldenPart": make_operation("receive", "goldenPart", "With `golden_parts.mqtt`."),
            "receiveReplay": make_operation("receive", "replay", "The answer tells how many events come again."),
            "receiveOrder": make_operation("receive", "install", "Orders are signed, and each is obeyed once."),
            "receiveConfiguration": make_operation("receive", "configure", "As `receiveOrder`, for one camera."),
            "receivePiece": make_operation("receive", "piece", "Only pieces that were asked for are taken."),
            "sendAnswer": make_operation("send", "answers", "On the response topic of the command."),
        },
        "components": {
            "messages": {
                "event": make_message("An event that a rule detected", "event", CLOUD_EVENTS_TYPE),
                "systemEvent": make_message("An event about the device itself", "system-event", CLOUD_EVENTS_TYPE),
                "batch": make_message(
                    "Events in CloudEvents' JSON batch format, plain or gzip (1f 8b first)",
                    "batch",
                    BATCH_TYPE,
                ),
                "availability": {
                    "name": "availability",
                    "title": "Availability",
                    "contentType": "text/plain",
                    "payload": {"type": "string", "enum": ["online", "offline", "stopped"]},
                },
                "stats": make_message("Status report", "stats"),
                "partStats": make_message("Numbers of the shift", "stats-part"),
                "state": make_message("State", "state"),
                "timeCorrelation": make_message("Wall time and boot time of one moment", "time-correlation"),
                "info": make_message("What runs", "info"),
                "line": make_message("Signals to the line", "line"),
                "lineTrigger": make_message("A part arrives", "line-trigger"),
                "lineAcknowledge": make_message("A result was read", "line-acknowledge"),
                "goldenPartCommand": make_message("Command about reference parts", "golden-part-command"),
                "goldenPartStatus": make_message("How the reference parts are", "golden-part-status"),
                "replayCommand": make_message("Replay command", "replay-command"),
                "replayAnswer": make_message("Answer to a replay command", "replay-answer"),
                "signedOrder": make_message(
                    "Signed order; its text is schemas/order.json, configuration-order.json or golden-part-order.json",
                    "signed-order",
                ),
                "orderReport": make_message("Answer to an order", "order-report"),
                "thumbnail": {
                    "name": "thumbnail",
                    "title": "JPEG or WebP, as `[evidence] thumbnail` says",
                    "contentType": "image/jpeg",
                    "payload": {"type": "string", "format": "binary"},
                },
                "piece": {
                    "name": "piece",
                    "title": "16 bytes of the order's nonce, 4 bytes with the number (big endian), data",
                    "contentType": "application/octet-stream",
                    "payload": {"type": "string", "format": "binary"},
                },
            }
        },
    }


def make_files() -> dict[Path, str]:
    """All generated files."""
    schemas = {name: make_schema(kind) for name, kind in TYPES.items()} | {"system-event": make_system_event_schema()}
    event, system_event = ({"$ref": f"{name}.json"} for name in ("event", "system-event"))
    schemas["batch"] = {"$schema": DIALECT, "type": "array", "items": {"anyOf": [event, system_event]}}
    files = {
        DOCS / "schemas" / f"{name}.json": msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
        for name, schema in schemas.items()
    }
    head = "# Made by docs/write_schemas.py; run `make docs`.\n"
    text = yaml.safe_dump(make_asyncapi(), sort_keys=False, width=120, allow_unicode=True)
    return files | {DOCS / "asyncapi.yaml": head + text}


if __name__ == "__main__":
    files = make_files()
    extra = set((DOCS / "schemas").glob("*.json")) - set(files)
    if "--check" in sys.argv:
        old = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
        sys.exit(f"out of date, run make docs: {sorted(each.name for each in [*old, *extra])}" if old or extra else 0)
    (DOCS / "schemas").mkdir(exist_ok=True)
    for path in extra:
        path.unlink()
    for path, text in files.items():
        path.write_text(text)
