"""What a camera publishes of a recording, against the recording itself as H.264.

The recording goes through the camera's own pipeline, with its bundle, gate, rules, privacy zones and evidence, as fast
as the machine can, into a sink that counts; its outbox and its evidence lie in a folder that is gone afterwards. Events
are counted one by one, as MQTT 5 frames them. What depends on the clock is reckoned for a daemon that takes as long as
the recording lasts: `stats` every minute, `state` once for each event that begins or ends, pings. Evidence counts where
it would be uploaded, without HTTP's own headers; where it stays on the device it is told of, and not counted. TCP and
TLS are left out on both sides.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import quote

import msgspec

from ..camera.frame import Frame
from ..camera.sources import Address
from ..config import configuration
from ..config.configuration import Broker, Config
from ..daemon import Daemon
from ..errors import ConfigProblem, MachineProblem
from ..events import mqtt_identity
from ..events.sinks import Message, Receipt
from ..events.sinks.packet_size import PING, framed
from ..events.sinks.stdout import Stdout
from ..monitoring.device_topics import STATS_SECONDS
from ..monitoring.status import Report, State
from . import h264

_DRAIN = 3600.0  # seconds; the sink takes all that it is given


class Traffic(msgspec.Struct, frozen=True):
    """What is told; bytes unless it says otherwise."""

    camera: str
    recording: str
    frames: int
    seconds: float
    """How long it lasts."""
    width: int
    height: int
    events: int
    event_bytes: int
    status_bytes: int
    """What the daemon says of itself: availability, info, stats, state, pings."""
    evidence_files: int
    evidence_bytes: int
    uploaded: bool
    """Whether evidence leaves the device, and so counts."""
    published: int
    """Events, status and what is uploaded."""
    h264: int
    encoder: str
    share: float
    """published / h264"""


class Meter(Stdout):
    """A sink that takes everything and counts what rules and evidence say."""

    events = event_bytes = changes = 0
    evidence: list[int]

    def send(self, message: Message) -> None:
        if message.sequence is None:
            return
        self.receipts.append(Receipt(message.sequence))
        said = msgspec.json.decode(message.payload)
        data = said["data"]
        self.events += 1
        self.event_bytes += framed(message)
        self.changes += data.get("kind") in ("new", "end")
        shown = data if said["type"] == "vedette.evidence.clip" else data.get("evidence")
        if shown:
            self.evidence.append(shown["bytes"])


class Rehearsal(Daemon):
    """The daemon with a sink that counts, and what it saw."""

    def __init__(self, settings: Config) -> None:
        super().__init__(settings)
        broker = settings.broker
        told = mqtt_identity.of(settings, self.bundle.manifest, self.backend.version, self.forwarder.topics)
        self.meter = self.forwarder.sink = Meter(broker, told)
        self.meter.evidence = []
        self.hello = sum(framed(each) for each in (*told.online, told.stopped) if each is not None)
        self.first: Frame | None = None
        self.last: Frame | None = None
        self.told: Report | None = None

    def observe(self, frame: Frame) -> None:
        super().observe(frame)
        self.first, self.last = self.first or frame, frame
        if frame.number % 50 == 0:
            self.told = self.report()


def measure(folder: Path, camera: str, recording: Path) -> Traffic:
    """What `camera`, configured in `folder`, publishes of `recording`: a video, a folder of images, or one of them.

    Raises:
        Problem: something is wrong with the configuration, the bundle or the recording, or PyAV is missing.
    """
    settings = configuration.load(folder, camera)
    if not recording.exists():
        raise ConfigProblem(f"{recording}: no such recording", hint="name a video or a folder of images")
    url = f"file:{quote(str(recording.resolve()))}?fps=0"
    stream = h264.stream(Address(camera, url, recording.parent), recording)
    with tempfile.TemporaryDirectory(prefix="vedette-traffic-") as place:
        daemon = Rehearsal(apart(settings, url, Path(place)))
        daemon.run()
    first, last, meter = daemon.first, daemon.last, daemon.meter
    if daemon.stop.is_set() or first is None or last is None or daemon.told is None:
        raise MachineProblem(f"{recording}: stopped before its end", hint="let it come to its end")
    seconds = (last.taken - first.taken) * (last.number + 1) / max(last.number, 1)
    status = _status(daemon, daemon.told, seconds, settings.broker)
    uploaded, evidence = bool(settings.evidence.url), sum(meter.evidence)
    published = meter.event_bytes + status + (evidence if uploaded else 0)
    height, width = last.pixels.shape[:2]
    return Traffic(
        camera=camera,
        recording=recording.name,
        frames=last.number + 1,
        seconds=round(seconds, 3),
        width=width,
        height=height,
        events=meter.events,
        event_bytes=meter.event_bytes,
        status_bytes=status,
        evidence_files=len(meter.evidence),
        evidence_bytes=evidence,
        uploaded=uploaded,
        published=published,
        h264=stream.bytes,
        encoder=stream.encoder,
        share=published / stream.bytes,
    )


def apart(settings: Config, url: str, place: Path) -> Config:
    """The camera's settings with the recording before it, and nothing of the real one touched."""
    replace = msgspec.structs.replace
    return replace(
        settings,
        source=url,
        state=place,
        broker=replace(settings.broker, url="stdout:"),
        outbox=replace(settings.outbox, volatile=True, drain=_DRAIN),
        evidence=replace(settings.evidence, folder="", url="", access_key="", secret_key_file=""),
    )


def _status(daemon: Rehearsal, told: Report, seconds: float, broker: Broker) -> int:
    """Bytes of what it says of itself in so many seconds."""
    topics, camera = daemon.forwarder.topics, daemon.settings.camera
    stats = Message(topics.stats(camera), msgspec.json.encode(told), True, "application/json")
    now = State(sorted(rule.name for rule in daemon.rules), [])
    state = Message(topics.state(camera), msgspec.json.encode(now), True, "application/json")
    times = int(seconds // STATS_SECONDS) + 1
    pings = int(seconds // broker.keepalive)
    return daemon.hello + times * framed(stats) + (daemon.meter.changes + 1) * framed(state) + pings * PING
