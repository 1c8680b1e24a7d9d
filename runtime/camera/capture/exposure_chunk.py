"""The time of exposure that a camera for machine vision sends with each picture, as chunk data (SFNC, ChunkTimestamp).

Chunk data lie behind the picture. The time in the picture's header, which comes first, is of the same clock; depending
on the camera it is that of the exposure, of the end of the readout or of the transmission. A chunk may be missing or
spoiled, and aravis fills what a short one lacks with whatever was there before, so a time is believed only if it rises
and lies near that of the header.
"""

from __future__ import annotations

from typing import Any

from .aravis import Aravis, AravisError

FARTHEST_SECONDS = 10.0
"""By how much the times of exposure and of the header may differ."""
_MOST_FAULTS = 20  # in a row
_NANOSECONDS = 1_000_000_000
_HINT = "write timestamps=camera for the time in a picture's header"


class ExposureChunk:
    """Makes a camera send it, and reads it; what else the camera sends as chunk data stays as it is.

    Args:
        library: aravis
        camera: its ArvCamera
        is_network: whether it is a GigE Vision camera, which says how long a tick of its clock is; others count
            nanoseconds

    Raises:
        RuntimeError: the camera has no such chunk, or no clock.
    """

    fault: str
    """Why the last picture has no time of exposure; empty if it has one."""

    def __init__(self, library: Aravis, camera: Any, is_network: bool) -> None:
        self.library, self.fault, self.faults_in_a_row = library, "", 0
        self.last_stamp = self.last_header = 0.0
        try:
            library.call("camera_set_chunk_mode", camera, 1)  # first: without it some cameras let no chunk be chosen
            library.call("camera_set_chunk_state", camera, b"Timestamp", 1)
        except AravisError as error:
            found = library.list_texts("camera_dup_available_enumerations_as_strings", camera, b"ChunkSelector")
            more = f"its chunks: {', '.join(found) or 'none'}; {_HINT}"
            raise RuntimeError(f"it does not support timestamps = chunk ({error}); {more}") from None
        device = library.call("camera_get_device", camera)
        ticks = library.call("gv_device_get_timestamp_tick_frequency", device) if is_network else _NANOSECONDS
        if not ticks:
            raise RuntimeError(f"it does not say how long a tick of its clock is; {_HINT}")
        self.ticks_per_second = int(ticks)
        self.parser = library.call("camera_create_chunk_parser", camera)

    def find_stamp(self, buffer: Any, header: float) -> float | None:
        """When a picture was exposed, seconds of the camera's clock; None, with `fault`, if it does not say so.

        Args:
            buffer: ArvBuffer of a complete picture
            header: the time in its header, seconds of the same clock; 0: none

        Raises:
            RuntimeError: the first picture, or one after many others, does not say so.
        """
        stamp = self._read(buffer)
        if not self.fault and header and abs(stamp - header) > FARTHEST_SECONDS:
            self.fault = f"ChunkTimestamp differs by {stamp - header:.3f} s from the time in the header"
        elif not self.fault and stamp <= self.last_stamp and header >= self.last_header:
            self.fault = "ChunkTimestamp is not later than that of the picture before"
        if not self.fault:
            self.last_stamp, self.last_header, self.faults_in_a_row = stamp, header, 0
            return stamp
        self.faults_in_a_row += 1
        if not self.last_stamp or self.faults_in_a_row >= _MOST_FAULTS:
            raise RuntimeError(f"its pictures do not say when they were exposed: {self.fault}; {_HINT}")
        return None

    def _read(self, buffer: Any) -> float:
        """What the chunk says, seconds; sets `fault`."""
        self.fault = ""
        if not self.library.call("buffer_has_chunks", buffer):
            kind = self.library.call("buffer_get_payload_type", buffer)
            self.fault = f"no chunk data that aravis can read (payload type {kind})"
            return 0.0
        try:
            ticks = self.library.call("chunk_parser_get_integer_value", self.parser, buffer, b"ChunkTimestamp")
        except AravisError as error:
            self.fault = f"no ChunkTimestamp ({error})"
            return 0.0
        return int(ticks) / self.ticks_per_second
