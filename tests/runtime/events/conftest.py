"""Fixtures of the tests of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vedette.runtime.events.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An outbox of 1 MiB in tmp_path/outbox.db."""
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    yield outbox
    outbox.close()
