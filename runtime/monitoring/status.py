"""How the daemon is: counted as it goes, told to whoever asks at its socket and, every minute, to the broker.

The socket lies in the camera's state folder. Who connects gets one line of JSON; nothing is read from them, so nothing
can be asked of the daemon there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import linear_regression
from typing import TYPE_CHECKING

import msgspec

from ..camera.sources import Tally
from ..events.event import Event, rfc3339
from ..evidence.store import Tally as Evidence

if TYPE_CHECKING:
    from ..daemon import Daemon

log = logging.getLogger(__name__)

SOCKET = "status.sock"
REMEMBERED = 1000  # frames, for rate and percentiles
ASKING_SECONDS = 5.0
_MEMORY_SECONDS, _MEMORY_SAMPLES = 60.0, 180  # three hours of minutes


class LastEvent(msgspec.Struct, frozen=True):
    """The newest that was recorded."""

    sequence: int
    type: str
    time: str


class State(msgspec.Struct, frozen=True):
    """What holds now."""

    open: list[str]
    """Rules with an event that has begun and has not ended."""
    faults: list[str]
    """What is wrong."""

    @classmethod
    def of(cls, daemon: Daemon) -> State:
        """That of a daemon; any thread may ask, and often."""
        dead = daemon.outbox.refused()
        faults = {
            "events wait in memory": not daemon.outbox.lasting,
            "no connection to the broker": not daemon.forwarder.connected,
            f"the broker refuses {dead} events": dead > 0,
            **daemon.witness.faults(),
            **{f"the camera is {name}": True for name in daemon.health.faults()},
        }
        return cls(sorted(daemon.counts.open.values()), [fault for fault, there in faults.items() if there])


class Report(msgspec.Struct, frozen=True):
    """What is told; docs/status.md."""

    camera: str
    model: str
    backend: str
    uptime_seconds: float
    frames: int
    frames_per_second: float | None
    """Over the last frames; None before there are two."""
    latency_ms: dict[str, float]
    """From a frame in memory to its events on the disk: p50, p95, p99 of the last frames."""
    events: int
    """Recorded since the start."""
    backlog: int
    dead: int
    connected: bool
    last_event: LastEvent | None
    open: list[str]
    """Rules with an event that has begun and has not ended."""
    faults: list[str]
    """What is wrong just now."""
    memory_mb: float
    memory_mb_per_hour: float | None
    """How it has grown lately; None before there are ten minutes of it."""
    temperature: float | None
    """Of the hottest zone, degrees Celsius; None: unknown."""
    throttled: tuple[str, ...] | None
    """What the firmware does or has found just now; None: unknown."""
    slowness: float = 1.0
    """So many times as long as usual lies between two pictures, to keep the machine cool."""
    pictures: Tally | None = None
    """What became of the camera's; None of a recording."""
    inferences: int = 0
    """Frames that the model was asked about."""
    skipped: int = 0
    """Frames in which nothing had moved, by the gate."""
    duty: float | None = None
    """The share of the time that went into inference, over the last frames; None before there are two."""
    published: int = 0
    """Bytes handed to the broker's connection since the start, framing included."""
    evidence: Evidence | None = None
    """What became of it; None where none is wanted."""
    of_h264: float | None = None
    """What was published and uploaded as a share of the stream as H.264; None unless `vedette traffic` has measured it,
    and on `stats`, where nobody looks it up."""

    @classmethod
    def of(cls, daemon: Daemon) -> Report:
        """How that one is; any thread may ask."""
        counts, manifest, state = daemon.counts, daemon.bundle.manifest, State.of(daemon)
        return cls(
            camera=daemon.settings.camera,
            model=manifest.model_id,
            backend=daemon.backend.version,
            uptime_seconds=time.monotonic() - counts.began,
            frames=counts.frames,
            frames_per_second=counts.rate(),
            latency_ms=counts.latency_ms(),
            events=counts.events,
            backlog=daemon.outbox.backlog(),
            dead=daemon.outbox.refused(),
            connected=daemon.forwarder.connected,
            last_event=counts.last,
            **msgspec.structs.asdict(state),
            memory_mb=memory_mb(),
            memory_mb_per_hour=counts.growth(),
            temperature=daemon.governor.machine.temperature,
            throttled=daemon.governor.machine.now,
            slowness=daemon.governor.slowness,
            pictures=daemon.source.tally,
            **daemon.gate.facts(),
            published=daemon.forwarder.published,
            evidence=daemon.witness.tally(),
        )


class Counts:
    """What the daemon's loop counts; told of by other threads."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.frames = self.events = 0
        self.last: LastEvent | None = None
        self.open: dict[str, str] = {}
        self.ends: deque[float] = deque(maxlen=REMEMBERED)
        self.took: deque[float] = deque(maxlen=REMEMBERED)
        self.memory: deque[tuple[float, float]] = deque(maxlen=_MEMORY_SAMPLES)

    def frame(self, began: float) -> None:
        """One more frame, whose work began then, by time.monotonic()."""
        now = time.monotonic()
        self.frames += 1
        self.ends.append(now)
        self.took.append(now - began)
        if not self.memory or now - self.memory[-1][0] >= _MEMORY_SECONDS:
            self.memory.append((now, memory_mb()))

    def event(self, sequence: int, event: Event) -> None:
        self.events += 1
        self.last = LastEvent(sequence, f"vedette.{event.rule}.{event.kind}", rfc3339(event.taken))
        now = dict(self.open)  # another thread may be reading the old one
        if event.kind == "end":
            now.pop(event.event, None)
        else:
            now[event.event] = event.rule
        self.open = now

    def rate(self) -> float | None:
        ends = list(self.ends)
        return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 and ends[-1] > ends[0] else None

    def growth(self) -> float | None:
        """Of the memory, 10**6 bytes an hour, by least squares; None before there are ten minutes of it."""
        if len(self.memory) <= 10:
            return None
        return 3600 * linear_regression(*zip(*self.memory, strict=True)).slope

    def latency_ms(self) -> dict[str, float]:
        took = sorted(self.took)
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {name: 1e3 * took[min(int(share * len(took)), len(took) - 1)] for name, share in shares.items() if took}


class Teller(threading.Thread):
    """Tells whoever connects to the socket in `folder`; `report` makes what is told."""

    def __init__(self, folder: Path, report: Callable[[], Report]) -> None:
        super().__init__(name="status", daemon=True)
        self.report = report
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(folder) as place:
                Path(place, SOCKET).unlink(missing_ok=True)
                self.listener.bind(f"{place}/{SOCKET}")
            self.listener.listen(8)
        except OSError as error:
            log.warning("vedette status cannot ask this daemon: %s: %s", folder, error.strerror)
            self.listener.close()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # it was closed
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(ASKING_SECONDS)
                connection.sendall(msgspec.json.encode(self.report()) + b"\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self.listener.close()


def ask(folder: Path) -> Report | None:
    """What the daemon whose socket lies in `folder` tells; None where none runs, or it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ASKING_SECONDS)
        try:
            with _short(folder) as place:
                connection.connect(f"{place}/{SOCKET}")
            with connection.makefile("rb") as answer:
                return msgspec.json.decode(answer.read(), type=Report)
        except (OSError, msgspec.DecodeError):
            return None


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A name for `folder` that leaves room for the socket's: an address may have only 108 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def memory_mb() -> float:
    """What this process holds in memory, 10**6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
