"""RTSP, and JPEG pictures over HTTP, through the FFmpeg in OpenCV.

OpenCV waits 30 s for a camera that does not answer. A shorter limit works only if the back end is named explicitly.
RTSP runs over TCP: packets lost by UDP become smears that look like defects.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its messages contain the whole URL with the password
import cv2


class OpenCvStreamReader:
    """Reads a URL through FFmpeg.

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

    def pixel_count(self) -> int:
        """The pixels of a frame, as the stream's header has them; 0: not known yet."""
        width, height = (self.capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return int(width) * int(height)

    def grab(self) -> None:
        """Waits for the next frame.

        Raises:
            RuntimeError: none came.
        """
        if not self.capture.grab():
            raise RuntimeError("the stream ended")

    def retrieve(self, place: Any) -> Any:
        """The grabbed frame, H x W x 3, uint8, blue-green-red; in the array `place` if it fits."""
        ok, pixels = self.capture.retrieve(place)
        if not ok:
            raise RuntimeError("a frame cannot be decoded")
        return pixels
