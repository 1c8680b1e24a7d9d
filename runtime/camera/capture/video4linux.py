"""A local camera, through Video4Linux.

It is opened by its path at each start. A camera that was unplugged is found again if the path lies in /dev/v4l/by-id or
by-path.
"""

from __future__ import annotations

from typing import Any

import cv2

from .stream import OpenCvStreamReader

CONTROLS = {
    "auto_exposure": cv2.CAP_PROP_AUTO_EXPOSURE,
    "exposure": cv2.CAP_PROP_EXPOSURE,
    "gain": cv2.CAP_PROP_GAIN,
    "brightness": cv2.CAP_PROP_BRIGHTNESS,
    "contrast": cv2.CAP_PROP_CONTRAST,
    "saturation": cv2.CAP_PROP_SATURATION,
    "sharpness": cv2.CAP_PROP_SHARPNESS,
    "auto_white_balance": cv2.CAP_PROP_AUTO_WB,
    "white_balance": cv2.CAP_PROP_WB_TEMPERATURE,
    "autofocus": cv2.CAP_PROP_AUTOFOCUS,
    "focus": cv2.CAP_PROP_FOCUS,
    "zoom": cv2.CAP_PROP_ZOOM,
}


class Video4LinuxReader(OpenCvStreamReader):
    """Reads a device file.

    Raises:
        RuntimeError: it does not exist, another process uses it, or it does not support a setting.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.capture = cv2.VideoCapture()
        if not self.capture.open(spec["path"], cv2.CAP_V4L2):
            raise RuntimeError("it does not exist, is no camera, or another program uses it")
        settings = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*spec["format"]) if spec["format"] else 0,
            cv2.CAP_PROP_FRAME_WIDTH: spec["width"],
            cv2.CAP_PROP_FRAME_HEIGHT: spec["height"],
            cv2.CAP_PROP_FPS: spec["fps"],
        }
        for setting, value in settings.items():  # the format first: it determines the available sizes
            if value:
                self.capture.set(setting, value)
        self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # otherwise the driver keeps old frames
        for name, value in spec["controls"].items():
            if not self.capture.set(CONTROLS[name], value):
                raise RuntimeError(f"it does not support {name} = {value:g}")
