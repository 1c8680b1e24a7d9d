"""The H.264 baseline of a camera: `vedette traffic` measures it and stores it in the camera's state folder; `vedette
status` compares it with what the daemon publishes.

It is as accurate as the recording is typical of the camera.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import UNREADABLE
from ..monitoring.status import StatusReport

_FILE_NAME = "h264.json"


class H264Baseline(msgspec.Struct, frozen=True):
    """The bit rate of a recording as H.264."""

    bytes_per_second: float
    encoder: str
    recording: str

    def save(self, folder: Path) -> bool:
        """Writes it to the camera's state folder, which the daemon creates; False if that fails."""
        try:
            (folder / _FILE_NAME).write_bytes(msgspec.json.encode(self))
        except OSError:
            return False
        return True


def with_h264_share(report: StatusReport, folder: Path) -> StatusReport:
    """The report with the published bytes as a fraction of the H.264 baseline, if a baseline was measured."""
    try:
        baseline = msgspec.json.decode((folder / _FILE_NAME).read_bytes(), type=H264Baseline)
    except (OSError, *UNREADABLE):
        return report
    published = report.published + (report.evidence.uploaded_bytes if report.evidence else 0)
    return msgspec.structs.replace(report, of_h264=published / (baseline.bytes_per_second * report.uptime_seconds))
