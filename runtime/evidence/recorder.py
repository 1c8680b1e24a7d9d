"""Sees what the rules see, and adds to each event that begins what proves it.

The thumbnail is on the disk before its event is recorded, and the event bears its digest. A clip is not finished by
then: a notice of its own, `vedette.evidence.clip`, bears that one's digest and says which event it belongs to. Where
nothing can be written the event goes without: it is worth more than its picture.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..camera.frame import Frame
from ..config.configuration import Config
from ..config.credentials import secret
from ..errors import MachineProblem
from ..events.event import Event, Exhibit
from ..events.outbox import Outbox
from ..inference.prediction import Prediction
from .anonymization import hidden
from .aws_sigv4 import Key
from .clips import SUFFIX, Clips, Ring
from .store import Shelf, Tally
from .thumbnail import suffix, thumbnail
from .upload import TYPES, Uploader, link

log = logging.getLogger(__name__)

_EXPIRE_SECONDS = 60.0


class Witness:
    """Of one camera; it does nothing where no evidence is wanted.

    Raises:
        ConfigProblem: the store's secret cannot be read.
    """

    def __init__(self, config: Config, outbox: Outbox) -> None:
        settings = self.settings = config.evidence
        self.camera, self.outbox = config.camera, outbox
        self.frame: Frame | None = None
        self.seen: Sequence[Prediction] = ()
        self.due: list[tuple[Event, float]] = []
        """Events whose clip is not over yet, and when it is, by `Frame.taken`."""
        self.expired = float("-inf")
        self.shelf: Shelf | None = None
        self.uploader: Uploader | None = None
        if not settings.wanted:
            return
        folder = Path(settings.folder, self.camera) if settings.folder else config.place / "evidence"
        uploads = bool(settings.url)
        self.shelf = Shelf(folder, settings.quota, settings.days, uploads, config.outbox.min_free)
        self.ring, self.clips = Ring(settings.clip_seconds, settings.clip_memory), Clips(self._clip)
        if uploads:
            word = secret(settings.secret_key_file, "evidence.secret_key_file")
            key = Key(settings.access_key, word, settings.region) if word is not None else None
            self.uploader = Uploader(self.shelf, settings.url, self.camera, key)

    def start(self) -> None:
        for thread in (self.uploader, self.clips if self.shelf is not None else None):
            if thread is not None:
                thread.start()

    def look(self, frame: Frame, seen: Sequence[Prediction]) -> None:
        """The frame that rules are about to be shown, and what is in it."""
        if self.shelf is None:
            return
        self.frame, self.seen = frame, seen
        for event, end in [each for each in self.due if each[1] <= frame.taken]:  # before a late frame pushes them out
            self._cut(event, end)
        if self.settings.clip_seconds and self.ring.wants(frame.taken):
            self.ring.add(frame.taken, hidden(frame.pixels, seen, self.settings.blur))
        if time.monotonic() - self.expired > _EXPIRE_SECONDS:
            self.expired = time.monotonic()
            self.shelf.expire()

    def attach(self, event: Event) -> Event:
        """The event with its evidence, where it begins in the frame just seen."""
        if self.shelf is None or self.frame is None or event.kind != "new" or event.frame != self.frame.number:
            return event
        settings = self.settings
        if settings.clip_seconds:
            self.due.append((event, event.taken + settings.clip_seconds / 2))
        if not settings.thumbnail:
            return event
        shown = event.predictions if settings.blur == "surroundings" else self.seen
        pixels = hidden(self.frame.pixels, shown, settings.blur)
        data = thumbnail(pixels, event.predictions, settings.margin, settings.thumbnail, settings.max_bytes)
        return msgspec.structs.replace(event, evidence=self._keep(f"{event.id}{suffix(settings.thumbnail)}", data))

    def tally(self) -> Tally | None:
        """What became of it; None where none is wanted."""
        return self.shelf.tally if self.shelf is not None else None

    def faults(self) -> dict[str, bool]:
        """What is wrong with it, in words, and whether it is just now."""
        now = self.tally() or Tally()
        return {"events go without evidence": bool(now.unwritable), "evidence waits for its store": bool(now.trouble)}

    def close(self) -> None:
        """Clips that are not over are written as they are; what is not uploaded waits for the next start."""
        for event, end in list(self.due):
            self._cut(event, end)
        if self.shelf is not None:
            self.clips.close()
        if self.uploader is not None:
            self.uploader.close()

    def _cut(self, event: Event, end: float) -> None:
        self.due.remove((event, end))
        self.clips.write(event.event, self.ring.between(end - self.settings.clip_seconds, end))

    def _clip(self, event: str, data: bytes) -> None:
        exhibit = self._keep(f"{event}{SUFFIX}", data)
        if exhibit is None:
            return
        try:
            self.outbox.tell("evidence", "clip", {"event": event, **msgspec.structs.asdict(exhibit)})
        except MachineProblem as problem:  # the camera's loop meets it, too, and ends
            log.error("the clip of event %s is not told of: %s", event, problem.message)

    def _keep(self, name: str, data: bytes) -> Exhibit | None:
        assert self.shelf is not None
        if not self.shelf.keep(name, data):
            return None
        if self.uploader is not None:
            self.uploader.wake()
            place = link(self.settings.url, self.camera, name)
        else:
            place = (self.shelf.folder / name).as_uri()
        return Exhibit(hashlib.sha256(data).hexdigest(), len(data), TYPES[Path(name).suffix], place)
