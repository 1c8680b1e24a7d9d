"""Whether another bundle lies where the daemon found the one that it runs."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import Problem
from .bundle import Bundle
from .release_memory import open_bundle_to_run

log = logging.getLogger(__name__)


def warn_of_replacement(running: Bundle, keys: Path | None, state: Path) -> None:
    """Logs it if the file of the bundle was replaced since the start, or its recalibration: a reload does not take it.

    Args:
        running: the bundle as it runs
        keys: folder of the trusted keys; None: those of this machine
        state: the camera's state folder
    """
    try:
        model = open_bundle_to_run(running.path, keys, state).manifest.model_id
    except Problem as problem:
        log.error("the next start will fail: %s; %s", problem.message, problem.hint)
        return
    if model != running.manifest.model_id:
        log.warning(
            "%s is now %s; it takes effect at the next start, %s runs until then",
            running.path,
            model,
            running.manifest.model_id,
        )
