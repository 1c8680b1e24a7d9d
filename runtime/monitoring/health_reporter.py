"""Health reporter of the daemon: counters, status socket, thermal governor and systemd's watchdog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..config.configuration import Config
from .status import DaemonCounters, StatusReport, StatusServer
from .systemd import SystemdNotifier
from .thermal_governor import ThermalGovernor


class HealthReporter:
    """Counts the daemon's work, checks the machine, and reports to status clients and systemd.

    Args:
        settings: configuration of the camera
        boot: boot ID of this boot
        make_report: makes the status report; called from the status server's thread
    """

    def __init__(self, settings: Config, boot: str, make_report: Callable[[], StatusReport]) -> None:
        self.counters = DaemonCounters()
        self.governor = ThermalGovernor(settings.device.hot, settings.state_folder / "undervoltage", boot)
        self.status_server = StatusServer(settings.state_folder, make_report)
        self.notifier = SystemdNotifier()

    def start(self) -> None:
        """Starts the status server, and notifies systemd that the daemon is ready."""
        self.status_server.start()
        self.notifier.notify_ready()

    def check_machine(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Checks the machine; yields kind and facts of a system event for each change."""
        yield from self.governor.update()

    def feed_watchdog(self) -> None:
        """Notifies systemd's watchdog that the daemon makes progress."""
        self.notifier.feed_watchdog()

    def figures(self) -> dict[str, Any]:
        """The fields of the status report that come from this part. Any thread may call it."""
        machine = self.governor.machine_health
        return {
            **self.counters.figures(),
            "temperature": machine.temperature,
            "throttled": machine.active_flags,
            "slowness": self.governor.slowdown,
        }

    def stop(self) -> None:
        """Notifies systemd that the daemon stops, and closes the status socket."""
        self.notifier.notify_stopping()
        self.status_server.close()
