"""Hides what privacy zones would show if the camera was moved.

The zones lie at fixed places of the picture. If the camera is turned or knocked, they lie over something else. So the
guard compares pictures with the stored view for which the zones were drawn (stored_view.py, view_matcher.py):

    still     the zones lie where they should, or next to it: then they are black there, too, and nothing is told
    moved     by little, and surely: the zones are black where they lie now, too (moved_zones.py)
    lost      by more, or it cannot be told: no picture may be shown, until the view is back or a person confirms it

A picture is examined if the last one was so two seconds ago, or if some of it differs from that one: so most knocks are
noticed in the first picture that shows them. Until a stored view exists, pictures are hidden, too: that takes two
seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..config.polygon import Polygon
from ..errors import MachineProblem
from .capture.privacy_mask import rasterize_zones
from .frame import Frame
from .moved_zones import FAINT, FOLLOW_SHARE, MovedZones, describe_motion, follow_zones
from .stored_view import StoredView
from .view_matcher import STILL, ViewMatcher, ViewMotion, shrink

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
UNSETTLED_SECONDS = 0.5  # between pictures that are examined while the view is moved, lost or not stored and not told
TELL_SECONDS = 10.0  # for which the view must be moved or lost before it is told: something may pass close by
_AGREEING = 3  # pictures that must show the same view before it is stored
_GLANCE = (80, 45)  # width and height of the picture in which sudden changes are looked for
_CHANGED_LEVEL, _CHANGED_SHARE = 12, 0.05

Position = Literal["still", "moved", "lost"]
MOVED_FAULT = "the camera was moved: its privacy zones follow"
LOST_FAULT = "the view of the privacy zones is lost, so no picture is shown"
_LEARNING = "the view is not stored yet"


class ViewGuard:
    """The guard of one camera.

    Args:
        zones: its privacy zones, which are black already in each frame
        folder: its state folder
    """

    def __init__(self, zones: tuple[Polygon, ...], folder: Path) -> None:
        self.zones, self.stored = zones, StoredView(folder, zones)
        self.position: Position = "lost"
        self.reason = _LEARNING
        """Why the view is lost."""
        self.told: Position = "still"
        self.told_at = 0.0
        self.since: float | None = None
        """When the position began to differ from what was told, a monotonic time."""
        self.matcher: ViewMatcher | None = None
        self.candidate: ViewMatcher | None = None
        """A view that is not stored yet."""
        self.agreed = 0
        self.motion: ViewMotion | None = None
        self.moved_zones: MovedZones | None = None
        self.examined, self.glance = -inf, np.zeros(())

    def look(self, frame: Frame) -> Frame:
        """The frame with the privacy zones where they lie now, or with a mark that it must not be shown."""
        glance = _glance_at(frame.pixels)
        interval = CHECK_SECONDS if self.position in ("still", self.told) else UNSETTLED_SECONDS
        is_due = not 0 <= frame.moment - self.examined < interval
        if is_due or (self.position != "lost" and self._differs(glance)):
            self.examined, self.glance = frame.moment, glance
            try:
                self._examine(frame.pixels)
            except (cv2.error, ValueError) as error:  # a strip of a few pixels, for example
                self._lose(f"it cannot be compared: {error}")
        if self.position == "lost":
            return msgspec.structs.replace(frame, hidden=True)
        if self.moved_zones is not None:
            return msgspec.structs.replace(frame, pixels=self.moved_zones.hide(frame.pixels))
        return frame

    def tell(self, now: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """The system events of what has changed for long enough: kind and facts.

        Args:
            now: monotonic time, seconds
        """
        if self.position == self.told:
            self.since = None
            return
        if self.since is None:
            self.since = now
        if now - self.since < TELL_SECONDS:
            return
        before, lasted = self.told, now - self.told_at
        self.told, self.told_at, self.since = self.position, self.since, None
        if self.position == "still":
            log.info("the privacy zones lie where they should again")
            yield "view_back", {"from": f"view_{before}", "seconds": round(lasted, 1)}
        elif self.position == "moved":
            assert self.motion is not None
            log.warning(MOVED_FAULT)
            yield "view_moved", describe_motion(self.motion)
        else:
            log.warning("%s: %s", LOST_FAULT, self.reason)
            yield "view_lost", {"reason": self.reason}

    def faults(self) -> dict[str, bool]:
        """Faults in words, with whether each is present. Any thread may call it."""
        return {MOVED_FAULT: self.told == "moved", LOST_FAULT: self.told == "lost"}

    def _differs(self, glance: NDArray[Any]) -> bool:
        """Whether some of a frame differs from the one that was examined last, beside the light."""
        if glance.shape != self.glance.shape:
            return True
        difference = glance - self.glance
        return bool((np.abs(difference - np.median(difference)) > _CHANGED_LEVEL).mean() > _CHANGED_SHARE)

    def _examine(self, pixels: NDArray[Any]) -> None:
        self.moved_zones, gray = None, shrink(pixels)
        try:
            matcher = self._find_matcher(gray)
        except MachineProblem as problem:
            self._lose(f"{problem.message}; {problem.hint}")
            return
        if matcher is None:
            return
        if gray.shape != matcher.reference.shape:
            self._lose("the pictures have another shape than those for which the zones were drawn")
            return
        before = self.motion.matrix if self.motion is not None else None
        self.motion = matcher.locate(gray, before)
        if self.motion is None:
            self._lose("the picture shows something else, or too little to tell")
        elif (shift := matcher.measure_shift(self.motion.matrix)) <= STILL:
            self.position = "still"
            self.moved_zones = follow_zones(matcher, self.motion) if shift > FAINT else None
        elif (followed := follow_zones(matcher, self.motion)) is not None:
            self.position, self.moved_zones = "moved", followed
        else:
            self._lose("the camera was moved too far, or it is not sure how far")

    def _lose(self, reason: str) -> None:
        self.position, self.reason = "lost", reason

    def _find_matcher(self, gray: NDArray[Any]) -> ViewMatcher | None:
        """What compares with the stored view; None: it is not stored yet.

        Raises:
            MachineProblem: the view cannot be read or stored.
        """
        if self.matcher is not None and self.stored.exists():
            return self.matcher
        self.matcher = None
        if (picture := self.stored.read()) is not None:
            self.matcher, self.candidate = self._make_matcher(picture), None
            return self.matcher
        self.motion = None
        self._lose(_LEARNING)
        if self.candidate is None or not self._is_same(self.candidate, gray):
            self.candidate, self.agreed = self._make_matcher(gray), 0
        if not self.candidate.is_usable:
            self.candidate = None
            self._lose("the picture has too few outlines to know its view again")
            return None
        self.agreed += 1
        if self.agreed < _AGREEING:
            return None
        self.stored.write(self.candidate.reference)
        log.info("the view of the privacy zones is stored")
        self.matcher, self.candidate = self.candidate, None
        return self.matcher

    def _make_matcher(self, picture: NDArray[Any]) -> ViewMatcher:
        return ViewMatcher(picture, rasterize_zones(self.zones, *picture.shape))

    @staticmethod
    def _is_same(candidate: ViewMatcher, gray: NDArray[Any]) -> bool:
        if gray.shape != candidate.reference.shape:
            return False
        motion = candidate.locate(gray)
        return motion is not None and motion.share >= FOLLOW_SHARE and candidate.measure_shift(motion.matrix) <= STILL


def _glance_at(pixels: NDArray[Any]) -> NDArray[Any]:
    """A very small picture of the green channel, float32."""
    step = max(1, min(pixels.shape[1] // (4 * _GLANCE[0]), pixels.shape[0] // (4 * _GLANCE[1])))
    small = cv2.resize(np.ascontiguousarray(pixels[::step, ::step, 1]), _GLANCE, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)
