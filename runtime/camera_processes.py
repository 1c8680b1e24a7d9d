"""Several cameras in one service: a process for each, forked from one that has loaded the libraries.

The memory of the libraries is then there once. A camera still has its own process: a crash or a hang ends that process
alone, and it is started again. For each of its processes this one does what systemd does for a service: it starts it,
waits until it is ready, watches that it makes progress, and restarts it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from .errors import BundleProblem, ConfigProblem, Problem, RestartRequested
from .monitoring.systemd import SystemdNotifier
from .process_limits import describe_exit, die_with_parent

log = logging.getLogger(__name__)

RESTART_SECONDS = 2.0
START_SECONDS = 90.0
"""A process that is not ready by then is started again, as systemd does."""
STOP_SECONDS = 15.0
NO_RESTART = {0, ConfigProblem.code, BundleProblem.code}
"""Exit codes after which a restart cannot help: a recording has ended, wrong configuration, wrong bundle."""
_LIBRARIES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert.interpreter"}
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def load_libraries(backends: Iterable[str]) -> None:
    """Loads what every camera needs, and the libraries of the back ends that are named; `auto` names none yet."""
    for name in (
        "cv2",
        "paho.mqtt.client",
        *[_LIBRARIES[each] for each in sorted(set(backends)) if each in _LIBRARIES],
    ):
        with contextlib.suppress(ImportError):  # the camera's own process tells what is missing
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector would write to every object, and so copy the shared pages


class CameraProcess:
    """The process of one camera, and the socket to which it tells that it is ready and makes progress."""

    def __init__(self, camera: str, folder: Path, number: int) -> None:
        self.camera = camera
        self.address = folder / f"{number}.notify"  # a camera's name may be too long for the address of a socket
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.address))
        self.socket.setblocking(False)
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.ready = False
        self.deadline = float("inf")
        """Monotonic time by which it must be ready or tell of progress."""
        self.start_at = 0.0

    @property
    def is_over(self) -> bool:
        """It ended and is not started again."""
        return self.pid is None and self.exit_code in NO_RESTART

    def start(self, run_camera: Callable[[str], None]) -> None:
        """Forks the process; `run_camera` runs there."""
        self.ready, self.deadline, self.exit_code = False, time.monotonic() + START_SECONDS, None
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            os.environ["NOTIFY_SOCKET"] = str(self.address)
            _run_and_exit(self.camera, run_camera)
        self.pid = pid

    def read_notices(self, watchdog_seconds: float) -> None:
        """Takes what the process has told."""
        with contextlib.suppress(BlockingIOError):
            while message := self.socket.recv(4096):
                self.ready = self.ready or b"READY=1" in message
                if self.ready:
                    self.deadline = time.monotonic() + (watchdog_seconds or float("inf"))

    def note_exit(self, status: int, stopping: bool) -> None:
        """Notes how the process ended."""
        self.pid, self.exit_code, self.start_at = None, os.waitstatus_to_exitcode(status), time.monotonic()
        self.deadline = float("inf")
        if stopping or self.exit_code == 0:
            return
        if self.is_over:
            log.error("%s: ended with %s; the other cameras go on", self.camera, describe_exit(self.exit_code))
        else:
            self.start_at += RESTART_SECONDS
            how = describe_exit(self.exit_code)
            log.error("%s: ended with %s; it starts again in %g s", self.camera, how, RESTART_SECONDS)

    def kill_if_late(self) -> None:
        """Kills a process that does not start or makes no progress."""
        if self.pid is not None and time.monotonic() > self.deadline:
            log.error("%s: %s; it is killed", self.camera, "makes no progress" if self.ready else "does not start")
            os.kill(self.pid, signal.SIGKILL)
            self.deadline = float("inf")


class CameraProcesses:
    """The processes of several cameras.

    Args:
        cameras: their names
        run_camera: runs the daemon of a camera, in its process
    """

    def __init__(self, cameras: Iterable[str], run_camera: Callable[[str], None]) -> None:
        self.run_camera, self.systemd = run_camera, SystemdNotifier()
        self.folder = tempfile.TemporaryDirectory(prefix="vedette-")
        self.processes = [
            CameraProcess(camera, Path(self.folder.name), number) for number, camera in enumerate(cameras)
        ]
        self.stopping = False

    def run(self) -> int:
        """Runs until all processes are over, or a signal arrives.

        The service is ready when the first camera is: one that does not start must not make systemd end the others.

        Returns:
            the exit code: the highest of the processes' own; 0 after a signal
        """
        selector, announced = selectors.DefaultSelector(), False
        with _signal_socket() as signals, self.folder:
            selector.register(signals, selectors.EVENT_READ)
            for process in self.processes:
                selector.register(process.socket, selectors.EVENT_READ)
            while not all(process.is_over for process in self.processes):
                self._start_due_processes()
                if not announced and any(process.ready for process in self.processes):
                    announced = True
                    self.systemd.notify_ready()
                self.systemd.feed_watchdog()
                selector.select(timeout=0.5)
                self._handle_signals(signals)
                for process in self.processes:
                    process.read_notices(2 * self.systemd.interval)
                    process.kill_if_late()
                self._collect_ended_processes()
                if self.stopping:
                    self._stop()
                    return 0
        return max(process.exit_code or 0 for process in self.processes)

    def _start_due_processes(self) -> None:
        for process in self.processes:
            if process.pid is None and not process.is_over and time.monotonic() >= process.start_at:
                process.start(self.run_camera)

    def _handle_signals(self, signals: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in signals.recv(64):
                if number == signal.SIGHUP:
                    self._send_to_all(signal.SIGHUP)
                elif number != signal.SIGCHLD:
                    self.stopping = True

    def _send_to_all(self, number: signal.Signals) -> None:
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, number)  # it exists until its end was collected

    def _collect_ended_processes(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                pid, status = os.waitpid(process.pid, os.WNOHANG)
                if pid:
                    process.note_exit(status, self.stopping)

    def _stop(self) -> None:
        """Lets every process send its pending events and end; kills those that do not."""
        self.systemd.notify_stopping()
        self._send_to_all(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end and any(process.pid is not None for process in self.processes):
            time.sleep(0.05)
            self._collect_ended_processes()
        self._send_to_all(signal.SIGKILL)


@contextlib.contextmanager
def _signal_socket() -> Iterator[socket.socket]:
    """A socket that gets a byte for each signal; SIGHUP was blocked since the start of the command."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        with reader, writer:
            yield reader
    finally:
        signal.set_wakeup_fd(-1)


class _CameraName(logging.Filter):
    """Puts the camera's name in front of each line of its process."""

    def __init__(self, camera: str) -> None:
        super().__init__()
        self.camera = camera

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = f"{self.camera}: {record.getMessage()}", None
        return True


def _run_and_exit(camera: str, run_camera: Callable[[str], None]) -> NoReturn:
    """Runs a camera in this process, which was just forked, and ends the process."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # the daemon unblocks it when it can reload
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for handler in logging.getLogger("vedette").handlers:
        handler.addFilter(_CameraName(camera))
    code = 1
    try:
        run_camera(camera)
        code = 0
    except Problem as problem:
        if isinstance(problem, RestartRequested):
            log.info("%s", problem.message)
        else:
            log.error("%s%s", problem.message, f"; {problem.hint}" if problem.hint else "")
        code = problem.code
    except BaseException:  # whatever it was, this process must not go on as its parent would
        log.exception("unexpected")
    finally:
        logging.shutdown()
        os._exit(code)
