"""Messages that anybody at a broker can send to the programs that listen to many boxes, and to integrations."""

from __future__ import annotations

import json
import logging
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from file_inputs import Keep
from mutations import mutate, random_of
from published import RecordingSink, make_context

from vedette.deploy.fleet.fleet_listing import make_rows, render_csv, render_table
from vedette.deploy.fleet.inventory import Inventory
from vedette.deploy.sparkplug import bridge
from vedette.deploy.sparkplug.camera_metrics import MAX_OPEN, MAX_RULES
from vedette.deploy.sparkplug.edge_node import REBIRTH
from vedette.deploy.sparkplug.payload import BOOLEAN, Metric, encode_payload
from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.events.sinks import Command
from vedette.runtime.integrations import load_integrations
from vedette.runtime.integrations.integrated_sink import IntegratedSink
from vedette.runtime.integrations.retained_topics import RetainedTopics

_PLACE = "vedette/v1/plant/hall/line1"
_TABLES = """
[frigate]
topic_prefix = "frigate"
[home_assistant]
discovery_prefix = "homeassistant"
[onvif]
enabled = true
"""
_ODD = (
    None,
    True,
    -1,
    0,
    2**53,
    2**63,
    2**64,
    1e308,
    -1e308,
    "",
    "x",
    "é" * 600,
    "\x1b[2J",
    "\ud7ff",
    [],
    {},
    [[]] * 20,
)
_TIMES = ("2026-11-29T00:00:00Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "1969-12-31T00:00:00Z", "x", 5)


class _Listeners:
    """The programs, without a network: what they would publish is encoded and kept."""

    def __init__(self, folder: Path) -> None:
        with mock.patch.object(bridge, "BrokerClient"):
            self.bridge = bridge.SparkplugBridge(BrokerSettings(), BrokerSettings(), "plant", "edge")
        self.bridge.host.client, self.bridge.host.is_born = mock.Mock(), True
        self.bridge.node.begin_connection()
        self.inventory = Inventory("vedette")
        context = make_context(folder, _TABLES)
        self.sink, retained = RecordingSink(), RetainedTopics(context.get_settings())
        self.integrated = IntegratedSink(self.sink, load_integrations(context), context.topics, "door", retained)
        self.integrated.open()
        self.failures: list[str] = []
        handler = logging.Handler(logging.ERROR)
        handler.emit = lambda record: self.failures.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("vedette.runtime.integrations.integrated_sink").addHandler(handler)

    def take(self, topic: str, payload: bytes, is_retained: bool) -> None:
        """Gives a message to all programs that subscribe to such topics."""
        message: Any = mock.Mock(topic=topic, payload=payload, retain=is_retained)
        self.bridge._take(message)
        self.bridge.host._take(message)
        self.inventory.take(topic, payload, is_retained)
        self.integrated.failed.clear()
        self.sink.received = [Command(payload, "x/y", b"", is_retained, topic)]
        self.integrated.wait(0.0)

    def find_fault(self) -> str:
        """What is wrong with what the programs hold now; empty: nothing."""
        rows = make_rows(self.inventory.find())
        table = render_table(rows[:20]) + render_csv(rows[:20])
        if not table.replace("\n", "").isprintable():
            return "traceback: the list of boxes has control characters"
        for camera in self.bridge.cameras.values():
            if len(camera.rules) > MAX_RULES or any(len(each) > MAX_OPEN for each in camera.open.values()):
                return "traceback: a camera's memory is not bounded"
        return "traceback: " + self.failures.pop() if self.failures else ""


def fuzz_messages(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what becomes of hostile messages at brokers."""
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        listeners = _Listeners(Path(folder))
        for number in numbers:
            topic, payload, is_retained = _make_message(random_of("message", number), listeners)
            try:
                listeners.take(topic, payload, is_retained)
                outcome = listeners.find_fault() if number % 10 == 0 or listeners.failures else ""
            except Exception:  # noqa: BLE001  # what the fuzzing looks for
                outcome = "traceback"
                keep("message", number, topic.encode("utf-8", "replace") + b"\n" + payload, traceback.format_exc())
            if outcome.startswith("traceback: "):
                keep("message", number, topic.encode("utf-8", "replace") + b"\n" + payload, outcome)
            counts[outcome or topic.split("/")[-2 if topic.count("/") > 4 else 0][:12] or "other"] += 1
    return counts


def _make_message(rng: random.Random, listeners: _Listeners) -> tuple[str, bytes, bool]:
    kinds: tuple[Callable[[random.Random], Any], ...] = (_make_info, _make_state, _make_stats, _make_event)
    box = rng.choice(("box", "box", "box2", "..", "a b", "é", "x" * 300, "#"))
    camera = rng.choice(("door", "belt", "", "+", "\x00"))
    if rng.random() < 0.1:
        command = [Metric(rng.choice((REBIRTH, "x")), BOOLEAN, rng.choice((True, False)))]
        payload = encode_payload(command, rng.choice((None, 0)))
        topic = listeners.bridge.node.topic(rng.choice(("NCMD", "NCMD", "DCMD", "NBIRTH")))
        return topic, mutate(rng, payload) if rng.random() < 0.7 else payload, False
    if rng.random() < 0.05:
        return "homeassistant/status", rng.choice((b"online", b"offline", b"", b"\xff" * 50)), rng.random() < 0.3
    if rng.random() < 0.1:
        payload = rng.choice((b"online", b"offline", b"", b"stopped", b"\xff\xfe", b"\x1b[2J", b"x" * 5000))
        return f"{_PLACE}/{box}/availability/{camera}", payload, rng.random() < 0.5
    make = rng.choice(kinds)
    body = make(rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        _spoil(rng, body)
    text = json.dumps(body).encode()
    if rng.random() < 0.2:
        text = mutate(rng, text)
    if rng.random() < 0.02:
        text = rng.choice(
            (b"[" * 50_000, b'{"a":' * 50_000, b"\xff", b'{"frames":1e999}', b'{"frames":' + b"9" * 5000 + b"}")
        )
    level = make.__name__[6:].replace("event", "evt")
    rule = f"/{rng.choice(('presence', f'r{rng.randrange(200)}', '..'))}" if level == "evt" else ""
    return f"{_PLACE}/{box}/{level}/{camera}{rule}", text, rng.random() < 0.5


def _spoil(rng: random.Random, body: dict[str, Any]) -> None:
    key = rng.choice(sorted(body))
    if isinstance(body[key], dict) and body[key] and rng.random() < 0.7:
        _spoil(rng, body[key])
    else:
        body[key] = rng.choice(_ODD)


def _make_info(rng: random.Random) -> dict[str, Any]:
    product = {"current": 1, "previous": None, "probation": "kept", "reason": "", "release": rng.choice((1, *_ODD))}
    products = {rng.choice(("cells", "", "a/b", "x" * 300)): product}
    return {"model": "cells:1:ab", "runtime": "0.1.0", "backend": "onnx", "instance": "i", "products": products}


def _make_state(rng: random.Random) -> dict[str, Any]:
    rules = [rng.choice(("presence", "x" * 300, "", f"r{rng.randrange(200)}")) for _ in range(rng.choice((0, 1, 300)))]
    return {"open": rules, "faults": [rng.choice(("dark", "\x1b[2J", "é" * 900))] * rng.choice((0, 1, 500))}


def _make_stats(rng: random.Random) -> dict[str, Any]:
    latency = {"p50": 1.0, "p95": rng.choice((2.0, *_ODD))}
    return {"frames": rng.choice((5, *_ODD)), "events": 2, "backlog": 0, "frames_per_second": 5.0, "temperature": 50.0,
            "memory_mb": 90.0, "uptime_seconds": 100.0, "latency_ms": latency, "faults": []}  # fmt: skip


def _make_event(rng: random.Random) -> dict[str, Any]:
    score = rng.choice((0.5, 1e308, -1.0))
    data: dict[str, Any] = {"kind": rng.choice(("new", "update", "end", "x")), "event": f"e{rng.randrange(100_000)}"}
    best = {"label": rng.choice(("dent", "é" * 900, "\x00")), "score": score}
    data |= {"top_score": score, "predictions": [best]}
    return {"time": rng.choice(_TIMES), "data": data}
