"""The evidence recorder: sees the frames that the rules see, and attaches evidence to each event that starts.

A thumbnail is on disk before its event is recorded, and the event carries its digest. A clip is finished later: the
system event `vedette.evidence.clip` carries its digest and the id of its event. If nothing can be written, the event
goes out without evidence, because the event matters more.

Beside the thumbnail of an anomaly lie its heat map and, if the bundle has pictures of good parts, the most similar one.
A rejected part of a line gets the same under the id of its verdict's event, with the whole frame as its picture.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..bundle.manifest import Manifest
from ..camera.frame import Frame
from ..config.configuration import Config
from ..config.credentials import read_secret
from ..errors import MachineProblem
from ..events.event import Attachment, Event
from ..events.outbox import Outbox
from ..inference.explanation import Explanation
from ..inference.prediction import Prediction
from ..inference.predictor import Predictor
from .anonymization import anonymize
from .aws_sigv4 import SigningKey
from .clips import CLIP_SUFFIX, ClipEncoder, FrameRing
from .explanation_files import encode_explanation
from .face_guard import FaceGuard, open_face_guard
from .part_pictures import PartPictures
from .private_boxes import PrivateBox, PrivateBoxes, cover_boxes, open_private_boxes
from .store import EvidenceCounts, EvidenceStore
from .thumbnail import crop_to_boxes, encode_picture, file_suffix
from .upload import MEDIA_TYPES, Uploader, public_object_url

log = logging.getLogger(__name__)

_EXPIRE_SECONDS = 60.0


class EvidenceRecorder:
    """The recorder of one camera; it does nothing if evidence is disabled.

    Args:
        config: of the camera
        outbox: takes the events about clips
        manifests: of its bundles, which say whether they are about people or vehicles; empty: all may be shown
        predictor: says what else is in the frames, and explains them; None: nothing does

    Raises:
        ConfigProblem: the secret of the remote store cannot be read, or number plates cannot be hidden.
    """

    def __init__(
        self, config: Config, outbox: Outbox, manifests: Sequence[Manifest] = (), predictor: Predictor | None = None
    ) -> None:
        settings = self.settings = config.evidence
        self.camera, self.outbox, self.predictor = config.camera, outbox, predictor
        self.frame: Frame | None = None
        self.found: Sequence[Prediction] = ()
        """All that the model found in the frame."""
        self.pending_clips: list[tuple[Event, float]] = []
        """Events whose clip is not complete yet, with the time (`Frame.moment`) at which it is."""
        self.last_expiry = float("-inf")
        self.guard: FaceGuard | None = None
        """What hides faces; None: they are shown."""
        self.private = PrivateBoxes()
        self.store: EvidenceStore | None = None
        self.uploader: Uploader | None = None
        if not settings.is_enabled:
            return
        folder = settings.store_folder(self.camera, config.state_folder)
        uploads = bool(settings.url)
        self.store = EvidenceStore(folder, settings.quota, settings.days, uploads, config.outbox.min_free)
        if manifests:
            self.guard = open_face_guard(config, manifests)
            self.private = open_private_boxes(config, manifests, hides_faces=self.guard is not None)
        self.ring = FrameRing(settings.clip_seconds, settings.clip_memory)
        self.clips, self.parts = ClipEncoder(self._store_clip, self.guard), PartPictures()
        if uploads:
            secret = read_secret(settings.secret_key_file, "evidence.secret_key_file")
            key = SigningKey(settings.access_key, secret, settings.region) if secret is not None else None
            self.uploader = Uploader(self.store, settings.url, self.camera, key)

    def start(self) -> None:
        if self.uploader is not None:
            self.uploader.start()
        if self.store is not None:
            self.clips.start()
            self.parts.start()

    def add_frame(self, frame: Frame, predictions: Sequence[Prediction]) -> None:
        """Takes the frame that the rules get next, with its predictions."""
        if self.store is None:
            return
        self.frame, self.found = frame, self._find_all(predictions)
        self.private.see(frame.moment, self.found)
        # Before the ring buffer drops their frames.
        for event, end in [each for each in self.pending_clips if each[1] <= frame.moment]:
            self._write_clip(event, end)
        if self.settings.clip_seconds and self.ring.is_due(frame.moment):
            self.ring.add(frame.moment, self._hide_in_last_frame(frame, predictions))
        if time.monotonic() - self.last_expiry > _EXPIRE_SECONDS:
            self.last_expiry = time.monotonic()
            self.store.expire()

    def attach(self, event: Event) -> Event:
        """The event with its evidence, if it starts in the frame that was added last."""
        if self.store is None or self.frame is None or event.kind != "new" or event.frame != self.frame.number:
            return event
        settings = self.settings
        if settings.clip_seconds:
            self.pending_clips.append((event, self.frame.moment + settings.clip_seconds / 2))
        if not settings.thumbnail or self.frame.hidden:
            return event
        pixels = self._hide_in_last_frame(self.frame, event.predictions)
        boxes = () if settings.whole_frame else event.predictions
        stored = self._store_picture(event.id, crop_to_boxes(pixels, boxes, settings.margin))
        if stored is not None:
            self._enqueue_explanation(event.id, self._explain(self.frame), boxes)
            if settings.whole_frame:
                stored = msgspec.structs.replace(stored, whole=True)
        return msgspec.structs.replace(event, evidence=stored)

    def keep_part(self, event: str, frame: Frame, predictions: Sequence[Prediction]) -> None:
        """Stores the picture of a rejected part, and why it was rejected; another thread writes them.

        Args:
            event: id of the event of its verdict; empty: no part was rejected
            frame: the picture
            predictions: for it
        """
        if not event or self.store is None or not self.settings.thumbnail or frame.hidden:
            return
        explanation = self._explain(frame)
        found = self._find_all(predictions)
        covered = self.private.find_in_frame(found, frame.pixels.shape)

        def write() -> None:
            pixels = self._hide(frame, predictions, found, covered)
            if self._store_picture(event, pixels) is not None:
                self._store_explanation(event, explanation, ())

        self.parts.enqueue(write)

    def _find_all(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        """What the model found in the last frame, also outside the region of interest."""
        return predictions if self.predictor is None else self.predictor.found

    def _hide_in_last_frame(self, frame: Frame, shown: Sequence[Prediction]) -> Any:
        return self._hide(frame, shown, self.found, self.private.find(frame.pixels.shape))

    def _hide(
        self,
        frame: Frame,
        shown: Sequence[Prediction],
        found: Sequence[Prediction],
        covered: Sequence[PrivateBox],
    ) -> Any:
        """The picture of a frame as it may be shown, but for faces that the face detector has to find.

        Args:
            frame: the frame
            shown: what stays visible if the surroundings are hidden
            found: all that the model found in it
            covered: what is hidden in any case
        """
        blur = self.settings.blur
        return anonymize(cover_boxes(frame.shown, covered), shown if blur == "surroundings" else found, blur)

    def _enqueue_explanation(self, event: str, explanation: Explanation | None, boxes: Sequence[Prediction]) -> None:
        if explanation is not None:
            self.parts.enqueue(lambda: self._store_explanation(event, explanation, boxes))

    def _explain(self, frame: Frame) -> Explanation | None:
        height, width = frame.pixels.shape[:2]
        return None if self.predictor is None else self.predictor.explain((height, width))

    def _store_picture(self, event: str, pixels: Any) -> Attachment | None:
        """Stores the picture of an event without faces; None: it cannot be stored, or must not."""
        if self.guard is not None and (pixels := self.guard.hide(pixels)) is None:
            return None
        data = encode_picture(pixels, self.settings.thumbnail, self.settings.max_bytes)
        return self._store_file(f"{event}{file_suffix(self.settings.thumbnail)}", data)

    def _store_explanation(self, event: str, explanation: Explanation | None, boxes: Sequence[Prediction]) -> None:
        if explanation is None:
            return
        # A picture of the workshop has no boxes, so what is hidden here cannot be hidden in it.
        shows_good = self.guard is None and not self.private.hides_plates and not self.settings.blur
        files = encode_explanation(explanation, boxes, self.settings.margin, shows_good)
        for suffix, data in files.items():
            self._store_file(f"{event}{suffix}", data)

    def counts(self) -> EvidenceCounts | None:
        """The counters of the store; None if evidence is disabled."""
        return self.store.counts if self.store is not None else None

    def faults(self) -> dict[str, bool]:
        """Faults in words, each with True if it is present now."""
        counts = self.counts() or EvidenceCounts()
        return {
            "events go without evidence": bool(counts.unwritable),
            "evidence waits for its store": bool(counts.trouble),
            "faces cannot be hidden, so no picture is stored": self.guard is not None and bool(self.guard.fault),
        }

    def close(self) -> None:
        """Writes incomplete clips as they are; pending uploads wait for the next start."""
        for event, end in list(self.pending_clips):
            self._write_clip(event, end)
        if self.store is not None:
            self.clips.close()
            self.parts.close()
        if self.uploader is not None:
            self.uploader.close()

    def _write_clip(self, event: Event, end: float) -> None:
        self.pending_clips.remove((event, end))
        self.clips.enqueue(event.event, self.ring.frames_between(end - self.settings.clip_seconds, end))

    def _store_clip(self, event: str, data: bytes) -> None:
        attachment = self._store_file(f"{event}{CLIP_SUFFIX}", data)
        if attachment is None:
            return
        try:
            self.outbox.put_system_event("evidence", "clip", {"event": event, **msgspec.to_builtins(attachment)})
        except MachineProblem as problem:  # the camera's loop fails with it, too, and ends
            log.error("the clip of event %s is not reported: %s", event, problem.message)

    def _store_file(self, name: str, data: bytes) -> Attachment | None:
        assert self.store is not None
        if not self.store.add(name, data):
            return None
        if self.uploader is not None:
            self.uploader.wake()
            url = public_object_url(self.settings.url, self.camera, name)
        else:
            url = (self.store.folder / name).as_uri()
        return Attachment(hashlib.sha256(data).hexdigest(), len(data), MEDIA_TYPES[Path(name).suffix], url)
