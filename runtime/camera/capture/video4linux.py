"""A camera at this machine, through Video4Linux.

It is opened by its path at each start, so one that was unplugged and comes back is found again where a path in
/dev/v4l/by-id or by-path names it.
"""

from __future__ import annotations

from typing import Any

import cv2

from .stream import Stream

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


class Video4Linux(Stream):
    """A device file.

    Raises:
        RuntimeError: it is not there, somebody else has it, or it does not know a setting.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.capture = cv2.VideoCapture()
        if not self.capture.open(spec["path"], cv2.CAP_V4L2):
            raise RuntimeError("it is not there, is no camera, or another program has it")
        asked = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*spec["format"]) if spec["format"] else 0,
            cv2.CAP_PROP_FRAME_WIDTH: spec["width"],
            cv2.CAP_PROP_FRAME_HEIGHT: spec["height"],
            cv2.CAP_PROP_FPS: spec["fps"],
        }
        for setting, value in asked.items():  # the format first: it decides which sizes there are
            if value:
                self.capture.set(setting, value)
        self.capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # else the driver keeps old pictures
        for name, value in spec["controls"].items():
            if not self.capture.set(CONTROLS[name], value):
                raise RuntimeError(f"it does not take {name} = {value:g}")
