"""Compares the bytes that a camera publishes for a recording with the recording as H.264 video.

The daemon replays the recording with the camera's bundle, motion gate, rules, privacy zones and evidence, as fast as
the machine can, and sends its events to a counting sink. Outbox and evidence lie in a temporary folder.

- Events: each counts with its size as an MQTT 5 packet. With `[broker.batch]` they are put together by the times of the
  recording, as the daemon does it by the clock.
- Status: messages that depend on the clock are computed for a daemon that runs as long as the recording lasts: `stats`
  every minute, `state` once for each event that begins or ends, and pings.
- Evidence: counts only if it would be uploaded, without HTTP headers. Otherwise its size is reported, but not counted.

TCP and TLS overhead is excluded on both sides.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import quote

import msgspec

from ..camera.frame import Frame
from ..camera.sources import SourceAddress
from ..config.configuration import BrokerSettings, Config, load_config
from ..daemon import Daemon
from ..errors import ConfigProblem, MachineProblem
from ..events.sinks import Acknowledgement, Message, MqttSessionSettings
from ..events.sinks.packet_size import PING_BYTES, packet_bytes
from ..events.sinks.stdout import StdoutSink
from ..monitoring.status import DaemonState, StatusReport
from ..monitoring.status_messages import STATS_INTERVAL_SECONDS
from . import h264
from .batch_replay import pack_events, read_priorities

REPORT_INTERVAL_FRAMES = 50
_DRAIN_SECONDS = 3600.0  # never reached, because the sink accepts every message at once


class Traffic(msgspec.Struct, frozen=True):
    """Result of the comparison; sizes in bytes."""

    camera: str
    recording: str
    frames: int
    seconds: float
    """Duration of the recording."""
    width: int
    height: int
    events: int
    messages: int
    """Messages with events: fewer than events with `[broker.batch]`."""
    largest: int
    """Payload of the largest of them."""
    event_bytes: int
    status_bytes: int
    """Availability, info, stats, state and pings."""
    evidence_files: int
    evidence_bytes: int
    uploaded: bool
    """True if the camera uploads evidence, so that its bytes count as published."""
    published: int
    """Events, status and uploaded evidence."""
    h264: int
    """The recording as H.264."""
    encoder: str
    share: float
    """published / h264"""


class CountingSink(StdoutSink):
    """A sink that acknowledges every message, and counts the bytes of events and evidence."""

    def __init__(self, broker: BrokerSettings, identity: MqttSessionSettings) -> None:
        super().__init__(broker, identity)
        messages = (*identity.birth_messages, identity.stop_message)
        self.availability_bytes = sum(packet_bytes(message) for message in messages if message is not None)
        """Bytes of the messages at the start and at the stop of the daemon."""
        self.events: list[Message] = []
        self.state_changes = 0
        self.evidence_bytes: list[int] = []

    def send(self, message: Message) -> None:
        if message.sequence is None:
            return
        self.acknowledgements.append(Acknowledgement(message.sequence))
        event = msgspec.json.decode(message.payload)
        data = event["data"]
        self.events.append(message)
        self.state_changes += data.get("kind") in ("new", "end")
        evidence = data if event["type"] == "vedette.evidence.clip" else data.get("evidence")
        if evidence:
            self.evidence_bytes.append(evidence["bytes"])


class RecordingReplayer:
    """Replays a recording through a daemon; keeps the first and last frame, the sink, and the latest status report."""

    def __init__(self, settings: Config) -> None:
        self.first: Frame | None = None
        self.last: Frame | None = None
        self.report: StatusReport | None = None
        self.daemon = Daemon(settings, open_sink=self._open_sink, on_frame=self._on_frame)

    def _open_sink(self, broker: BrokerSettings, identity: MqttSessionSettings) -> CountingSink:
        self.sink = CountingSink(broker, identity)
        return self.sink

    def _on_frame(self, frame: Frame) -> None:
        self.first, self.last = self.first or frame, frame
        if frame.number % REPORT_INTERVAL_FRAMES == 0:
            self.report = self.daemon.make_report()


def measure_traffic(folder: Path, camera: str, recording: Path) -> Traffic:
    """Measures the bytes that a camera publishes for a recording.

    Args:
        folder: folder of the configuration
        camera: name of the camera
        recording: a video, an image, or a folder of images

    Raises:
        Problem: the configuration, the bundle or the recording is not usable, or PyAV is missing.
    """
    settings = load_config(folder, camera)
    if not recording.exists():
        raise ConfigProblem(f"{recording}: no such recording", hint="name a video or a folder of images")
    url = f"file:{quote(str(recording.resolve()))}?fps=0"
    stream = h264.measure_h264_size(SourceAddress(camera, url, recording.parent), recording)
    with tempfile.TemporaryDirectory(prefix="vedette-traffic-") as state_folder:
        replay = RecordingReplayer(make_replay_settings(settings, url, Path(state_folder)))
        replay.daemon.run()
    first, last, sink = replay.first, replay.last, replay.sink
    if replay.daemon.stop_requested.is_set() or first is None or last is None or replay.report is None:
        raise MachineProblem(f"{recording}: stopped before its end", hint="let it come to its end")
    seconds = (last.taken - first.taken) * (last.number + 1) / max(last.number, 1)
    status = count_status_bytes(replay, replay.report, seconds, settings.broker)
    uploaded, evidence = bool(settings.evidence.url), sum(sink.evidence_bytes)
    topic, priorities = replay.daemon.delivery.topics.batch(camera), read_priorities(settings.rules)
    messages = pack_events(sink.events, settings.broker.batch, topic, priorities)
    event_bytes = sum(map(packet_bytes, messages))
    published = event_bytes + status + (evidence if uploaded else 0)
    height, width = last.pixels.shape[:2]
    return Traffic(
        camera=camera,
        recording=recording.name,
        frames=last.number + 1,
        seconds=round(seconds, 3),
        width=width,
        height=height,
        events=len(sink.events),
        messages=len(messages),
        largest=max((len(each.payload) for each in messages), default=0),
        event_bytes=event_bytes,
        status_bytes=status,
        evidence_files=len(sink.evidence_bytes),
        evidence_bytes=evidence,
        uploaded=uploaded,
        published=published,
        h264=stream.bytes,
        encoder=stream.encoder,
        share=published / stream.bytes,
    )


def make_replay_settings(settings: Config, url: str, state_folder: Path) -> Config:
    """Makes settings for a replay: the recording is the source, state goes to `state_folder`, nothing is sent."""
    replace = msgspec.structs.replace
    return replace(
        settings,
        source=url,
        state=state_folder,
        broker=replace(settings.broker, url="stdout:"),
        sinks=(),
        outbox=replace(settings.outbox, volatile=True, drain=_DRAIN_SECONDS),
        evidence=replace(settings.evidence, folder="", url="", access_key="", secret_key_file=""),
    )


def count_status_bytes(replay: RecordingReplayer, report: StatusReport, seconds: float, broker: BrokerSettings) -> int:
    """Bytes of the status messages of a daemon that runs for `seconds`."""
    topics, camera = replay.daemon.delivery.topics, replay.daemon.settings.camera
    stats = Message(topics.stats(camera), msgspec.json.encode(report), True, "application/json")
    all_open = DaemonState(sorted(rule.name for rule in replay.daemon.models.main.rules), [])
    state = Message(topics.state(camera), msgspec.json.encode(all_open), True, "application/json")
    stats_bytes = (int(seconds // STATS_INTERVAL_SECONDS) + 1) * packet_bytes(stats)
    state_bytes = (replay.sink.state_changes + 1) * packet_bytes(state)
    ping_bytes = int(seconds // broker.keepalive) * PING_BYTES
    return replay.sink.availability_bytes + stats_bytes + state_bytes + ping_bytes
