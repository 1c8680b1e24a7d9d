"""The retained topics of integrations: what nobody updates any more is cleared at the broker.

STATE/CAMERA/integrations.json lists the topics that a camera's integrations have used since their settings changed. At
its next connection a camera clears those of its own that belong to other settings, and those of all removed cameras.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path

import msgspec

from ..atomic_file import write_atomically
from ..config.configuration import Config
from ..errors import UNREADABLE, MachineProblem
from ..events.topics import Topics

log = logging.getLogger(__name__)

FILE_NAME = "integrations.json"
MAX_TOPICS = 1000
_HINT = "retained messages of integrations may stay at the broker when a camera is removed"


class TopicRecord(msgspec.Struct, frozen=True):
    """What integrations.json holds."""

    settings: str = ""
    """Digest of the settings that the topics come from."""
    topics: tuple[str, ...] = ()
    """In use."""
    stale: tuple[str, ...] = ()
    """To be cleared."""


class RetainedTopics:
    """Remembers the retained topics of one camera's integrations.

    Args:
        config: configuration of the camera
    """

    def __init__(self, config: Config) -> None:
        self.path = config.state_folder / FILE_NAME
        facts = (config.integrations, Topics.from_config(config).root, config.camera)
        digest = hashlib.sha256(msgspec.json.encode(facts)).hexdigest()
        record = _read(self.path)
        if record.settings != digest:
            record = TopicRecord(digest, (), tuple(dict.fromkeys((*record.stale, *record.topics))))
        self.record = record
        self.removed = _find_removed_cameras(config)

    def add(self, topic: str) -> None:
        """Remembers a topic, before it is used."""
        if topic not in self.record.topics and len(self.record.topics) < MAX_TOPICS:
            stale = tuple(each for each in self.record.stale if each != topic)
            self._write(msgspec.structs.replace(self.record, topics=(*self.record.topics, topic), stale=stale))

    def stale_topics(self) -> list[str]:
        """The topics to clear."""
        return [*self.record.stale, *(topic for path in self.removed for topic in _read_all_topics(path))]

    def forget_stale_topics(self) -> None:
        """Forgets the topics to clear: the broker has cleared them."""
        if self.record.stale:
            self._write(msgspec.structs.replace(self.record, stale=()))
        for path in self.removed:
            with contextlib.suppress(OSError):
                path.unlink()
        self.removed = []

    def _write(self, record: TopicRecord) -> None:
        self.record = record
        try:
            write_atomically(self.path, msgspec.json.encode(record), _HINT, private=True)
        except MachineProblem as problem:
            log.warning("%s; %s", problem.message, problem.hint)


def _find_removed_cameras(config: Config) -> list[Path]:
    """The records of cameras that have no file any more."""
    cameras = config.camera_file.parent
    found = sorted(config.state.glob(f"*/{FILE_NAME}"))
    return [path for path in found if not (cameras / f"{path.parent.name}.toml").exists()]


def _read_all_topics(path: Path) -> tuple[str, ...]:
    record = _read(path)
    return (*record.stale, *record.topics)


def _read(path: Path) -> TopicRecord:
    try:
        return msgspec.json.decode(path.read_bytes(), type=TopicRecord)
    except (OSError, *UNREADABLE):
        return TopicRecord()
