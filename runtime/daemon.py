"""The daemon: one camera's frames become events.

    for each frame           from a camera or a recording
        gate                 skip inference if nothing moved, or no part waits for a picture (docs/line.md)
        inference            pixels -> int8 model -> predictions
        tracking             joins detections into tracks, if a rule needs tracks
        rules                predictions -> events
        evidence             adds thumbnails and clips to events, if configured
        outbox               stores events durably before they are sent
        camera and machine   faults of the camera and the machine become system events
        viewers              live frames and scores, for those who ask
        watchdog             fed after each iteration, not by a timer

Other threads send events from the outbox to the sinks. None of them blocks this loop, and a crash loses no event.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from itertools import chain
from types import FrameType

import msgspec

from .bundle.replacement import warn_of_replacement
from .camera.frame import Frame
from .camera.monitored_camera import MonitoredCamera
from .config.configuration import BrokerSettings, Config, load_config
from .config.time_zone import load_timezone
from .errors import Problem, locate_errors
from .events.command_handlers import CommandHandlers
from .events.delivery import Delivery
from .events.event import Event
from .events.mqtt_identity import make_mqtt_session_settings
from .events.outbox import Outbox
from .events.receivers import load_receivers
from .events.sinks import MqttSessionSettings, Sink, load_sink
from .events.topics import Topics
from .evidence.recorder import EvidenceRecorder
from .inference.prediction import Prediction
from .installation.orders.order_desk import OrderDesk
from .installation.product_models import ProductModels
from .integrations.integrated_sink import open_integrated_sink
from .line.camera_gate import open_gate
from .live.live_view import LiveView
from .monitoring.health_reporter import HealthReporter
from .monitoring.status import DaemonState, StatusReport
from .monitoring.status_messages import StatusMessages
from .rules.open_event import add_reasons

log = logging.getLogger(__name__)


class Daemon:
    """The daemon of one camera. The constructor checks and loads all parts; `run` starts them.

    Args:
        settings: configuration of the camera
        open_sink: makes the sink that receives the events
        on_frame: called after each frame

    Raises:
        Problem: the configuration, the bundle or the machine is not usable; nothing was started.
    """

    def __init__(
        self,
        settings: Config,
        open_sink: Callable[[BrokerSettings, MqttSessionSettings], Sink] = load_sink,
        on_frame: Callable[[Frame], None] = lambda _: None,
    ) -> None:
        self.settings, self.on_frame = settings, on_frame
        self.stop_requested, self.reload_requested = threading.Event(), False

        # From a frame to events: the signed bundles with their rules.
        with locate_errors(settings.device_file):
            load_timezone(settings.device.timezone)
        self.models = ProductModels(settings)
        main, self.pipeline = self.models.main, self.models.pipeline
        manifest = main.manifest
        with locate_errors(settings.camera_file):
            self.camera = MonitoredCamera(settings)

        # From events to the broker.
        topics = Topics.from_config(settings)
        with locate_errors(settings.device_file):
            session = make_mqtt_session_settings(settings, manifest, main.backend.version, topics)
            sink = open_integrated_sink(open_sink, lambda: self.settings, session, manifest)
        outbox = Outbox.from_config(settings)
        self.evidence = EvidenceRecorder(settings, outbox, self.models.list_manifests(), self.pipeline)
        status_messages = StatusMessages.from_config(settings, self.make_state, self.make_report, topics, outbox)
        commands = CommandHandlers(OrderDesk(settings, session, outbox, sink))
        parts = (status_messages, commands, load_receivers(settings, outbox), settings.broker)
        self.delivery = Delivery(outbox, sink, topics, *parts)
        self.gate = open_gate(settings, self.models, self.delivery, commands, self.camera)

        # Status, temperature, watchdog and viewers.
        self.health = HealthReporter(settings, outbox.clock.boot, self.make_report)
        self.live = LiveView(settings, self.models.loaded.values(), self.pipeline, self.models.list_drifts())

    def run(self) -> None:
        """Runs until the source ends or a signal arrives. Pending events are then sent, or stay in the outbox.

        Raises:
            MachineProblem: no frame can be read, no event can be stored, or pending events in memory were lost.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.models.remember_releases()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # blocked since the start of the process
        self.delivery.start()
        self.evidence.start()
        self.health.start()
        try:
            for frame in self.gate.pace(self.camera.frames(self.stop_requested), self.stop_requested):
                if frame is not None:
                    self.process_frame(frame)
                    self.on_frame(frame)
                self.check_camera_and_machine(frame)
                self.feed_watchdog()
                if self.reload_requested:
                    self.reload_rules()
                if not self.delivery.is_alive():
                    break
        finally:
            pending = self._shut_down()
        self.delivery.check_outcome(pending)

    def process_frame(self, frame: Frame) -> None:
        """Infers on one frame, applies the rules, and stores the events."""
        started, before = time.monotonic(), self.models.current
        if self.gate.is_open(frame):
            if self.models.current is not before:
                self.record(*before.close_rules())
            self.gate.remember(self.pipeline.predict(frame.moment, frame.pixels))
        predictions = self.gate.predictions
        if predictions is not None:
            predictions = self.apply_rules(frame, predictions)
            self.evidence.keep_part(self.gate.rejected, frame, predictions)
        shown, alarm = self.models.current, self.health.counters.has_alarm(frame.number)
        self.live.observe(frame, shown, predictions, alarm)
        self.health.counters.count_frame(started)

    def apply_rules(self, frame: Frame, predictions: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
        """Applies the rules to the predictions, and stores their events with evidence; returns them with tracks."""
        model = self.models.current
        if model.rules.needs_tracks:
            predictions = model.tracker.update(frame, predictions)
        self.evidence.add_frame(frame, predictions)
        for rule in model.rules:
            if events := [*rule.observe(frame, predictions)]:
                self.record(*map(self.evidence.attach, add_reasons(events, rule.open_events())))
        return predictions

    def record(self, *events: Event) -> None:
        """Stores events durably, counts them, and makes the forwarder send them."""
        if not events:
            return
        for sequence, event in self.delivery.store(*events):
            self.health.counters.count_event(sequence, event)
        self.delivery.wake()  # after the count, so that the topic `state` includes the events

    def check_camera_and_machine(self, frame: Frame | None) -> None:
        """Stores system events about new and cleared faults and releases; reduces the frame rate if the machine is hot.

        `frame` is the newest one; None: no frame arrived.
        """
        for kind, facts in self.camera.check_health(frame):
            self.delivery.record_system_event("camera", kind, facts)
        for kind, facts in self.health.check_machine():
            self.delivery.record_system_event("device", kind, facts)
        for kind, facts in chain(self.models.check(), self.live.check()):
            self.delivery.record_system_event("model", kind, facts)
        self.camera.slow_down(self.health.governor.slowdown)

    def feed_watchdog(self) -> None:
        """Feeds the watchdog if the forwarder also makes progress; a missing broker or camera is no fault of it."""
        if self.delivery.makes_progress():
            self.health.feed_watchdog()

    def reload_rules(self) -> None:
        """Reads the rules from the camera's file again; if the file is wrong, the present rules stay active."""
        self.reload_requested = False
        try:
            settings = load_config(self.settings.device_file.parent, self.settings.camera)
            with locate_errors(settings.camera_file):
                reloaded = [(each, each.rules.reload(settings.rules)) for each in self.models.loaded.values()]
        except Problem as problem:
            log.error("not reloaded, the rules stay as they were: %s; %s", problem.message, problem.hint)
            return
        for model, rules in reloaded:
            for rule in model.rules:
                if rule not in rules:
                    self.record(*rule.close())
            model.rules = rules
        same = msgspec.structs.replace(settings, rules=self.settings.rules) == self.settings
        for model, _ in reloaded:
            warn_of_replacement(model.bundle, self.settings.keys, self.settings.state_folder)
        self.settings = msgspec.structs.replace(self.settings, rules=settings.rules)
        log.info("reloaded: %d rules%s", len(settings.rules), "" if same else "; other changes wait for the next start")

    def make_state(self) -> DaemonState:
        """Makes the state: rules with open events, and current faults. Any thread may call it, and often."""
        faults = (
            self.delivery.faults()
            | self.evidence.faults()
            | self.camera.faults()
            | self.gate.faults()
            | self.models.faults()
        )
        open_events = sorted(self.health.counters.open_events.values())
        return DaemonState(open=open_events, faults=[fault for fault, holds in faults.items() if holds])

    def make_report(self) -> StatusReport:
        """Makes the status report, a snapshot with the figures of each part. Any thread may call it."""
        return StatusReport(
            camera=self.settings.camera,
            model=self.models.main.manifest.model_id,
            backend=self.models.main.backend.version,
            **msgspec.structs.asdict(self.make_state()),
            pictures=self.camera.frame_counts,
            evidence=self.evidence.counts(),
            **self.health.figures(),
            **self.gate.figures(),
            **self.models.figures(),
            **self.delivery.figures(),
        )

    def _shut_down(self) -> int:
        """Ends open events, sends pending ones, and closes all parts; returns the number of events still pending."""
        self.health.stop()
        self.record(*self.models.current.close_rules())
        for part in (self.gate, self.evidence, self.live):
            part.close()
        self.delivery.drain(self.settings.outbox.drain)
        counters, outbox, pending = self.health.counters, self.delivery.outbox, self.delivery.count_waiting()
        counts = (counters.frames, counters.events, pending, outbox.count_dead_letters())
        log.info("%d frames, %d events; %d wait, %d refused", *counts)
        outbox.close()
        return pending

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload_requested = True
        else:
            self.stop_requested.set()
