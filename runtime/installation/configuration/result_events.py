"""Results of requests become events, each once: `vedette.config.applied`, `.refused`, `.rolled_back`.

The daemon of the camera tells them, from its next start on if it was restarted for the change. `configuration.json` in
the camera's state folder says which were told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ...atomic_file import write_atomically
from ...errors import UNREADABLE
from .change_requests import ConfigurationResult, read_result, results_folder

_MAX_RESULTS = 1024


class ResultEvents:
    """Finds results that were not told yet.

    Args:
        state: state folder of the device
        camera: its name
    """

    def __init__(self, state: Path, camera: str) -> None:
        self.state, self.camera = state, camera
        self.path = state / camera / "configuration.json"
        self.changed = -1

    def check(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and facts of each new result.

        Raises:
            MachineProblem: the disk takes no note of it.
        """
        folder = results_folder(self.state)
        try:
            changed = folder.stat().st_mtime_ns
            if changed == self.changed:
                return []
            identities = sorted(path.stem for path in folder.glob("*.json"))[:_MAX_RESULTS]
        except OSError:
            return []
        told = self._read()
        results = [read_result(self.state, each) for each in identities if each not in told]
        new = [each for each in results if each is not None and each.camera == self.camera]
        if new:
            kept = [each for each in identities if each in told] + [each.id for each in new]
            write_atomically(self.path, msgspec.json.encode(kept), "free space on the disk", private=True)
        self.changed = changed
        return [(each.outcome, _facts(each)) for each in sorted(new, key=lambda each: each.time)]

    def _read(self) -> set[str]:
        try:
            return set(msgspec.json.decode(self.path.read_bytes(), type=list[str]))
        except (OSError, *UNREADABLE):
            return set()


def _facts(result: ConfigurationResult) -> dict[str, Any]:
    facts = {"request": result.id, "origin": result.origin, "by": result.by, "digest": result.digest}
    if result.outcome == "applied":
        facts["changed"] = list(result.changed)  # type: ignore[assignment]
    return facts | ({"reason": result.reason[:500]} if result.reason else {})
