"""RTSP, and JPEG pictures over HTTP, through the FFmpeg in OpenCV.

OpenCV waits 30 s for a camera that does not answer unless it is told otherwise, and only a back end that is named by
itself listens to that. RTSP goes over TCP: what UDP loses becomes smears that look like defects.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its complaints name the whole URL, password and all
import cv2


class Stream:
    """A URL that FFmpeg can open.

    Raises:
        RuntimeError: it cannot be opened.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        timeout = int(1e3 * spec["timeout"])
        if spec["url"].startswith("rtsp"):
            os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;tcp|timeout;{1000 * timeout}"
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout]
        self.capture = cv2.VideoCapture()
        if not self.capture.open(spec["url"], cv2.CAP_FFMPEG, limits):
            raise RuntimeError("it does not answer, refuses the password, or sends nothing that can be read")

    def grab(self) -> None:
        """Waits for the next picture.

        Raises:
            RuntimeError: there is none.
        """
        if not self.capture.grab():
            raise RuntimeError("the stream ended")

    def retrieve(self, place: Any) -> Any:
        """The picture that was grabbed, H x W x 3, uint8, blue-green-red; in `place` where it fits."""
        ok, pixels = self.capture.retrieve(place)
        if not ok:
            raise RuntimeError("a picture cannot be decoded")
        return pixels
