"""Checks of this machine for `vedette doctor`: libraries, keys, broker, cameras."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vedette.devices import find_matching_profile, read_host_profile

from ..bundle.keys import Keyring
from ..config import configuration, credential_warnings
from ..config.configuration import Config
from ..errors import Problem
from ..events import sinks
from ..events.sinks import LoginRefused
from ..redaction import redact
from .doctor_bundle import check_bundle
from .doctor_camera import check_camera
from .doctor_check import Check
from .doctor_memory import check_memory
from .doctor_sinks import check_sinks
from .key_permissions import SERVICE_USER, closed_to_user


def run_checks(folder: Path | None, camera: str | None) -> list[Check]:
    """Checks the machine and its libraries; with a configuration also the broker and the cameras, or one `camera`."""
    checks = [*_check_machine(), *_check_libraries()]
    if folder is None and not (configuration.SYSTEM_FOLDER / "vedette.toml").exists():
        return [*checks, _check_keyring(None)]
    folder = folder or configuration.SYSTEM_FOLDER
    names = [camera] if camera else configuration.camera_names(folder)
    if not names:
        return [*checks, Check("cameras", False, f"none in {folder / 'cameras'}", "write cameras/NAME.toml")]
    readable: list[Config] = []
    for number, name in enumerate(names):
        try:
            settings = configuration.load_config(folder, name)
        except Problem as problem:
            checks.append(_failed(name, problem))
            continue
        if number == 0:
            checks += [_check_keyring(settings.keys), check_broker(settings), *check_sinks(settings)]
        checks += [*_check_secrets(settings), *check_bundle(settings), check_camera(settings)]
        readable.append(settings)
    return [*checks, *check_memory(readable)]


def _failed(what: str, problem: Problem) -> Check:
    return Check(what, False, redact(problem.message), redact(problem.hint))


def _check_secrets(settings: Config) -> list[Check]:
    """Secrets that others may read: facts, because the daemon runs all the same."""
    return [Check("secrets", None, each) for each in credential_warnings.list_warnings(settings)]


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
        return _failed("keys", problem)
    places = " and ".join(map(str, keyring.folders))
    found = f"{len(keyring.keys)} trusted in {places}"
    closed = [*keyring.unreadable, *closed_to_user(keyring.folders, SERVICE_USER)]
    if closed:
        remedy = f"public keys are no secret: chmod -R a+rX {keyring.folders[0]}"
        return Check("keys", False, f"{found}; the daemon may not read {', '.join(map(str, closed))}", remedy)
    return Check("keys", True if keyring.keys else None, found)


def check_broker(settings: Config) -> Check:
    """Whether the broker answers, and takes the login."""
    try:
        sink = sinks.load_sink(settings.broker, sinks.MqttSessionSettings(f"vedette-{settings.device.name}-doctor", ()))
        sink.open()
    except Problem as problem:
        return _failed("broker", problem)
    except LoginRefused as error:
        text, _, remedy = redact(str(error)).rpartition(": ")
        return Check("broker", False, text, remedy)
    except ConnectionError as error:
        return Check(
            "broker", False, redact(str(error)), "check broker.url and broker.protocol, and that the broker runs"
        )
    sink.close()
    return Check("broker", True, f"{settings.broker.url} answers")
