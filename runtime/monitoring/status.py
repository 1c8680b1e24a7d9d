"""The daemon's status: counters, the report made of them, and the Unix socket that serves it.

The socket lies in the camera's state folder. A client that connects gets one line of JSON. The server reads nothing
from clients, so they cannot command the daemon. Its user, root and members of the group `vedette` may connect.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import linear_regression
from typing import Any

import msgspec

from ..calibration.drift import DriftFigures
from ..camera.sources import FrameCounts
from ..errors import UNREADABLE
from ..events.event import Event, cloud_event_type, format_rfc3339
from ..events.receiver_forwarder import SinkFigures
from ..evidence.store import EvidenceCounts
from ..line.line_figures import LineFigures
from ..process_limits import read_resident_memory
from ..socket_access import SocketServer, short_path

log = logging.getLogger(__name__)

SOCKET_NAME = "status.sock"
WINDOW_FRAMES = 1000  # for rates and percentiles
REQUEST_TIMEOUT_SECONDS = 5.0
_MAX_REPORT_BYTES = 1 << 20
_MEMORY_INTERVAL_SECONDS, _MEMORY_SAMPLES = 60.0, 180  # three hours of minutes


class LastEvent(msgspec.Struct, frozen=True):
    """The event that was recorded last."""

    sequence: int
    type: str
    time: str


class DaemonState(msgspec.Struct, frozen=True):
    """Payload of the retained MQTT topic `state`: the present state of the daemon."""

    open: list[str]
    """Rules with an open event."""
    faults: list[str]
    """Current faults, in words."""


class StatusReport(msgspec.Struct, frozen=True):
    """A snapshot of the daemon, for `vedette status`, the topic `stats` and Prometheus (docs/status.md)."""

    camera: str
    model: str
    backend: str
    uptime_seconds: float
    frames: int
    frames_per_second: float | None
    """Over the last frames; None before the second frame."""
    latency_ms: dict[str, float]
    """From a frame in memory to its events on disk: p50, p95, p99 of the last frames."""
    events: int
    """Events recorded since the start."""
    backlog: int
    """Events that wait for the broker."""
    dead: int
    """Events that the broker refuses: dead letters."""
    connected: bool
    last_event: LastEvent | None
    open: list[str]
    """Rules with an open event."""
    faults: list[str]
    """Current faults, in words."""
    memory_mb: float
    """Resident memory, 10**6 bytes."""
    memory_mb_per_hour: float | None
    """Recent growth of the memory; None during the first ten minutes."""
    temperature: float | None
    """Hottest thermal zone, degrees Celsius; None: unknown."""
    throttled: tuple[str, ...] | None
    """Flags of the firmware that are set now; None: unknown."""
    slowness: float = 1.0
    """Interval between frames, as a multiple of the usual one, to keep the machine cool."""
    pictures: FrameCounts | None = None
    """Frames of the camera that were dropped or late; None for a recording."""
    inferences: int = 0
    """Frames that the model was run on."""
    skipped: int = 0
    """Frames that the motion gate skipped."""
    duty: float | None = None
    """Fraction of the time spent in inference, over the last frames; None before the second frame."""
    published: int = 0
    """Bytes sent to the broker since the start, MQTT framing included."""
    evidence: EvidenceCounts | None = None
    """Counters of the evidence store; None if evidence is off."""
    of_h264: float | None = None
    """Bytes published and uploaded, as a fraction of the same stream as H.264. None unless `vedette traffic` has
    measured the stream, and always on the topic `stats`."""
    recalibration: str | None = None
    """How threshold and offset were set anew, in words; None: they are those of the build."""
    probation: str | None = None
    """How the probation of a new release goes, in words; None: there is none."""
    drift: DriftFigures | None = None
    """Whether good scores still lie where they lay in the workshop; None: the bundle does not say."""
    line: LineFigures | None = None
    """Parts and their verdicts; None: the camera has no trigger."""
    top_score: float | None = None
    """The highest score since the start; None before the first prediction."""
    sinks: tuple[SinkFigures, ...] = ()
    """The sinks beside the broker."""


class DaemonCounters:
    """What the daemon's loop counts; other threads read it."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.frames = self.events = 0
        self.last_event: LastEvent | None = None
        self.open_events: dict[str, str] = {}
        self.newest_alarm = -1  # number of the frame of the last `new` message
        self.frame_ends: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self.frame_seconds: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self.memory_samples: deque[tuple[float, float]] = deque(maxlen=_MEMORY_SAMPLES)

    def count_frame(self, started: float) -> None:
        """Counts a frame that was processed since `started`, by time.monotonic()."""
        now = time.monotonic()
        self.frames += 1
        self.frame_ends.append(now)
        self.frame_seconds.append(now - started)
        if not self.memory_samples or now - self.memory_samples[-1][0] >= _MEMORY_INTERVAL_SECONDS:
            self.memory_samples.append((now, resident_memory_mb()))

    def count_event(self, sequence: int, event: Event) -> None:
        """Counts a recorded event, and remembers whether it is open."""
        self.events += 1
        self.last_event = LastEvent(sequence, cloud_event_type(event), format_rfc3339(event.taken))
        self.newest_alarm = event.frame if event.kind == "new" else self.newest_alarm
        open_events = dict(self.open_events)  # other threads may be reading the old dictionary
        if event.kind == "end":
            open_events.pop(event.event, None)
        else:
            open_events[event.event] = event.rule
        self.open_events = open_events

    def has_alarm(self, frame: int) -> bool:
        """True if an event is open now, or began in the frame of this number."""
        return bool(self.open_events) or self.newest_alarm == frame

    def figures(self) -> dict[str, Any]:
        """The fields of the status report that come from the counters."""
        return {
            "uptime_seconds": time.monotonic() - self.started,
            "frames": self.frames,
            "frames_per_second": self.frames_per_second(),
            "latency_ms": self.latency_ms(),
            "events": self.events,
            "last_event": self.last_event,
            "memory_mb": resident_memory_mb(),
            "memory_mb_per_hour": self.memory_growth_mb_per_hour(),
        }

    def frames_per_second(self) -> float | None:
        """Frame rate over the last frames; None before the second frame."""
        ends = list(self.frame_ends)
        return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 and ends[-1] > ends[0] else None

    def memory_growth_mb_per_hour(self) -> float | None:
        """Slope of the resident memory by least squares, 10**6 bytes an hour; None during the first ten minutes."""
        if len(self.memory_samples) <= 10:
            return None
        return 3600 * linear_regression(*zip(*self.memory_samples, strict=True)).slope

    def latency_ms(self) -> dict[str, float]:
        """Percentiles p50, p95 and p99 of the processing time of the last frames; empty before the first frame."""
        durations = sorted(self.frame_seconds)
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {
            name: 1e3 * durations[min(int(share * len(durations)), len(durations) - 1)]
            for name, share in shares.items()
            if durations
        }


class StatusServer(SocketServer):
    """Serves the status report at a Unix socket in `folder`; `make_report` makes it for each client."""

    def __init__(self, folder: Path, make_report: Callable[[], StatusReport]) -> None:
        def answer(connection: socket.socket) -> None:
            connection.sendall(msgspec.json.encode(make_report()) + b"\n")

        super().__init__(folder, SOCKET_NAME, answer, "vedette status cannot query this daemon")


def request_status(folder: Path) -> StatusReport | None:
    """The report of the daemon whose socket lies in `folder`; None if none runs or it does not answer.

    Raises:
        PermissionError: this user may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(REQUEST_TIMEOUT_SECONDS)
        try:
            with short_path(folder) as place:
                connection.connect(f"{place}/{SOCKET_NAME}")
            with connection.makefile("rb") as answer:
                return msgspec.json.decode(answer.read(_MAX_REPORT_BYTES), type=StatusReport)
        except PermissionError:
            raise
        except (OSError, *UNREADABLE):
            return None


def resident_memory_mb() -> float:
    """Resident memory of this process, 10**6 bytes."""
    return read_resident_memory() / 1e6
