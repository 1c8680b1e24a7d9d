"""A box that takes orders, without a camera: its configuration, and its desk of orders behind a real forwarder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from vedette.runtime.config.configuration import BrokerSettings, Config, load_config
from vedette.runtime.events import sinks
from vedette.runtime.events.forwarder import Forwarder
from vedette.runtime.events.mqtt_identity import CameraInfo
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.topics import Topics
from vedette.runtime.installation.orders.order_desk import OrderDesk


def write_order_box(folder: Path, port: int, keys: Path) -> Config:
    """The box `box` at a broker, with one camera that runs the installed product `weave`."""
    (folder / "cameras").mkdir(parents=True)
    (folder / "vedette.toml").write_text(
        f'[device]\nname = "box"\nkeys = "{keys}"\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        "[outbox]\nvolatile = true\n"
    )
    (folder / "cameras" / "door.toml").write_text(
        'source = "file:none"\nbundle = "installed:weave"\n[[rules]]\nuse = "presence"\n'
    )
    return load_config(folder, "door")


def make_desk(settings: Config) -> tuple[OrderDesk, Forwarder]:
    """The desk of the box, and its forwarder, not started yet."""
    topics, outbox = Topics.from_config(settings), Outbox.from_config(settings)
    body = msgspec.json.encode(CameraInfo("door", "box", "weave:1:0", "anomaly", "none", "0"))
    info = sinks.Message(topics.info("door"), body, retain=True, content_type="application/json")
    session = sinks.MqttSessionSettings("box", (info,), command_topic=topics.command("+"))
    sink = sinks.load_sink(BrokerSettings(url=settings.broker.url), session)
    desk = OrderDesk(settings, session, outbox, sink)
    return desk, Forwarder(outbox, sink, topics, None, desk)
