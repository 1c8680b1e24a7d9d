"""A camera at a Raspberry Pi's ribbon connector, through Picamera2 and libcamera.

They come with Raspberry Pi OS for the system's Python only, so this runs there. Every wait has a time limit, because
the camera stack can hang forever.
"""

from __future__ import annotations

from typing import Any

from picamera2 import Picamera2


class PicameraReader:
    """Reads the camera with that number.

    Raises:
        RuntimeError: there is no such camera, or another process uses it.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.timeout = spec["timeout"]
        self.size = spec["width"] or 640, spec["height"] or 480
        self.camera = Picamera2(spec["number"])
        controls = {"FrameRate": spec["fps"]} if spec["fps"] else {}
        # Its "RGB888" lies in memory as blue, green, red (Picamera2 manual, 4.2.2.2).
        self.camera.configure(
            self.camera.create_video_configuration({"size": self.size, "format": "RGB888"}, controls=controls)
        )
        self.camera.start()
        self.request: Any = None

    def pixel_count(self) -> int:
        """The pixels of a frame."""
        return int(self.size[0] * self.size[1])

    def grab(self) -> None:
        """Waits for the next frame.

        Raises:
            TimeoutError: none came.
        """
        if self.request is not None:
            self.request.release()
        self.request = self.camera.capture_request(wait=self.timeout)

    def retrieve(self, _place: Any) -> Any:
        """The grabbed frame, H x W x 3, uint8, blue-green-red."""
        return self.request.make_array("main")
