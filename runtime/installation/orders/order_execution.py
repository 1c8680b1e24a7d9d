"""How a box obeys an order: it fetches the bundle, and runs `vedette install` or `vedette rollback` as a child process.

So the daemon neither opens the bundle nor tries it, and an order does what its operator would do at the box.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable

from ...bundle.signed_order import OrderRefused
from ...config.configuration import Config
from ...errors import MachineProblem
from ..camera_bundle import cameras_of
from ..child_command import read_problem, start_command
from ..model_store import ModelStore
from .bundle_download import download_bundle
from .bundle_pieces import PieceReceiver
from .order import Order
from .order_memory import FOLDER

INSTALL_SECONDS = 900.0
_NICENESS = 10
_ROOM = 64 << 20  # bytes that stay free beside the bundle and its copy in the store


class DeviceExecutor:
    """Obeys orders on this device.

    Args:
        settings: configuration of a camera
        pieces: receives bundles that come over MQTT
    """

    def __init__(self, settings: Config, pieces: PieceReceiver) -> None:
        self.settings, self.pieces = settings, pieces
        self.folder = settings.device_file.parent
        self.store = ModelStore(settings.state)

    def check(self, order: Order) -> None:
        """Checks that a camera of this box runs the product from the store."""
        if not cameras_of(order.product, self.folder):
            raise OrderRefused(f'no camera of this box has bundle = "installed:{order.product}"')

    def current(self, product: str) -> int | None:
        """The release that is current."""
        return self.store.find_model(product).current

    def execute(self, order: Order, lock: int, report: Callable[[str, list[int]], None]) -> str:
        """Obeys an order; returns a detail for its outcome."""
        if order.action == "rollback":
            if (current := self.current(order.product)) != order.release:
                return f"release {current} is current, so nothing was done"
            return self._run(lock, "rollback", order.product)
        path = self.settings.state / FOLDER / "bundle.vedette"
        try:
            free = shutil.disk_usage(path.parent).free
            if free < 2 * order.bytes + _ROOM:
                raise MachineProblem(f"{free >> 20} MiB are free, too few for a bundle of {order.bytes >> 20} MiB")
            report("fetching", [])
            if order.source == "mqtt":
                self.pieces.fetch(order, path, lambda wanted: report("fetching", wanted))
            else:
                download_bundle(order, path, self.settings.broker.ca_file)
            report("installing", [])
            conditions = ["--probation", f"{order.minutes:g}", "--band", f"{order.band:g}"]
            conditions += ["--max-ms", f"{order.max_ms:g}"] if order.max_ms is not None else []
            return self._run(lock, "install", str(path), *conditions)
        finally:
            path.unlink(missing_ok=True)

    def _run(self, lock: int, *arguments: str) -> str:
        """Runs a command of Vedette; returns the last line that it printed."""
        process = start_command(arguments, self.folder, subprocess.PIPE, subprocess.STDOUT, (lock,))
        with process:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            try:
                output, _ = process.communicate(timeout=INSTALL_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise MachineProblem(f"vedette {arguments[0]} took more than {INSTALL_SECONDS:.0f} s") from None
        lines = [line for line in output.splitlines() if line.strip()]
        if process.returncode:
            reason = read_problem(output)[0] or f"vedette {arguments[0]} ended with {process.returncode}"
            raise MachineProblem(reason)
        return lines[-1] if lines else ""
