"""Checks of the sinks beside the broker, for `vedette doctor`."""

from __future__ import annotations

from ..config.configuration import Config
from ..errors import Problem
from ..events.receivers import DeliveryFailed, load_receivers
from ..redaction import redact
from .doctor_check import Check


def check_sinks(settings: Config) -> list[Check]:
    """Whether each sink answers, with a certificate that is valid, and takes the login. Nothing is delivered."""
    try:
        receivers = load_receivers(settings, None)
    except Problem as problem:
        return [Check("sinks", False, redact(problem.message), redact(problem.hint))]
    checks = []
    for name, receiver in receivers:
        try:
            receiver.check()
        except DeliveryFailed as failure:
            remedy = f"check the sink {name} in {settings.device_file}, and that it runs"
            checks.append(Check(f"sink {name}", False, redact(str(failure)), remedy))
        else:
            checks.append(Check(f"sink {name}", True, "answers"))
    return checks
