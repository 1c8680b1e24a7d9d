"""The camera in software that aravis brings (Debian's aravis-tools): GigE Vision on the loopback interface."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import pytest

from vedette.runtime.camera import sources
from vedette.runtime.camera.capture.aravis import Aravis, AravisError
from vedette.runtime.camera.frame import Frame
from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.camera.sources.live_camera import LiveCamera

PROGRAM = "arv-fake-gv-camera-0.8"
ADDRESS = "127.0.0.1"

needs_fake_camera = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason=f"needs {PROGRAM}: apt install aravis-tools (tests/servers)"
)


def lock_control_port() -> IO[str]:
    """Waits until no other test has a camera in software; closing what it returns lets the next one begin."""
    lock = (Path(tempfile.gettempdir()) / "vedette-fake-genicam.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


class FakeGenicamCamera:
    """The camera; one at a time, because its port is fixed."""

    def __init__(self) -> None:
        self.lock: IO[str] = lock_control_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.switch_on()

    def switch_on(self) -> None:
        """Starts it, and waits until it answers."""
        self.process = subprocess.Popen([PROGRAM, "-i", ADDRESS, "-s", "GV19"])  # a fixed command
        aravis, until = Aravis(), time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if any(name == "Aravis-Fake-GV19" for name, _ in aravis.list_cameras()):
                    return
            except AravisError:
                pass
            time.sleep(0.2)
        raise TimeoutError("the camera in software does not answer")

    def switch_off(self) -> None:
        """It is gone, as if its cable were cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.switch_off()
        self.lock.close()


class Watch:
    """The frames of a source, taken in a thread."""

    def __init__(self, url: str) -> None:
        source = sources.load_source(SourceAddress("door", url, Path("/"), max_silence=3.0))
        assert isinstance(source, LiveCamera)
        self.source: LiveCamera = source
        self.stop: threading.Event = threading.Event()
        self.frames: list[Frame] = []
        self.thread: threading.Thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self) -> None:
        for frame in self.source.frames(self.stop):
            if frame is not None:
                self.frames.append(frame)

    @property
    def trouble(self) -> str:
        return self.source.frame_counts.trouble

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
