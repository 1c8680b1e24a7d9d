"""The demonstration of a line: cells pass as parts, from a simulated controller, and every part is accounted for.

On the way the belt jams, so that parts come in a bunch; the camera hangs for a moment, so that a picture is late; and
the broker is away for a while. The daemon, the broker and Modbus are the real ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.errors import MachineProblem
from vedette.runtime.events.event import Event, SystemEvent

from ..build import BuildResult
from ..data.split import Split
from .broker import write_broker_config
from .line_account import LineAccount
from .line_controller import LineController
from .solar_cells import DEVICE
from .step_display import StepDisplay
from .subscriber import TOPIC_PREFIX

CAMERA = "line"
_CAMERA_FILE = """\
source = "file:../../parts?fps=0"
bundle = "../../{bundle}"

[trigger]
source = "modbus://127.0.0.1:{port}"
deadline = {deadline}
acknowledge = true
depth = 6
"""
_JAM, _HANG, _OUTAGE_BEGINS, _OUTAGE_ENDS = 0.25, 0.5, 0.6, 0.8  # shares of the parts
_JAM_SECONDS, _BUNCH, _BUNCH_GAP = 1.5, 10, 0.005
_DRAIN_SECONDS = 30.0


def write_line(folder: Path, built: BuildResult, url: str, port: int, deadline: float) -> list[Path]:
    """Writes the pictures of the parts and the configuration; returns the pictures in order."""
    for name in ("parts", "line"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "parts").mkdir()
    (folder / "line" / "cameras").mkdir(parents=True)
    defective = built.split.defect if isinstance(built.split, Split) else []
    pictures = sorted([*built.split.test, *defective], key=lambda path: path.name)
    for path in pictures:
        (folder / "parts" / path.name).symlink_to(path.resolve())
    device = DEVICE.format(url=url, prefix=TOPIC_PREFIX).replace("[outbox]\n", f"[outbox]\ndrain = {_DRAIN_SECONDS}\n")
    (folder / "line" / "vedette.toml").write_text(device)
    camera = _CAMERA_FILE.format(bundle=built.bundle.name, port=port, deadline=deadline)
    (folder / "line" / "cameras" / f"{CAMERA}.toml").write_text(camera)
    return pictures


def plan_moments(count: int, rate: float) -> list[float]:
    """When the parts arrive, seconds after the start: evenly, but for a jam and the bunch behind it."""
    moments, now, jam = [], 1.0, int(_JAM * count)
    for number in range(count):
        if number == jam:
            now += _JAM_SECONDS
        elif number:
            now += _BUNCH_GAP if jam < number < jam + _BUNCH else 1 / rate
        moments.append(now)
    return moments


class DemoLine:
    """The broker, the daemon and the controller of the demonstration.

    Args:
        folder: of the demonstration
        log: takes a line about what happens
    """

    def __init__(self, folder: Path, log: Any) -> None:
        self.folder, self.log = folder, log
        self.broker_file, self.broker_port = write_broker_config(folder)
        self.modbus_port = find_free_port()
        self.broker: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the broker."""
        return f"mqtt://127.0.0.1:{self.broker_port}"

    def run(self, count: int, rate: float, deadline: float) -> LineController:
        """Runs `count` parts, with the three faults on the way; returns what the controller saw.

        Raises:
            MachineProblem: the daemon does not listen, or ended with an error.
        """
        self.start_broker()
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", CAMERA, "--config", str(self.folder / "line")]
        path = self.folder / "line.log"
        try:
            with path.open("wb") as log:
                self.daemon = subprocess.Popen(command, stderr=log)  # noqa: S603
            steps = {
                int(_JAM * count): lambda: self.log(f"the belt jams; {_BUNCH} parts come in a bunch"),
                int(_HANG * count): lambda: self.hang_camera(2 * deadline),
                int(_OUTAGE_BEGINS * count): self.stop_broker,
                int(_OUTAGE_ENDS * count): self.start_broker,
            }
            controller = LineController(
                self.modbus_port, plan_moments(count, rate), lambda number: steps.get(number, lambda: None)()
            )
            controller.run(patience=deadline + 5)
            self.daemon.send_signal(signal.SIGTERM)
            code = self.daemon.wait(_DRAIN_SECONDS + 30)
        finally:
            for process in (self.daemon, self.broker):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
        if controller.failure or code:
            raise MachineProblem(controller.failure or f"the daemon ended with code {code}", hint=f"see {path}")
        return controller

    def start_broker(self) -> None:
        """Starts the broker on its port."""
        code = f"import iotcore; iotcore.IotCoreBroker(config_path={str(self.broker_file)!r}).run_forever()"
        command = [sys.executable, "-c", code]
        self.broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        self.log(f"a broker at {self.url}")

    def stop_broker(self) -> None:
        """Kills the broker."""
        assert self.broker is not None
        self.log("the broker is killed")
        self.broker.kill()
        self.broker.wait()

    def hang_camera(self, seconds: float) -> None:
        """Stops the processes of the daemon that read pictures, for a while."""
        assert self.daemon is not None
        self.log(f"the camera hangs for {seconds:g} s")
        children = list_children(self.daemon.pid)
        for child in children:
            os.kill(child, signal.SIGSTOP)

        def resume() -> None:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGCONT)

        threading.Timer(seconds, resume).start()


def compute_account(folder: Path, pictures: list[Path], controller: LineController) -> LineAccount:
    """Compares what the controller saw with the events, and the events with what the cells are."""
    verdicts, delivered = _read_verdicts(folder / "line" / "state" / CAMERA / "outbox.db")
    by_part = {int(each["part"]): each for each in verdicts}
    pictured = [each for each in verdicts if each["exposed"]]  # these took the pictures, one after the other
    truth = {int(each["part"]): path.parent.name for each, path in zip(pictured, pictures, strict=False)}
    judged = Counter((truth.get(part, ""), each["verdict"]) for part, each in by_part.items())
    parts = [result.part for result in controller.results]
    wrong = sum(
        result.verdict != by_part[result.part]["verdict"]
        or (result.verdict == "accept" and not by_part[result.part]["exposed"])
        for result in controller.results
    )
    return LineAccount(
        triggered=len(controller.triggered),
        verdicts=dict(Counter(each["verdict"] for each in verdicts)),
        reasons=dict(Counter(each["reason"] for each in verdicts if each["verdict"] == "error")),
        outputs=len(parts),
        unread=len(set(by_part) - set(parts)),
        in_order=parts == sorted(set(parts)),
        wrong_outputs=wrong,
        found=judged["defect", "reject"],
        missed=judged["defect", "accept"],
        false_rejects=judged["good", "reject"],
        delivered=delivered,
    )


def _read_verdicts(path: Path) -> tuple[list[dict[str, Any]], int]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT body, delivered FROM events ORDER BY sequence").fetchall()
    records = [(msgspec.json.decode(body, type=Event | SystemEvent), delivered) for body, delivered in rows]
    verdicts = [
        (each.facts, delivered)
        for each, delivered in records
        if isinstance(each, SystemEvent) and (each.rule, each.kind) == ("part", "verdict")
    ]
    return [facts for facts, _ in verdicts], sum(bool(delivered) for _, delivered in verdicts)


def run_line(
    folder: Path, built: BuildResult, steps: StepDisplay, count: int, rate: float, deadline: float
) -> LineAccount:
    """Runs the demonstration with the built bundle.

    Args:
        folder: of the demonstration
        built: the bundle, and its images
        steps: shows what happens
        count: parts, at most as many as there are cells to test
        rate: parts a second
        deadline: seconds from a trigger to its verdict

    Raises:
        MachineProblem: the daemon does not listen, or ended with an error.
    """
    line = DemoLine(folder, steps.log)
    pictures = write_line(folder, built, line.url, line.modbus_port, deadline)
    count = min(count, len(pictures))
    steps.log(f"{count} cells pass as parts, {rate:g} a second")
    controller = line.run(count, rate, deadline)
    return compute_account(folder, pictures, controller)


def list_children(process: int) -> list[int]:
    """The processes that a process has started."""
    folder = Path(f"/proc/{process}/task")
    return [int(child) for task in folder.iterdir() for child in (task / "children").read_text().split()]


def find_free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
