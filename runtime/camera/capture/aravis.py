"""The part of libaravis that a reader needs, through ctypes.

Aravis speaks GigE Vision and USB3 Vision and reads the description that each GenICam camera brings. It is a C library
of the system (`apt install libaravis-0.8-0`, LGPL-2.1-or-later); its Python bindings exist for the system's Python
only, which has no OpenCV, so the functions are called as they are.
"""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

LIBRARY = "libaravis-0.8.so.0"
MISSING = f"{LIBRARY} is not installed: apt install libaravis-0.8-0"
SUCCESS, TIMEOUT_STATUS, MISSING_PACKETS, WRONG_PACKET_ID, SIZE_MISMATCH = 0, 2, 3, 4, 5
"""Some of ArvBufferStatus."""
CONTINUOUS = 0
"""ArvAcquisitionMode."""
CHUNK_DATA = 4
"""ArvBufferPayloadType of a picture whose header has no size and no format."""
_BUFFER_AS_LARGE_AS_A_PICTURE = 1
"""ArvGvStreamSocketBuffer."""


class _Error(ctypes.Structure):
    """GError."""

    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


# Functions of the library: what they return, and their arguments without the last one, a GError.
_WITH_ERROR: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_new": (c_void_p, (c_char_p,)),
    "arv_camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "arv_camera_get_payload": (c_uint, (c_void_p,)),
    "arv_camera_get_pixel_format_as_string": (c_char_p, (c_void_p,)),
    "arv_camera_dup_available_pixel_formats_as_strings": (POINTER(c_char_p), (c_void_p, POINTER(c_uint))),
    "arv_camera_dup_available_trigger_sources": (POINTER(c_char_p), (c_void_p, POINTER(c_uint))),
    "arv_camera_dup_available_enumerations_as_strings": (POINTER(c_char_p), (c_void_p, c_char_p, POINTER(c_uint))),
    "arv_camera_get_pixel_format": (c_uint32, (c_void_p,)),
    "arv_camera_get_region": (None, (c_void_p, *4 * (POINTER(c_int),))),
    "arv_camera_set_pixel_format_from_string": (None, (c_void_p, c_char_p)),
    "arv_camera_set_region": (None, (c_void_p, c_int, c_int, c_int, c_int)),
    "arv_camera_set_acquisition_mode": (None, (c_void_p, c_int)),
    "arv_camera_set_frame_rate": (None, (c_void_p, c_double)),
    "arv_camera_set_exposure_time_auto": (None, (c_void_p, c_int)),
    "arv_camera_set_exposure_time": (None, (c_void_p, c_double)),
    "arv_camera_set_gain_auto": (None, (c_void_p, c_int)),
    "arv_camera_set_gain": (None, (c_void_p, c_double)),
    "arv_camera_set_trigger": (None, (c_void_p, c_char_p)),
    "arv_camera_clear_triggers": (None, (c_void_p,)),
    "arv_camera_software_trigger": (None, (c_void_p,)),
    "arv_camera_set_chunk_mode": (None, (c_void_p, c_int)),
    "arv_camera_set_chunk_state": (None, (c_void_p, c_char_p, c_int)),
    "arv_camera_set_string": (None, (c_void_p, c_char_p, c_char_p)),
    "arv_camera_is_feature_available": (c_int, (c_void_p, c_char_p)),
    "arv_camera_start_acquisition": (None, (c_void_p,)),
    "arv_chunk_parser_get_integer_value": (c_int64, (c_void_p, c_void_p, c_char_p)),
    "arv_device_read_register": (c_int, (c_void_p, c_uint64, POINTER(c_uint32))),
    "arv_gv_device_get_timestamp_tick_frequency": (c_uint64, (c_void_p,)),
}
_WITHOUT_ERROR: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (c_char_p, (c_uint,)),
    "arv_get_device_vendor": (c_char_p, (c_uint,)),
    "arv_get_device_model": (c_char_p, (c_uint,)),
    "arv_camera_get_device": (c_void_p, (c_void_p,)),
    "arv_camera_is_gv_device": (c_int, (c_void_p,)),
    "arv_camera_create_chunk_parser": (c_void_p, (c_void_p,)),
    "arv_gv_device_is_controller": (c_int, (c_void_p,)),
    "arv_buffer_new_allocate": (c_void_p, (c_size_t,)),
    "arv_stream_push_buffer": (None, (c_void_p, c_void_p)),
    "arv_stream_try_pop_buffer": (c_void_p, (c_void_p,)),
    "arv_stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "arv_buffer_get_status": (c_int, (c_void_p,)),
    "arv_buffer_get_payload_type": (c_int, (c_void_p,)),
    "arv_buffer_has_chunks": (c_int, (c_void_p,)),
    "arv_buffer_get_image_width": (c_int, (c_void_p,)),
    "arv_buffer_get_image_height": (c_int, (c_void_p,)),
    "arv_buffer_get_image_pixel_format": (c_uint32, (c_void_p,)),
    "arv_buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_system_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
}


class AravisError(RuntimeError):
    """What the library says went wrong."""


class Aravis:
    """The library.

    Raises:
        RuntimeError: it is not installed.
    """

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise RuntimeError(MISSING) from None
        for name, (result, arguments) in _WITH_ERROR.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, (*arguments, POINTER(POINTER(_Error)))
        for name, (result, arguments) in _WITHOUT_ERROR.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments

    def enlarge_receive_buffer(self, stream: Any) -> None:
        """Lets the kernel keep as much of a network camera as a picture has, if `net.core.rmem_max` allows it."""
        with contextlib.suppress(OSError):
            objects = ctypes.CDLL("libgobject-2.0.so.0")
            settings = (b"socket-buffer", _BUFFER_AS_LARGE_AS_A_PICTURE, b"socket-buffer-size", 0, None)
            objects.g_object_set(c_void_p(stream), *settings)

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a function, named without `arv_`.

        Raises:
            AravisError: it reports an error.
        """
        function = getattr(self.library, f"arv_{name}")
        if f"arv_{name}" not in _WITH_ERROR:
            return function(*arguments)
        error = POINTER(_Error)()
        result = function(*arguments, byref(error))
        if error:
            raise AravisError((error.contents.message or b"").decode(errors="replace"))
        return result

    def list_texts(self, name: str, camera: Any, *of: bytes) -> list[str]:
        """What a function that lists texts of a camera, or `of` one of its features, says; nothing if the camera does
        not know.
        """
        count = c_uint()
        try:
            found = self.call(name, camera, *of, byref(count))
        except AravisError:
            return []
        return sorted(found[number].decode() for number in range(count.value)) if found else []

    def list_cameras(self) -> list[tuple[str, str]]:
        """Name, and maker with model, of each camera at this machine and in the networks that it is connected to.

        Takes about a second.
        """
        self.call("update_device_list")
        cameras = []
        for number in range(self.call("get_n_devices")):
            name, vendor, model = (
                (self.call(f"get_device_{what}", number) or b"").decode(errors="replace")
                for what in ("id", "vendor", "model")
            )
            cameras.append((name, f"{vendor} {model}".strip()))
        return cameras
