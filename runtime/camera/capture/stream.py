"""RTSP, and JPEG pictures over HTTP, through the FFmpeg in OpenCV, which reaches the camera through a relay only.

A playlist (HLS, DASH) names other addresses, so its formats are left out. OpenCV waits 30 s for a camera that does not
answer. A shorter limit works only if the back end is named explicitly. RTSP runs over TCP: packets lost by UDP become
smears that look like defects.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its messages contain the whole URL with the password
import cv2

from .camera_answers import NO_ANSWER, NO_VIDEO
from .relay import Relay

# Formats that hold the video itself.
_FORMATS = (
    "mpjpeg,mjpeg,image2,image2pipe,jpeg_pipe,png_pipe,bmp_pipe,webp_pipe,h264,hevc,m4v,mpegts,mpeg,mpegvideo,"
    "matroska,webm,mov,mp4,avi,flv"
)
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_OPTIONS = {
    "rtsp": "rtsp_transport;tcp|timeout;{microseconds}|protocol_whitelist;tcp|format_whitelist;rtsp",
    "http": f"protocol_whitelist;http,tcp|max_redirects;0|format_whitelist;{_FORMATS}",
}


class OpenCvStreamReader:
    """Reads a URL through FFmpeg.

    Raises:
        RuntimeError: it cannot be opened.
    """

    has_frames = False
    """Whether a frame has come."""

    def __init__(self, spec: dict[str, Any]) -> None:
        timeout = int(1e3 * spec["timeout"])
        self.relay = Relay(spec["url"], spec["timeout"])
        options = _OPTIONS[self.relay.url.partition(":")[0]]
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout]
        self.capture = cv2.VideoCapture()
        os.environ[_OPTIONS_VARIABLE] = options.format(microseconds=1000 * timeout)
        try:
            is_open = self.capture.open(self.relay.url, cv2.CAP_FFMPEG, limits)
        finally:
            del os.environ[_OPTIONS_VARIABLE]  # it holds for whatever the process opens
        if not is_open:
            raise RuntimeError(self.relay.trouble or (NO_VIDEO if self.relay.has_answered else NO_ANSWER))

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
            raise RuntimeError("the stream ended" if self.has_frames else NO_VIDEO)
        self.has_frames = True

    def retrieve(self, place: Any) -> Any:
        """The grabbed frame, H x W x 3, uint8, blue-green-red; in the array `place` if it fits."""
        ok, pixels = self.capture.retrieve(place)
        if not ok:
            raise RuntimeError("a frame cannot be decoded")
        return pixels
