"""The daemon: one camera's frames become events.

    for frame in source              a camera, or a recording
        watch(frame)                 is the camera well, and the machine?
        tensor  = preprocess(frame)  straight to integers
        outputs = backend(tensor)    the int8 model; not where nothing moves, if so asked
        seen    = head(outputs)      what is in the frame, and what of it was there before
        events  = rule(frame, seen)  what has changed
        outbox.put(event)            durable before it is sent

One other thread forwards from the outbox to the broker. Whatever happens to the broker, this loop does not notice;
whatever happens to this process, the outbox does not forget.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from . import rules
from .bundle.bundle import Bundle
from .bundle.keys import Keyring
from .bundle.manifest import UNKNOWN
from .camera import motion_gate, sources
from .camera.frame import Frame
from .camera.health import Health
from .config import configuration
from .config.configuration import Config
from .errors import ConfigProblem, MachineProblem, Problem, written_in
from .events import mqtt_identity, sinks
from .events.event import Event
from .events.forwarder import Forwarder
from .events.outbox import Outbox
from .events.topics import Topics
from .evidence.recorder import Witness
from .inference import golden_outputs, heads
from .inference.frame_differencing import Differences, Window
from .inference.prediction import Prediction
from .inference.preprocess import Preprocess
from .monitoring.device_topics import Bulletin
from .monitoring.status import Counts, Report, State, Teller
from .monitoring.systemd import Notifier
from .monitoring.thermal_governor import Governor
from .rules.conditions.schedule import zone
from .tracking.tracker import Tracker

log = logging.getLogger(__name__)

STALE_SECONDS = 20.0  # a forwarder that has not turned for so long is stuck


class Daemon:
    """Everything that one camera needs, checked and loaded; `run` sets it going."""

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self.bundle = Bundle.open(settings.bundle, Keyring.read(settings.keys))
        manifest = self.bundle.manifest
        self.tracker = Tracker(settings.tracker, manifest.present)
        self.head = heads.load(manifest, self.tracker.low)
        with written_in(settings.device_file):
            zone(settings.device.timezone)
        with written_in(settings.camera_file):
            self.source = sources.load(sources.Address.of(settings))
            self.backend = golden_outputs.trusted(self.bundle, settings.backend, settings.threads)
            self.rules = self._rules(settings)
            motion_gate.suits(settings.gate, manifest)
        self.differences = Differences(manifest.input, manifest.motion)
        self.window = Window(manifest.motion)
        self.preprocess = Preprocess(manifest.input)
        topics = Topics.of(settings)
        with written_in(settings.device_file):
            sink = sinks.load(settings.broker, mqtt_identity.of(settings, manifest, self.backend.version, topics))
        self.outbox = Outbox.of(settings)
        self.gate = motion_gate.Gate(settings.gate)
        self.witness = Witness(settings, self.outbox)
        self.health = Health(settings.health)
        boot = self.outbox.clock.boot
        self.governor = Governor(settings.device.hot, settings.place / "undervoltage", boot)
        self.counts = Counts()
        self.teller = Teller(settings.place, self.report)
        bulletin = Bulletin(settings.camera, lambda: State.of(self), self.report, topics, self.outbox.clock)
        self.forwarder = Forwarder(self.outbox, sink, topics, bulletin)
        self.notifier = Notifier()
        self.stop = threading.Event()
        self.changed = False

    def run(self) -> None:
        """Until the source ends or a signal comes; what is on its way then is sent or kept."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.forwarder.start()
        self.witness.start()
        self.teller.start()
        self.notifier.ready()
        try:
            for frame in self.source.frames(self.stop):
                if frame is not None:
                    self.observe(frame)
                self.watch(frame)
                self.beat()
                if self.changed:
                    self.reload()
                if not self.forwarder.is_alive():
                    break
        finally:
            self.notifier.stopping()
            self.teller.close()
            for rule in self.rules:
                self.record(*rule.close())
            self.witness.close()
            self.forwarder.drain(self.settings.outbox.drain)
            counts, waiting, refused = self.counts, self.outbox.backlog(), self.outbox.refused()
            log.info("%d frames, %d events; %d wait, %d refused", counts.frames, counts.events, waiting, refused)
            self.outbox.close()
        if waiting and not self.outbox.lasting:
            hint = "give the daemon a folder that it may write, on a disk with room"
            raise MachineProblem(f"{waiting} events waited in memory and are gone: {self.outbox.path}", hint=hint)
        if not self.forwarder.finished:
            raise MachineProblem("the forwarder died; its error is above", hint="events are kept; start again")

    def observe(self, frame: Frame) -> None:
        """One frame, from pixels to the outbox."""
        began = time.monotonic()
        seen = self.gate.look(frame, lambda: self.infer(frame))
        if seen is not None:
            self.judge(frame, seen)
        self.counts.frame(began)

    def infer(self, frame: Frame) -> tuple[Prediction, ...] | None:
        """What the model sees in a frame; None: it looks at several, and there are too few of them yet."""
        pixels = self.differences(frame.taken, frame.pixels)
        if pixels is None:
            return None
        outputs = self.window(frame.taken, self.backend.run(self.preprocess(pixels)))
        return None if outputs is None else self.head(outputs, frame.pixels.shape[:2])

    def judge(self, frame: Frame, seen: tuple[Prediction, ...]) -> None:
        """What is new in what is seen."""
        if any(rule.follows for rule in self.rules):
            seen = self.tracker.follow(frame, seen)
        self.witness.look(frame, seen)
        for rule in self.rules:
            self.record(*map(self.witness.attach, rule.observe(frame, seen)))

    def watch(self, frame: Frame | None) -> None:
        """The camera and the machine; None: no picture came."""
        now = time.monotonic()
        if self.source.tally is not None:
            for kind, facts in self.health.changes(frame, now, self.source.tally.trouble):
                self.tell("camera", kind, facts)
        for kind, facts in self.governor.changes(now):
            self.tell("device", kind, facts)
        self.source.slow(self.governor.slowness)

    def tell(self, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """What it has to say of itself goes the way of all events."""
        log.warning("%s %s: %s", rule, kind, ", ".join(f"{key} {value}" for key, value in facts.items()))
        self.outbox.tell(rule, kind, facts)
        self.forwarder.sink.wake()

    def record(self, *events: Event) -> None:
        if not events:
            return
        first = self.outbox.put(*events) - len(events) + 1
        for sequence, event in enumerate(events, first):
            self.counts.event(sequence, event)
            log.info("event %d: %s %s, score %.3f", sequence, event.rule, event.kind, event.top_score)
        self.forwarder.sink.wake()

    def beat(self) -> None:
        """Feeds the watchdog: both loops turn. A broker that is away is healthy, and a camera that is was reported."""
        if time.monotonic() - self.forwarder.ticked < STALE_SECONDS:
            self.notifier.beat()

    def report(self) -> Report:
        """How it goes; any thread may ask."""
        return Report.of(self)

    def reload(self) -> None:
        """Takes the rules as the camera's file has them now; what is wrong leaves those that run as they are."""
        self.changed = False
        try:
            settings = configuration.load(self.settings.device_file.parent, self.settings.camera)
            with written_in(settings.camera_file):
                fresh = self._rules(settings)
        except Problem as problem:
            log.error("not reloaded, the rules stay as they were: %s; %s", problem.message, problem.hint)
            return
        running = list(zip(self.settings.rules, self.rules, strict=True))
        kept = {rule.name: rule for table, rule in running if table in settings.rules}  # an open event stays open
        for rule in self.rules:
            if rule.name not in kept:
                self.record(*rule.close())
        self.rules = [kept.get(rule.name, rule) for rule in fresh]
        same = msgspec.structs.replace(settings, rules=self.settings.rules) == self.settings
        self.settings = msgspec.structs.replace(self.settings, rules=settings.rules)
        log.info("reloaded: %d rules%s", len(fresh), "" if same else "; other changes wait for the next start")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.changed = True
        else:
            self.stop.set()

    def _rules(self, settings: Config) -> list[rules.Rule]:
        manifest = self.bundle.manifest
        context = rules.Context(
            camera=self.settings.camera,
            model=manifest.model_id,
            threshold=manifest.present,
            labels=manifest.labels,
            quiet=(*manifest.normal, UNKNOWN),
            boxes=manifest.task != "classify",
            timezone=self.settings.device.timezone,
            keep=self.settings.tracker.keep,
        )
        loaded: list[rules.Rule] = []
        for number, table in enumerate(settings.rules):
            where = f"rules[{number}]"
            try:
                with written_in(where):
                    loaded.append(rules.load(table, context))
            except msgspec.ValidationError as error:
                raise ConfigProblem(f"{where}: {error}", hint="docs/config.md lists each rule's keys") from None
            if loaded[-1].name in [rule.name for rule in loaded[:-1]]:
                hint = "give it a name of its own"
                raise ConfigProblem(f"{where}: a second rule named {loaded[-1].name!r}", hint=hint)
        return loaded


def run(camera: str, folder: Path) -> None:
    """Runs the daemon of `camera` with the configuration in `folder`.

    Raises:
        Problem: something is wrong with the configuration, the bundle or the machine; nothing was started.
    """
    Daemon(configuration.load(folder, camera)).run()
