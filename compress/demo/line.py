"""The demonstration of a line: cells pass as parts, from a simulated controller, and every part is accounted for.

On the way the line changes between two products, and once selects one that there is not; the belt jams, so that parts
come in a bunch; the camera hangs for a moment, so that a picture is late; and
the broker is away for a while. The daemon, the broker and Modbus are the real ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.errors import MachineProblem

from ..build import BuildRequest, BuildResult, build
from .broker import write_broker_config
from .line_account import LineAccount, compute_account
from .line_controller import LineController
from .line_plan import (
    BUNCH,
    FIRST,
    HANG,
    JAM,
    NAMES,
    OUTAGE_BEGINS,
    OUTAGE_ENDS,
    SECOND,
    PlannedPicture,
    count_cells,
    plan_moments,
    plan_pictures,
    plan_products,
)
from .solar_cells import DEVICE, POLY, write_images_and_goal
from .step_display import StepDisplay
from .subscriber import TOPIC_PREFIX

CAMERA = "line"
_CAMERA_FILE = """\
source = "file:../../parts?fps=0"

[trigger]
source = "modbus://127.0.0.1:{port}"
deadline = {deadline}
acknowledge = true
depth = 6
"""
_PRODUCT = """
[[products]]
name = "{name}"
index = {index}
bundle = "{bundle}"
"""
_DRAIN_SECONDS = 30.0


def write_line(
    folder: Path,
    builds: dict[int, BuildResult],
    pictures: Sequence[PlannedPicture],
    url: str,
    port: int,
    deadline: float,
) -> None:
    """Writes the pictures of the parts and the configuration.

    Args:
        folder: of the demonstration
        builds: the bundle of each product, by index
        pictures: in the order in which the parts take them
        url: of the broker
        port: of the Modbus server
        deadline: seconds from a trigger to its verdict
    """
    for name in ("parts", "line"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "parts").mkdir()
    (folder / "line" / "cameras").mkdir(parents=True)
    for number, picture in enumerate(pictures):
        (folder / "parts" / f"{number:05d}-{picture.path.name}").symlink_to(picture.path.resolve())
    device = DEVICE.format(url=url, prefix=TOPIC_PREFIX).replace("[outbox]\n", f"[outbox]\ndrain = {_DRAIN_SECONDS}\n")
    (folder / "line" / "vedette.toml").write_text(device)
    camera = _CAMERA_FILE.format(port=port, deadline=deadline)
    tables = [_PRODUCT.format(name=NAMES[each], index=each, bundle=built.bundle) for each, built in builds.items()]
    (folder / "line" / "cameras" / f"{CAMERA}.toml").write_text(camera + "".join(tables))


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

    def run(self, products: Sequence[int], rate: float, deadline: float) -> LineController:
        """Runs a part for each product index, with the three faults on the way; returns what the controller saw.

        Raises:
            MachineProblem: the daemon does not listen, or ended with an error.
        """
        self.start_broker()
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", CAMERA, "--config", str(self.folder / "line")]
        count, path = len(products), self.folder / "line.log"
        try:
            with path.open("wb") as log:
                self.daemon = subprocess.Popen(command, stderr=log)  # noqa: S603
            steps = {
                int(JAM * count): lambda: self.log(f"the belt jams; {BUNCH} parts come in a bunch"),
                int(HANG * count): lambda: self.hang_camera(2 * deadline),
                int(OUTAGE_BEGINS * count): self.stop_broker,
                int(OUTAGE_ENDS * count): self.start_broker,
            }
            controller = LineController(
                self.modbus_port,
                plan_moments(count, rate),
                products,
                lambda number: steps.get(number, lambda: None)(),
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


def build_second_product(folder: Path, seed: int, key: Ed25519PrivateKey, steps: StepDisplay) -> BuildResult:
    """Builds a bundle for the other kind of cells, in a folder below that of the demonstration."""
    steps.log("a second product: polycrystalline cells")
    goal = write_images_and_goal(folder / POLY.name, seed, steps.progress, POLY)
    return build(BuildRequest(goal, folder / POLY.name, key), steps.progress, steps.log)


def run_line(
    folder: Path, built: tuple[BuildResult, BuildResult], steps: StepDisplay, count: int, rate: float, deadline: float
) -> LineAccount:
    """Runs the demonstration with the built bundles.

    Args:
        folder: of the demonstration
        built: the bundles of both products, and their images
        steps: shows what happens
        count: parts, at most as many as there are cells of the first product to test
        rate: parts a second
        deadline: seconds from a trigger to its verdict

    Raises:
        MachineProblem: the daemon does not listen, or ended with an error.
    """
    line, builds = DemoLine(folder, steps.log), dict(zip((FIRST, SECOND), built, strict=True))
    products = plan_products(min(count, count_cells(builds[FIRST])))
    pictures = plan_pictures(products, builds)
    write_line(folder, builds, pictures, line.url, line.modbus_port, deadline)
    changes = sum(before != after for before, after in pairwise(products))
    steps.log(f"{len(products)} cells of two products pass, {rate:g} a second; the product changes {changes} times")
    state = folder / "line" / "state" / CAMERA
    controller = line.run(products, rate, deadline)
    return compute_account(state / "outbox.db", products, pictures, controller)


def list_children(process: int) -> list[int]:
    """The processes that a process has started."""
    folder = Path(f"/proc/{process}/task")
    return [int(child) for task in folder.iterdir() for child in (task / "children").read_text().split()]


def find_free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
