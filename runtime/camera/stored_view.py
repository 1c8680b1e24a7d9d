"""The view for which the privacy zones of a camera were drawn: one small gray picture in the camera's state folder.

The zones are black in it, and it never leaves the device. Its name holds a digest of the zones: other zones are drawn
on another picture, so they get a view of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..atomic_file import write_atomically
from ..config.polygon import Polygon
from ..errors import MachineProblem

_PREFIX, _SUFFIX = "privacy-view-", ".png"
_HINT = "let the daemon's user write its state folder"


class StoredView:
    """The stored view of some zones.

    Args:
        folder: the camera's state folder
        zones: its privacy zones
    """

    def __init__(self, folder: Path, zones: tuple[Polygon, ...]) -> None:
        digest = hashlib.sha256(msgspec.json.encode(zones)).hexdigest()[:16]
        self.path = folder / f"{_PREFIX}{digest}{_SUFFIX}"

    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    def read(self) -> NDArray[Any] | None:
        """The picture, H x W, uint8; None: there is none.

        Raises:
            MachineProblem: it cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MachineProblem(f"{self.path}: {error.strerror}", hint=_HINT) from None
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
        if picture is None:
            raise MachineProblem(f"{self.path}: no picture", hint="confirm the view: vedette masks confirm CAMERA")
        return np.asarray(picture)

    def write(self, picture: NDArray[Any]) -> None:
        """Stores a picture, and forgets those of other zones.

        Raises:
            MachineProblem: the disk does not take it.
        """
        write_atomically(self.path, cv2.imencode(_SUFFIX, picture)[1].tobytes(), _HINT, private=True)
        for other in _find_views(self.path.parent):
            if other != self.path:
                with contextlib.suppress(OSError):
                    other.unlink()


def forget_views(folder: Path) -> bool:
    """Removes the stored views of a camera; True: there was one.

    Raises:
        OSError: this user may not.
    """
    views = _find_views(folder)
    for each in views:
        each.unlink(missing_ok=True)
    return bool(views)


def _find_views(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
