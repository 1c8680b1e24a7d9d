"""Cameras that announce themselves by multicast DNS, with the package zeroconf (the extra `discovery`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from vedette.runtime.errors import MachineProblem

from .found_camera import FoundCamera

SERVICES = ("_rtsp._tcp.local.", "_axis-video._tcp.local.")
"""Kinds of services that cameras announce: RTSP servers, and Axis cameras with their web server's port."""
_AXIS_PATH = "axis-media/media.amp"
_MOST_CAMERAS = 256


def find_mdns_cameras(seconds: float, interfaces: Sequence[str] | None = None) -> list[FoundCamera]:
    """The cameras that are announced within that time.

    Args:
        seconds: how long to listen
        interfaces: addresses of this machine's interfaces to listen at; None: all

    Raises:
        MachineProblem: zeroconf is not installed, or there is no network.
    """
    try:
        import zeroconf
    except ImportError:
        hint = "pip install 'vedette[discovery]', or give the camera's address"
        raise MachineProblem("cameras that announce themselves by mDNS are not searched", hint=hint) from None
    lock, names = threading.Lock(), set[tuple[str, str]]()

    def note(service_type: str, name: str, **_: Any) -> None:
        with lock:
            if len(names) < _MOST_CAMERAS:
                names.add((service_type, name))

    end = time.monotonic() + seconds
    try:
        finder = zeroconf.Zeroconf(interfaces=list(interfaces) if interfaces else zeroconf.InterfaceChoice.All)
    except OSError as error:
        raise MachineProblem(f"no search by mDNS: {error.strerror or error}", hint="check the network") from None
    found: dict[str, FoundCamera] = {}
    try:
        browser = zeroconf.ServiceBrowser(finder, list(SERVICES), handlers=[note])
        while time.monotonic() < end:
            time.sleep(min(0.2, max(0.0, end - time.monotonic())))
            with lock:
                new = sorted(each for each in names if each[1] not in found)
            for kind, name in new:
                left = max(200, int(1000 * (end - time.monotonic())))
                info = finder.get_service_info(kind, name, timeout=left)
                if info is not None and (camera := _describe(info, kind)) is not None:
                    found[name] = camera
        browser.cancel()
    finally:
        finder.close()
    return sorted(found.values(), key=lambda each: each.source)


def _describe(info: Any, kind: str) -> FoundCamera | None:
    addresses = [each for each in info.parsed_addresses() if ":" not in each]
    if not addresses:
        return None
    texts = {key: value or b"" for key, value in info.properties.items()}
    path = texts.get(b"path", b"").decode("utf-8", "replace").lstrip("/")
    name: str = info.name.removesuffix(f".{kind}")
    port = info.port
    if kind.startswith("_axis"):
        port, path = 554, path or _AXIS_PATH
    where = addresses[0] if port in (None, 554) else f"{addresses[0]}:{port}"
    title = "".join(each for each in name if each.isprintable())[:80]
    return FoundCamera("mdns", title, f"rtsp://{where}/{quote(path, safe='/?=&')}")
