"""A box with a page: configuration, stored events with pictures, status and live frames, served in this process."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from verdicts import make_verdict

from vedette.runtime.bundle.archive import pack_archive
from vedette.runtime.calibration.drift import DriftFigures
from vedette.runtime.calibration.good_scores import summarize
from vedette.runtime.camera.frame import FrameTime
from vedette.runtime.clock import Clock
from vedette.runtime.config.polygon import Polygon
from vedette.runtime.events.event import (
    Attachment,
    Event,
    EventReason,
    SubjectState,
    make_system_event,
    new_event_id,
)
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_verdict import RegionVerdict
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.installation.model_store import ModelStore
from vedette.runtime.installation.probation_record import Probation, ProbationRecord
from vedette.runtime.live.frame_writer import LiveFrameWriter
from vedette.runtime.live.live_frame import FrameDetails
from vedette.runtime.live.score_history import ScoreHistory
from vedette.runtime.live.workshop_scores import WorkshopScores, write_workshop_scores
from vedette.runtime.monitoring.status import LastEvent, StatusReport, StatusServer
from vedette.runtime.rules.open_event import OpenEvent

PASSWORD = "three words apart"
MODEL = "cells:4:9f3ac27d11e0"
PRODUCTS = """source = "file:parts"
[trigger]
source = "mqtt:"
[[products]]
name = "left door"
index = 7
bundle = "installed:left"
[[products]]
name = "right door"
index = 2
bundle = "installed:right"
threshold = 0.7
[[rules]]
use = "presence"
threshold = 0.1
"""
"""The file of a line camera with two products."""
RULES = '[[rules]]\nuse = "presence"\nname = "presence"\n'


def draw_part(width: int = 640, height: int = 360, shift: float = 0.0, scratch: bool = False) -> Any:
    """A picture of a round part on a belt, H x W x 3, uint8."""
    picture = np.full((height, width, 3), (92, 86, 80), np.uint8)
    picture[:: height // 9] = (78, 72, 68)
    middle = (round(width * (0.5 + 0.12 * math.sin(shift))), height // 2)
    cv2.circle(picture, middle, height // 3, (150, 168, 176), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, height // 4, (128, 148, 158), -1, cv2.LINE_AA)
    if scratch:
        cv2.line(
            picture, (middle[0] - 40, middle[1] - 30), (middle[0] + 25, middle[1] + 12), (30, 40, 52), 5, cv2.LINE_AA
        )
    return picture


def make_status(camera: str, **changes: Any) -> StatusReport:
    """The report of a daemon that is well."""
    values: dict[str, Any] = {
        "camera": camera,
        "model": MODEL,
        "backend": "onnx 1.32.0",
        "uptime_seconds": 93_784.0,
        "frames": 468_920,
        "frames_per_second": 5.0,
        "latency_ms": {"p50": 41.2, "p95": 58.9, "p99": 77.0},
        "events": 14,
        "backlog": 0,
        "dead": 0,
        "connected": True,
        "last_event": LastEvent(31, "vedette.presence.end", "2026-01-01T00:00:00.000Z"),
        "open": [],
        "faults": [],
        "memory_mb": 143.0,
        "memory_mb_per_hour": 0.0,
        "temperature": 54.0,
        "throttled": (),
    }
    return StatusReport(**values | changes)


class PageSite:
    """A configuration folder with two cameras, `door` and `belt`.

    Args:
        folder: an empty folder
        events: stored for each camera
        page: further lines of `[page]`
    """

    def __init__(
        self, folder: Path, events: int = 8, page: str = "", cameras: tuple[str, ...] = ("belt", "door")
    ) -> None:
        self.folder, self.state = folder, folder / "state"
        (folder / "cameras").mkdir(parents=True)
        (folder / "vedette.toml").write_text(
            f'[device]\nname = "box-7"\n[outbox]\nvolatile = true\n[page]\nlisten = "127.0.0.1:8080"\n{page}\n'
        )
        self.cameras, self.alarm = cameras, True
        self.region: Polygon = ()
        """The region of interest that the daemons say they run with."""
        self.events: dict[str, list[str]] = {}
        self.later: list[str] = []
        """Events that `store_event` has added."""
        for camera in cameras:
            (self.state / camera / "evidence").mkdir(parents=True)
            path = folder / "cameras" / f"{camera}.toml"
            path.write_text(
                f'source = "file:parts"\nbundle = "installed:cells"\n[evidence]\nthumbnail = "jpeg"\n{RULES}'
            )
            self.events[camera] = self._store_events(camera, events)

    def _store_events(self, camera: str, count: int, began: float | None = None) -> list[str]:
        outbox = Outbox(self.state / camera / "outbox.db", 1 << 24, volatile=True, camera=camera)
        if began is None:
            outbox.put(make_system_event(camera, "camera", "dark", {"seconds": 12.5}, Clock()))
        made = []
        for number in range(count):
            started = began or time.time() - 900 * (count - number) - (60 if camera == "belt" else 0)
            event, whole = new_event_id(), number % 3 != 1
            box = Box(0.38, 0.3, 0.6, 0.62)
            label, score = ("anomaly", 0.61 + 0.03 * number) if camera == "belt" else ("person", 0.71 + 0.02 * number)
            evidence = None
            if number % 4 != 3:
                picture = draw_part(shift=number, scratch=True)
                data = cv2.imencode(".jpg", picture if whole else picture[90:240, 220:400])[1].tobytes()
                (self.state / camera / "evidence" / f"{event}.jpg").write_bytes(data)
                evidence = Attachment("0" * 64, len(data), "image/jpeg", "file:///x", whole)
            kinds = ("new", "update") if number == count - 1 else ("new", "update", "end")
            for step, kind in enumerate(kinds):
                place = Box(0.3 + 0.05 * step, 0.3, 0.5 + 0.05 * step, 0.62)
                outbox.put(
                    Event(
                        id=event if kind == "new" else new_event_id(),
                        event=event,
                        camera=camera,
                        rule="presence",
                        kind=kind,
                        taken=started + 2.4 * step,
                        frame=100 * number + step,
                        started=started,
                        top_score=score,
                        predictions=(Prediction(label, score, box, p_value=0.0004 if camera == "belt" else None),),
                        model=MODEL,
                        after=SubjectState(label, score, place, seconds=2.4 * step, zones=("yard",)),
                        evidence=evidence if kind == "new" else None,
                        reason=None if kind == "end" else EventReason("score", score, 0.6),
                    )
                )
            made.append(event)
        outbox.close()
        return made

    def store_event(self, camera: str) -> str:
        """One more event, with its picture, that begins now."""
        (event,) = self._store_events(camera, 1, began=time.time())
        self.later.append(event)
        return event

    def store_reject(self, camera: str) -> str:
        """A part that was rejected just now, with its picture, heat map and the most similar good part."""
        regions = (
            RegionVerdict("rim", "reject", 0.9134, "scratch", Box(0.4, 0.32, 0.58, 0.62)),
            RegionVerdict("hole", "warn", 0.52, "dirt", Box(0.72, 0.02, 0.86, 0.2)),
            RegionVerdict("", "reject", 0.71, "chip"),
        )
        verdict = make_verdict(time.time(), "reject", score=0.9134, serial="A-17", label="scratch", regions=regions)
        heat = np.zeros((54, 96, 4), np.uint8)
        heat[20:32, 42:54] = (20, 40, 255, 190)
        pictures = ((".jpg", draw_part(scratch=True)), (".heat.png", heat), (".good.jpg", draw_part()[60:300, 200:440]))
        for suffix, picture in pictures:
            data = cv2.imencode(suffix[-4:], picture)[1].tobytes()
            (self.state / camera / "evidence" / f"{verdict.id}{suffix}").write_bytes(data)
        outbox = Outbox(self.state / camera / "outbox.db", 1 << 24, volatile=True, camera=camera)
        outbox.put(verdict)
        outbox.close()
        return verdict.id

    def store_models(self) -> None:
        """Release 4 is on probation, 3 is the one before; their files hold no more than a list of models reads."""
        store = ModelStore(self.state)
        for release in (3, 4):
            store.add("cells", release, pack_archive({"manifest.json": b'{"signer": "9f3ac27d11e05b84"}'}))
            store.switch("cells", release)
        ProbationRecord(store, "cells").begin(Probation(release=4, previous=3, starts={"belt": 1}))

    def store_scores(self, camera: str, hours: float = 6.0, threshold: float = 0.6, below: str = "") -> None:
        """Scores of the last hours, with a short alarm every ten minutes, and those of the workshop; in the camera's
        state folder or `below` it.
        """
        rng = np.random.default_rng(7)
        folder, count = self.state / camera / below, round(hours * 720)
        folder.mkdir(parents=True, exist_ok=True)
        scores = rng.normal(0.36, 0.06, count)
        scores[60::120] = 0.72
        (folder / "scores.bin").unlink(missing_ok=True)
        history = ScoreHistory(folder, MODEL, threshold)
        for number, score in enumerate(scores.tolist()):
            seconds = 5.0 * number
            history.add(FrameTime(time.time() - 5.0 * count + seconds, seconds), score, score >= threshold)
        history.close()
        good = summarize(np.round(rng.normal(0.33, 0.05, 180), 3), 0.001, 2.0)
        write_workshop_scores(folder, WorkshopScores(MODEL, threshold, good))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Stand-ins of the daemons, with or without alarm: real status sockets and writers of live frames."""
        stop = threading.Event()
        servers = [StatusServer(self.state / name, partial(self.status, name)) for name in self.cameras]
        threads = [threading.Thread(target=self._write_frames, args=(name, stop)) for name in self.cameras]
        for each in (*servers, *threads):
            each.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            for server in servers:
                server.close()

    def status(self, camera: str) -> StatusReport:
        """What the status socket of a camera says."""
        if camera == "door":
            return make_status(camera, connected=False, backlog=3, faults=["no connection to the broker"])
        return make_status(camera, drift=DriftFigures(900, 0.12, 0.09, 0.0))

    def _write_frames(self, camera: str, stop: threading.Event) -> None:
        writer = LiveFrameWriter(self.state / camera)
        event, number = self.events[camera][-1] if self.events[camera] else new_event_id(), 0
        while not stop.wait(0.05):
            number += 1
            if not writer.is_wanted():
                continue
            moment, alarm = time.monotonic(), self.alarm
            score = 0.42 + 0.1 * math.sin(0.6 * moment) + (0.28 if alarm else 0.0)
            box = Box(0.4, 0.34, 0.58, 0.6)
            opened = OpenEvent("presence", event, time.time() - 4, "score", score, 0.6, label="anomaly")
            details = FrameDetails(
                moment=moment,
                taken=time.time(),
                number=number,
                predictions=(Prediction("anomaly", score, box),) if alarm else (),
                score=score,
                threshold=0.6,
                model=MODEL,
                open_rules=(opened,) if alarm else (),
                region=self.region,
            )
            rows, columns = np.mgrid[0:28, 0:28]
            heat = (0.25 + 0.9 * np.exp(-((rows - 13) ** 2 + (columns - 13.7) ** 2) / 12)).astype(np.float32)
            writer.write(details, draw_part(shift=0.3 * moment, scratch=alarm), heat if alarm else None)
        writer.close()
