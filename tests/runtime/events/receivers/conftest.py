"""Fixtures of the tests of receivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from webhook_server import WebhookServer

from vedette.runtime.config.sink_tables import AnySink
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.receiver_forwarder import ReceiverForwarder
from vedette.runtime.events.receivers import RECEIVERS, ReceiverContext
from vedette.runtime.events.receivers import __name__ as package
from vedette.runtime.plugin_tables import load_plugin


def make_context(outbox: Outbox, evidence: Path) -> ReceiverContext:
    return ReceiverContext("box7", "door", "/plant/hall/line1/box7", "UTC", evidence, outbox.epoch, outbox.clock)


@pytest.fixture(autouse=True)
def short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.runtime.events.receiver_forwarder.MAX_BACKOFF_SECONDS", 0.05)


class ForwarderMaker:
    """Makes forwarders that are not started yet; the outbox of one is `forwarder.outbox`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: list[ReceiverForwarder] = []

    def __call__(self, settings: AnySink, folder: str = "state") -> ReceiverForwarder:
        path = self.folder / folder / "outbox.db"
        outbox = Outbox(path, 1 << 20, volatile=True, camera="door", sinks=[settings.name])
        use = str(settings.__struct_config__.tag)
        context = make_context(outbox, self.folder / "evidence")
        forwarder = ReceiverForwarder(
            outbox, settings.name, load_plugin(package, RECEIVERS, use, "use")(settings, context)
        )
        self.open.append(forwarder)
        return forwarder

    def stop(self, forwarder: ReceiverForwarder) -> None:
        """Ends a forwarder, and closes its outbox."""
        self.open.remove(forwarder)
        if forwarder.is_alive():
            forwarder.stop(0.0)
            forwarder.wait_for_end()
        forwarder.outbox.close()


@pytest.fixture
def forwarder_of(tmp_path: Path) -> Iterator[ForwarderMaker]:
    maker = ForwarderMaker(tmp_path)
    yield maker
    for each in list(maker.open):
        maker.stop(each)


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    server = WebhookServer()
    yield server
    server.stop()
