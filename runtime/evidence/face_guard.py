"""Hides faces in pictures before they are stored; without a working detector no picture is stored.

A face is replaced by four by four gray-level means of itself with a margin. In a clip each frame hides its own faces
and those of the frames beside it, because the detector misses a face now and then; every second frame is looked at
closely.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..bundle.manifest import Manifest
from ..config.configuration import Config
from ..errors import MachineProblem, Problem
from ..inference.prediction import Box
from .anonymization import PERSON_LABEL, pixelate_box
from .faces import FaceFinder

log = logging.getLogger(__name__)

_CELLS = 4
_MARGIN = 0.25  # fraction of its size by which a face's box grows: it ends at the brow and the chin


def open_face_guard(settings: Config, manifests: Sequence[Manifest]) -> FaceGuard | None:
    """What hides faces in the evidence of a camera; None: there is no evidence, or it may show them.

    `[privacy] faces` says so; by default they are hidden if one of the bundles is about people.
    """
    is_about_people = any(PERSON_LABEL in each.labels or each.task == "behaviour" for each in manifests)
    hides = settings.privacy.faces == "hide" or (settings.privacy.faces == "auto" and is_about_people)
    return FaceGuard() if settings.evidence.is_enabled and hides else None


class FaceGuard:
    """Hides faces, or refuses pictures. Several threads may use one."""

    def __init__(self) -> None:
        self.finder: FaceFinder | None = None
        self.fault = ""
        """Why no picture is stored; empty: the detector works."""
        try:
            self.finder = FaceFinder()
        except Problem as problem:
            self._close(problem.message)

    def find(self, pixels: Any, closely: bool = True) -> list[Box] | None:
        """The faces of a picture, H x W x 3, uint8; None: the detector does not work, so the picture must not be
        stored.
        """
        if self.finder is None:
            return None
        try:
            return self.finder.find(pixels, closely)
        except (RuntimeError, ValueError, TypeError) as error:
            self._close(str(error))
            return None

    def hide(self, pixels: Any) -> Any | None:
        """A picture without faces; the same array if there are none; None: it must not be stored."""
        faces = self.find(pixels)
        return None if faces is None else cover_faces(pixels, faces)

    def hide_in_clip(self, frames: Sequence[Any]) -> list[Any]:
        """The frames of a clip without faces.

        Raises:
            MachineProblem: the detector does not work, so the clip must not be stored.
        """
        found = [self.find(pixels, closely=number % 2 == 0) for number, pixels in enumerate(frames)]
        shown = []
        for number, pixels in enumerate(frames):
            faces = []
            for near in found[max(number - 1, 0) : number + 2]:
                if near is None:
                    raise MachineProblem(f"faces cannot be hidden: {self.fault}", hint="see docs/privacy.md")
                faces += near
            shown.append(cover_faces(pixels, faces))
        return shown

    def _close(self, reason: str) -> None:
        self.finder, self.fault = None, reason
        log.error("faces cannot be hidden, so no picture is stored: %s", reason)


def cover_faces(pixels: Any, faces: Sequence[Box]) -> Any:
    """A picture in which these boxes are unrecognizable; the same array if there are none."""
    if faces:
        pixels = pixels.copy()
    for box in faces:
        pixelate_box(pixels, box, _MARGIN, _CELLS)
    return pixels
