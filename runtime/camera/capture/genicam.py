"""A camera for machine vision, GigE Vision or USB3 Vision, through aravis.

With a trigger it sends a picture only when a part has come, perhaps none for hours. So it is asked every second
whether it is still there, and whether this process still controls it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import aravis
from .aravis import Aravis, AravisError
from .camera_clock import CameraClock
from .exposure_chunk import ExposureChunk
from .genicam_pixels import FORMATS, decode_pixels

_BUFFERS = 8
_WAIT_SECONDS = 1.0
_BROKEN = 20  # incomplete pictures in a row
_CONTROL_REGISTER, _VERSION_REGISTER = 0x0A00, 0x0000  # of GigE Vision; of USB3 Vision
_CONTROL_BITS = 0x3
_ACTIVATION = {"rising": "RisingEdge", "falling": "FallingEdge", "any": "AnyEdge"}


class GenicamReader:
    """Reads the camera with that name.

    Raises:
        RuntimeError: the library is missing, there is no such camera, another program uses it, or it does not support
            a setting.
    """

    exposed: float | None = None
    """When the grabbed frame was taken, `time.monotonic`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.aravis, self.clock = spec, Aravis(), CameraClock()
        self.camera = self._open(spec["name"])
        self.device = self._call("camera_get_device", self.camera)
        self.is_network = bool(self._call("camera_is_gv_device", self.camera))
        if self.is_network and not self._call("gv_device_is_controller", self.device):
            raise RuntimeError("another program controls it: end that, or wait some seconds after its end")
        self._configure()
        wants_chunk = spec["timestamps"] == "chunk"
        self.chunk = ExposureChunk(self.aravis, self.camera, self.is_network) if wants_chunk else None
        payload = self._call("camera_get_payload", self.camera)
        if payload > 6 * spec["max_pixels"]:
            raise RuntimeError(f"its pictures have {payload} bytes; max_pixels allows {spec['max_pixels']} pixels")
        self.stream = self._call("camera_create_stream", self.camera, None, None)
        if not self.stream:
            raise RuntimeError("its stream cannot be opened")
        if self.is_network:
            self.aravis.enlarge_receive_buffer(self.stream)
        for _ in range(_BUFFERS):
            self._call("stream_push_buffer", self.stream, self._call("buffer_new_allocate", payload))
        self._call("camera_start_acquisition", self.camera)
        self.buffer: Any = None
        self.configured: tuple[int, int, int] | None = None
        self.broken = 0

    @property
    def unstamped(self) -> str:
        """With `timestamps` of chunk data: why `exposed` is only the time in the frame's header."""
        return "" if self.chunk is None else self.chunk.fault

    def pixel_count(self) -> int:
        """The pixels of a frame; 0: not known yet."""
        if self.buffer is None:
            return 0
        width, height, _ = self._describe_picture()
        return width * height

    def grab(self) -> bool:
        """Waits for the next frame; False: none came in a second, for none was triggered.

        Raises:
            RuntimeError: the camera is gone, or its pictures arrive incomplete.
        """
        self._give_back()
        deadline = time.monotonic() + (_WAIT_SECONDS if self.spec["trigger"] else self.spec["timeout"])
        while (left := deadline - time.monotonic()) > 0:
            wait = int(1e6 * min(left, _WAIT_SECONDS))
            self.buffer = self._call("stream_timeout_pop_buffer", self.stream, wait) or None
            if self.buffer is None:
                self._check_presence()
                continue
            if not self.spec["trigger"]:  # the newest one; with a trigger each shows a part
                while newer := self._call("stream_try_pop_buffer", self.stream):
                    self._give_back()
                    self.buffer = newer
            if self._is_complete():
                self.exposed = self._find_time()
                return True
            self._give_back()
        if self.spec["trigger"]:
            return False
        raise RuntimeError(f"no picture in {self.spec['timeout']:g} s")

    def retrieve(self, _place: Any) -> Any:
        """The grabbed frame, H x W x 3, uint8, blue-green-red."""
        size = ctypes.c_size_t()
        address = self._call("buffer_get_data", self.buffer, ctypes.byref(size))
        content = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))
        return decode_pixels(content, *self._describe_picture())

    def _open(self, name: str) -> Any:
        try:
            camera = self._call("camera_new", name.encode() or None)
        except AravisError as error:
            if name and "not found" not in str(error).lower():
                raise RuntimeError(f"it cannot be opened: {error}") from None
            camera = None
        if camera:
            return camera
        found = ", ".join(each for each, _ in self.aravis.list_cameras()) or "none"
        what = f"there is no camera {name}" if name else "there is no GenICam camera"
        raise RuntimeError(f"{what}: check power, cable and the network's address; found: {found}")

    def _configure(self) -> None:
        spec = self.spec
        if spec["format"]:
            self._set("format", spec["format"], "camera_set_pixel_format_from_string", spec["format"].encode())
        elif (present := self._call("camera_get_pixel_format_as_string", self.camera).decode()) not in FORMATS:
            raise RuntimeError(f"its pixel format {present} cannot be read: write format=, one of {self._formats()}")
        if spec["width"] and spec["height"]:
            corner = spec["left"], spec["top"]
            self._set("width and height", "", "camera_set_region", *corner, spec["width"], spec["height"])
        self._call("camera_set_acquisition_mode", self.camera, aravis.CONTINUOUS)
        for name, setter in (("exposure", "exposure_time"), ("gain", "gain")):
            if spec[name] is not None:
                if self._call("camera_is_feature_available", self.camera, _AUTO[name]):
                    self._set(f"{name} by hand", "", f"camera_set_{setter}_auto", 0)
                self._set(name, f"{spec[name]:g}", f"camera_set_{setter}", float(spec[name]))
        if spec["trigger"]:
            self._set("trigger", spec["trigger"], "camera_set_trigger", spec["trigger"].encode())
            edge = _ACTIVATION[spec["activation"]].encode()
            if spec["trigger"] != "Software":
                self._set("activation", spec["activation"], "camera_set_string", b"TriggerActivation", edge)
        else:
            self._call("camera_clear_triggers", self.camera)
            if spec["fps"]:
                self._set("fps", f"{spec['fps']:g}", "camera_set_frame_rate", float(spec["fps"]))

    def _set(self, name: str, value: str, function: str, *arguments: Any) -> None:
        try:
            self._call(function, self.camera, *arguments)
        except AravisError as error:
            known = ""
            if name == "format":
                known = self._formats()
            elif name == "trigger":
                known = ", ".join(self.aravis.list_texts("camera_dup_available_trigger_sources", self.camera))
            more = f"; it has {known}" if known else ""
            raise RuntimeError(f"it does not support {name}{f' = {value}' if value else ''} ({error}){more}") from None

    def _formats(self) -> str:
        """Those that the camera has and that can be read."""
        found = self.aravis.list_texts("camera_dup_available_pixel_formats_as_strings", self.camera)
        return ", ".join(_intersect(found, FORMATS)) or "none that can be read"

    def _check_presence(self) -> None:
        """Asks the camera itself, and not the memory of the library."""
        register = _CONTROL_REGISTER if self.is_network else _VERSION_REGISTER
        value = ctypes.c_uint32()
        try:
            self._call("device_read_register", self.device, register, ctypes.byref(value))
        except AravisError as error:
            raise RuntimeError(f"it does not answer any more: {error}") from None
        if self.is_network and not value.value & _CONTROL_BITS:
            raise RuntimeError("another program has taken the control of it")

    def _is_complete(self) -> bool:
        status = int(self._call("buffer_get_status", self.buffer))
        self.broken = 0 if status == aravis.SUCCESS else self.broken + 1
        if self.broken >= _BROKEN:
            hint = "check cable and switch, and raise net.core.rmem_max (docs/cameras.md)"
            raise RuntimeError(f"{_BROKEN} pictures in a row arrived incomplete: {hint}")
        return status == aravis.SUCCESS

    def _find_time(self) -> float:
        arrived = self._call("buffer_get_system_timestamp", self.buffer) / 1e9  # of the first packet, wall clock
        now, age = time.monotonic(), time.time() - arrived
        arrival = now - age if 0 <= age < 10 * _WAIT_SECONDS else now  # the wall clock may have been set
        if self.spec["timestamps"] == "host":
            return arrival
        header = self._call("buffer_get_timestamp", self.buffer) / 1e9
        if self.chunk is None:
            return self.clock.find_time(header, arrival)
        exposed = self.chunk.find_stamp(self.buffer, header)
        return self.clock.find_time(header or exposed or 0.0, arrival, exposed)

    def _describe_picture(self) -> tuple[int, int, int]:
        """Width, height and number of the pixel format."""
        if self._call("buffer_get_payload_type", self.buffer) == aravis.CHUNK_DATA:  # only the camera says so
            self.configured = self.configured or self._read_configured()
            return self.configured
        kinds = ("width", "height", "pixel_format")
        width, height, number = (self._call(f"buffer_get_image_{kind}", self.buffer) for kind in kinds)
        return int(width), int(height), int(number)

    def _read_configured(self) -> tuple[int, int, int]:
        region = [ctypes.c_int() for _ in range(4)]
        self._call("camera_get_region", self.camera, *map(ctypes.byref, region))
        return region[2].value, region[3].value, int(self._call("camera_get_pixel_format", self.camera))

    def _give_back(self) -> None:
        if self.buffer is not None:
            self._call("stream_push_buffer", self.stream, self.buffer)
            self.buffer = None

    def _call(self, name: str, *arguments: Any) -> Any:
        return self.aravis.call(name, *arguments)


_AUTO = {"exposure": b"ExposureAuto", "gain": b"GainAuto"}


def _intersect(found: Sequence[str], known: Sequence[str]) -> list[str]:
    return [each for each in found if each in known]
