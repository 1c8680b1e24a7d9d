"""One configured camera: its frames, and whether it still shows what it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from ..config.configuration import Config
from .frame import Frame
from .health import CameraHealth
from .sources import FrameCounts, SourceAddress, load_source
from .sources.live_camera import LiveCamera
from .view_guard import ViewGuard


class MonitoredCamera:
    """A source of frames with the health checks of its images.

    Raises:
        ConfigProblem: the source's URL is unknown or wrong.
    """

    def __init__(self, settings: Config) -> None:
        self.source = load_source(SourceAddress.from_config(settings))
        self.health = CameraHealth(settings.health)
        self.view: ViewGuard | None = None
        """What hides pictures if the camera was moved; None: it has no privacy zones, or is a recording."""
        if settings.privacy.zones and settings.privacy.moved == "hide" and self.frame_counts is not None:
            self.view = ViewGuard(settings.privacy.zones, settings.state_folder)

    @property
    def frame_counts(self) -> FrameCounts | None:
        """Frames dropped, late and so on; None for a recording, of which none is lost."""
        return self.source.frame_counts

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        """Frames until there are no more or `stop` is set; None at least every second without one.

        Raises:
            MachineProblem: nothing can be read.
        """
        for frame in self.source.frames(stop):
            yield frame if frame is None or self.view is None else self.view.look(frame)

    def check_health(self, frame: Frame | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """The system events of what became wrong or well with the camera: kind and facts.

        Args:
            frame: the newest; None if none came
        """
        if self.frame_counts is not None:
            waits = isinstance(self.source, LiveCamera) and self.source.waits
            yield from self.health.update(frame, time.monotonic(), self.frame_counts.trouble, waits)
        if self.view is not None:
            yield from self.view.tell(time.monotonic())

    def faults(self) -> dict[str, bool]:
        """The present faults, in words. Any thread may call it."""
        found = {f"the camera is {name}": True for name in self.health.active_faults()}
        return found if self.view is None else found | self.view.faults()

    def slow_down(self, factor: float) -> None:
        """Takes frames so many times less often than usual; a recording is read at its own rate."""
        self.source.slow_down(factor)
