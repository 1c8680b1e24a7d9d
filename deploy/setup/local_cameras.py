"""Cameras at this machine: what the kernel lists in /sys/class/video4linux and can give pictures.

A camera has several nodes (/dev/video0 pictures, /dev/video1 metadata), and a Raspberry Pi has nodes of its codecs and
its image processor. The kernel tells them apart by their capabilities (VIDIOC_QUERYCAP). A camera at a Raspberry Pi's
ribbon connector gives only raw Bayer data at its node; libcamera makes pictures of it, so it is named by number.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from pathlib import Path

from .found_camera import FoundCamera

# linux/videodev2.h: struct v4l2_capability is driver[16], card[32], bus_info[32], version, capabilities, device_caps,
# reserved[3].
_QUERYCAP = 0x80685600
_CAPABILITY_BYTES, _DEVICE_CAPS_OFFSET = 104, 88
_VIDEO_CAPTURE, _VIDEO_CAPTURE_MPLANE, _M2M, _M2M_MPLANE = 0x1, 0x1000, 0x8000, 0x4000
_RIBBON = ("unicam-image", "rp1-cfe-csi2_ch0")
"""Receivers of the ribbon connector: one node of each camera, on a Raspberry Pi up to 4 and on a 5."""
_INTERNAL = re.compile(r"(unicam|rp1-cfe|bcm2835-(codec|isp)|rpi-?vid|rpi-hevc|pispbe)")
"""Their other nodes, codecs and image processors of a Raspberry Pi."""


def find_local_cameras(root: Path = Path("/")) -> list[FoundCamera]:
    """The cameras at this machine, in order of their numbers.

    Args:
        root: where /sys and /dev lie
    """
    found: list[FoundCamera] = []
    ribbons = 0
    nodes = (root / "sys/class/video4linux").glob("video*")
    for node in sorted(nodes, key=lambda each: int(re.sub(r"\D", "", each.name) or 0)):
        name = _read(node / "name")
        if name in _RIBBON:
            found.append(FoundCamera("v4l2", "camera at the ribbon connector", f"picamera:{ribbons}"))
            ribbons += 1
        elif not _INTERNAL.search(name) and _gives_pictures(root / "dev" / node.name, _read(node / "index")):
            source = f"v4l2:/{_stable_name(root, node.name).relative_to(root)}"
            found.append(FoundCamera("v4l2", name or node.name, source))
    return found


def _gives_pictures(device: Path, index: str) -> bool:
    """By the node's capabilities; if it cannot be opened, the first node of a camera is taken for that of pictures."""
    with contextlib.suppress(OSError):
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY_BYTES))
        finally:
            os.close(descriptor)
        caps = struct.unpack_from("=I", answer, _DEVICE_CAPS_OFFSET)[0]
        return bool(caps & (_VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE)) and not caps & (_M2M | _M2M_MPLANE)
    return index in ("0", "")


def _stable_name(root: Path, node: str) -> Path:
    """The name in /dev/v4l/by-id, which stays with the camera; else that in by-path, which stays with its socket."""
    for kind in ("by-id", "by-path"):
        for link in sorted((root / "dev/v4l" / kind).glob("*")):
            if Path(os.readlink(link)).name == node:
                return link
    return root / "dev" / node


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
