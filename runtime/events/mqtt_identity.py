"""Who the daemon is to others at the broker, beside its events: whether it is there, and what runs on it."""

from __future__ import annotations

from importlib.metadata import version

import msgspec

from ..bundle.manifest import Manifest
from ..config.configuration import Config
from . import sinks
from .topics import Topics


def of(settings: Config, manifest: Manifest, backend: str, topics: Topics) -> sinks.Identity:
    """That of one camera's daemon.

    Args:
        settings: of the camera
        manifest: of the bundle that it runs
        backend: the library that computes it, with its version
        topics: of the device
    """
    camera = settings.camera
    info = {
        "camera": camera,
        "device": settings.device.name,
        "model": manifest.model_id,
        "task": manifest.task,
        "backend": backend,
        "runtime": version("vedette"),
        "schema": "v1",
    }
    state = {
        name: sinks.Message(topics.availability(camera), name.encode(), retain=True)
        for name in ("online", "offline", "stopped")
    }
    about = sinks.Message(topics.info(camera), msgspec.json.encode(info), True, content_type="application/json")
    return sinks.Identity(
        client=f"vedette-{settings.device.name}-{camera}",
        online=(state["online"], about),
        offline=state["offline"],
        stopped=state["stopped"],
        commands=topics.replay(),
    )
