"""What this machine is, and what works on it."""

from __future__ import annotations

import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from vedette.devices import closest, this_machine

from ..bundle.keys import Keyring
from ..camera import sources
from ..config import configuration
from ..config.configuration import Config
from ..errors import Problem
from ..events import sinks
from ..plugins import redacted

_SYSTEM = Path("/etc/vedette")
_FRAME_SECONDS = 10.0


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the examination."""

    what: str
    works: bool | None
    """None: neither right nor wrong, a fact."""
    found: str
    remedy: str = ""


def examine(folder: Path | None, camera: str | None) -> list[Finding]:
    """Looks at the machine and its libraries; with a configuration, at the broker and, with a name, at the camera."""
    findings = [*_machine(), *_libraries(), _keyring(None)]
    if folder is None and not (_SYSTEM / "vedette.toml").exists():
        return findings
    folder = folder or _SYSTEM
    names = [camera] if camera else sorted(path.stem for path in (folder / "cameras").glob("*.toml"))
    if not names:
        return [*findings, Finding("cameras", False, f"none in {folder / 'cameras'}", "write cameras/NAME.toml")]
    for number, name in enumerate(names):
        try:
            settings = configuration.load(folder, name)
        except Problem as problem:
            findings.append(Finding(name, False, problem.message, problem.hint))
            continue
        if number == 0:
            findings += [_keyring(settings.keys), _broker(settings)]
        findings.append(_camera(settings))
    return findings


def _machine() -> list[Finding]:
    host = this_machine()
    profile = closest(host)
    text = (
        f"{host.cores} cores ({host.cpu}), {host.architecture}, {host.memory_mb} MB, {' '.join(host.features) or '-'}"
    )
    return [
        Finding("machine", None, f"{host.title}: {text}"),
        Finding("profile", None, f"{profile.name}: {profile.title}" if profile else "host (no named profile fits)"),
    ]


def _libraries() -> list[Finding]:
    found = []
    backends = 0
    for package, module in (
        ("onnxruntime", "onnxruntime"),
        ("ai-edge-litert", "ai_edge_litert.interpreter"),
        ("tflite-runtime", "tflite_runtime.interpreter"),
    ):
        try:
            __import__(module)
            found.append(Finding(package, True, version(package)))
            backends += 1
        except (ImportError, PackageNotFoundError):
            found.append(Finding(package, None, "not installed"))
    if not backends:
        found.append(Finding("back ends", False, "none", "pip install onnxruntime ai-edge-litert"))
    return found


def _keyring(folder: Path | None) -> Finding:
    try:
        keyring = Keyring.read(folder)
    except Problem as problem:
        return Finding("keys", False, problem.message, problem.hint)
    places = " and ".join(map(str, keyring.folders))
    return Finding("keys", True if keyring.keys else None, f"{len(keyring.keys)} trusted in {places}")


def _broker(settings: Config) -> Finding:
    try:
        sink = sinks.load(settings.broker, sinks.Identity(f"vedette-{settings.device.name}-doctor", ()))
        sink.open()
    except (ConnectionError, Problem) as error:
        return Finding("broker", False, str(error), "check broker.url, and that the broker runs")
    sink.close()
    return Finding("broker", True, f"{settings.broker.url} answers")


def _camera(settings: Config) -> Finding:
    start, shown = time.monotonic(), redacted(settings.source)
    stop = threading.Event()
    alarm = threading.Timer(_FRAME_SECONDS, stop.set)
    alarm.start()
    try:
        source = sources.load(sources.Address.of(settings))
        frame = next((each for each in source.frames(stop) if each is not None), None)
    except Problem as problem:
        return Finding(settings.camera, False, problem.message, problem.hint)
    finally:
        alarm.cancel()
    if frame is None:
        why = source.tally.trouble if source.tally else ""
        found = f"{shown}: no frame in {_FRAME_SECONDS:.0f} s{why and f', {why}'}"
        return Finding(settings.camera, False, found, "check the camera and its source")
    height, width = frame.pixels.shape[:2]
    taken = time.monotonic() - start
    return Finding(settings.camera, True, f"{shown} gives {width} x {height}, first frame after {taken:.2f} s")
