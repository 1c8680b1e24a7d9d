"""Whether another bundle lies where the daemon found the one that it runs."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import Problem
from .bundle import Bundle
from .keys import Keyring
from .local_recalibration import open_bundle

log = logging.getLogger(__name__)


def warn_of_replacement(running: Bundle, keys: Path | None) -> None:
    """Logs it if the file of the bundle was replaced since the start, or its recalibration: a reload does not take it.

    Args:
        running: the bundle as it runs
        keys: of the trusted keys, as `Keyring.read` takes it
    """
    try:
        model = open_bundle(running.path, Keyring.read(keys)).manifest.model_id
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
