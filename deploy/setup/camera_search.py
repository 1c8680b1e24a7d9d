"""All ways to find cameras, at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from vedette.runtime.errors import MachineProblem

from .found_camera import FoundCamera
from .genicam_cameras import find_genicam_cameras
from .local_cameras import find_local_cameras
from .mdns_discovery import find_mdns_cameras
from .onvif_discovery import find_onvif_cameras


class SearchResult(msgspec.Struct, frozen=True):
    """What a search found, and which way could not be gone."""

    cameras: tuple[FoundCamera, ...]
    remarks: tuple[str, ...]


def find_cameras(seconds: float) -> SearchResult:
    """Cameras at this machine and, if `seconds` is more than 0, in its network, searched for so long."""
    ways: list[Callable[[], list[FoundCamera]]] = [find_local_cameras]
    if seconds > 0:
        ways += [find_genicam_cameras, lambda: find_onvif_cameras(seconds), lambda: find_mdns_cameras(seconds)]
    cameras: list[FoundCamera] = []
    remarks: list[str] = []
    with ThreadPoolExecutor(len(ways)) as pool:
        for task in [pool.submit(way) for way in ways]:
            try:
                cameras += task.result()
            except MachineProblem as problem:
                remarks.append(f"{problem.message}; {problem.hint}")
            except OSError as error:
                remarks.append(f"a search failed: {error.strerror or error}")
    return SearchResult(tuple(_without_duplicates(cameras)), tuple(remarks))


def _without_duplicates(cameras: list[FoundCamera]) -> list[FoundCamera]:
    seen: dict[str, FoundCamera] = {}
    for each in cameras:
        seen.setdefault(each.source or each.service, each)
    return list(seen.values())
