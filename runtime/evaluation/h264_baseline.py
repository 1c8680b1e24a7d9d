"""What a camera's stream is as H.264: measured by `vedette traffic`, kept in its state folder, and held against what
its daemon publishes by `vedette status`.

It is as good as the recording that it was measured on is like what the camera sees.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..monitoring.status import Report

_FILE = "h264.json"


class Yardstick(msgspec.Struct, frozen=True):
    """The stream."""

    bytes_per_second: float
    encoder: str
    recording: str

    def keep(self, place: Path) -> bool:
        """Leaves it in the camera's state folder, which is the daemon's to make; False where that cannot be."""
        try:
            (place / _FILE).write_bytes(msgspec.json.encode(self))
        except OSError:
            return False
        return True


def compared(report: Report, place: Path) -> Report:
    """The report with what left the device as a share of the stream, where that was ever measured."""
    try:
        kept = msgspec.json.decode((place / _FILE).read_bytes(), type=Yardstick)
    except (OSError, msgspec.DecodeError):
        return report
    left = report.published + (report.evidence.uploaded_bytes if report.evidence else 0)
    return msgspec.structs.replace(report, of_h264=left / (kept.bytes_per_second * report.uptime_seconds))
