"""Checks of this machine for `vedette doctor`: libraries, keys, broker, cameras."""

from __future__ import annotations

import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from vedette.devices import find_matching_profile, read_host_profile

from ..bundle.keys import Keyring
from ..camera import sources
from ..config import configuration
from ..config.configuration import Config
from ..errors import Problem
from ..events import sinks
from ..redaction import redact

_FIRST_FRAME_SECONDS = 10.0


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one check."""

    what: str
    works: bool | None
    """None: a fact that is neither right nor wrong."""
    found: str
    remedy: str = ""


def run_checks(folder: Path | None, camera: str | None) -> list[Check]:
    """Checks the machine and its libraries; with a configuration also the broker and the cameras, or one `camera`."""
    checks = [*_check_machine(), *_check_libraries(), _check_keyring(None)]
    if folder is None and not (configuration.SYSTEM_FOLDER / "vedette.toml").exists():
        return checks
    folder = folder or configuration.SYSTEM_FOLDER
    names = [camera] if camera else configuration.camera_names(folder)
    if not names:
        return [*checks, Check("cameras", False, f"none in {folder / 'cameras'}", "write cameras/NAME.toml")]
    for number, name in enumerate(names):
        try:
            settings = configuration.load_config(folder, name)
        except Problem as problem:
            checks.append(Check(name, False, problem.message, problem.hint))
            continue
        if number == 0:
            checks += [_check_keyring(settings.keys), _check_broker(settings)]
        checks.append(_check_camera(settings))
    return checks


def _check_machine() -> list[Check]:
    host = read_host_profile()
    profile = find_matching_profile(host)
    text = (
        f"{host.cores} cores ({host.cpu}), {host.architecture}, {host.memory_mb} MB, {' '.join(host.features) or '-'}"
    )
    return [
        Check("machine", None, f"{host.title}: {text}"),
        Check("profile", None, f"{profile.name}: {profile.title}" if profile else "host (no named profile fits)"),
    ]


def _check_libraries() -> list[Check]:
    checks = []
    backends = 0
    for package, module in (
        ("onnxruntime", "onnxruntime"),
        ("ai-edge-litert", "ai_edge_litert.interpreter"),
        ("tflite-runtime", "tflite_runtime.interpreter"),
    ):
        try:
            __import__(module)
            checks.append(Check(package, True, version(package)))
            backends += 1
        except (ImportError, PackageNotFoundError):
            checks.append(Check(package, None, "not installed"))
    if not backends:
        checks.append(Check("back ends", False, "none", "pip install onnxruntime ai-edge-litert"))
    return checks


def _check_keyring(folder: Path | None) -> Check:
    try:
        keyring = Keyring.read(folder)
    except Problem as problem:
        return Check("keys", False, problem.message, problem.hint)
    places = " and ".join(map(str, keyring.folders))
    return Check("keys", True if keyring.keys else None, f"{len(keyring.keys)} trusted in {places}")


def _check_broker(settings: Config) -> Check:
    try:
        sink = sinks.load_sink(settings.broker, sinks.MqttSessionSettings(f"vedette-{settings.device.name}-doctor", ()))
        sink.open()
    except (ConnectionError, Problem) as error:
        return Check("broker", False, str(error), "check broker.url, and that the broker runs")
    sink.close()
    return Check("broker", True, f"{settings.broker.url} answers")


def _check_camera(settings: Config) -> Check:
    start, shown = time.monotonic(), redact(settings.source)
    stop = threading.Event()
    alarm = threading.Timer(_FIRST_FRAME_SECONDS, stop.set)
    alarm.start()
    try:
        source = sources.load_source(sources.SourceAddress.from_config(settings))
        frame = next((frame for frame in source.frames(stop) if frame is not None), None)
    except Problem as problem:
        return Check(settings.camera, False, problem.message, problem.hint)
    finally:
        alarm.cancel()
    if frame is None:
        reason = source.frame_counts.trouble if source.frame_counts else ""
        text = f"{shown}: no frame in {_FIRST_FRAME_SECONDS:.0f} s{reason and f', {reason}'}"
        return Check(settings.camera, False, text, "check the camera and its source")
    height, width = frame.pixels.shape[:2]
    taken = time.monotonic() - start
    return Check(settings.camera, True, f"{shown} gives {width} x {height}, first frame after {taken:.2f} s")
