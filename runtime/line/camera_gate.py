"""Which frames of a camera are inspected: those in which something moves, or those of parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

from ..camera.frame import Frame
from ..camera.monitored_camera import MonitoredCamera
from ..camera.motion_gate import MotionGate
from ..config.configuration import Config
from ..errors import locate_errors
from ..events.command_handlers import CommandHandlers
from ..events.delivery import Delivery
from ..inference.prediction import Prediction
from .golden_commands import GoldenCommands
from .line_products import ProductChoice
from .part_gate import PartGate


class CameraGate(Protocol):
    """Stands between a camera and its model."""

    predictions: tuple[Prediction, ...] | None
    """Those that hold for the last frame; None: there are none."""
    rejected: str
    """Of the last frame: the id that the verdict's event will have, if it shows a part that is rejected; else empty."""

    def pace(self, frames: Iterator[Frame | None], stop: threading.Event, /) -> Iterator[Frame | None]:
        """The frames, when they are wanted."""

    def is_open(self, frame: Frame) -> bool:
        """True if the frame has to be inferred; `remember` then takes what inference gave."""

    def remember(self, predictions: tuple[Prediction, ...] | None) -> None:
        """Keeps what inference gave for the frame that opened the gate."""

    def faults(self) -> dict[str, bool]:
        """Its faults, in words, with whether each is present."""

    def figures(self) -> dict[str, Any]:
        """Its part of the status report."""

    def close(self) -> None:
        """Ends."""


def open_gate(
    settings: Config,
    choice: ProductChoice,
    delivery: Delivery,
    commands: CommandHandlers,
    camera: MonitoredCamera,
) -> CameraGate:
    """The gate that a camera's file asks for.

    Args:
        settings: configuration of the camera
        choice: its models
        delivery: takes the verdicts on parts
        commands: get those of the line at the broker, if the camera's file allows them
        camera: whose frames pass the gate

    Raises:
        ConfigProblem: `[trigger]` is wrong.
    """
    if settings.trigger is None:
        return MotionGate(settings.gate)
    with locate_errors(settings.camera_file):
        live = camera.frame_counts is not None
        gate = PartGate(settings, choice, delivery.outbox, delivery.wake, live)
        if settings.golden_parts is not None and settings.golden_parts.mqtt:
            commands.add(GoldenCommands(settings, gate.line.golden.obey, delivery.wake))
    return gate
