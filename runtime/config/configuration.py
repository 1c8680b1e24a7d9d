"""What a person wrote for this device and this camera, checked once and then trusted.

`DIR/vedette.toml` holds what the device's cameras share, `DIR/cameras/NAME.toml` what is one camera's own. Every key
is known and typed; one that is not is an error that names the file, the key and the keys there are. docs/config.md
lists them.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from ..errors import ConfigProblem
from . import credentials
from .camera_tables import Gate, Health, Privacy
from .evidence_table import Evidence
from .tracker_table import TrackerSettings

_T = TypeVar("_T")

# What a name may be: it becomes a level of an MQTT topic, and a folder or a file.
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
# Where the unit's StateDirectory is, for who asks from outside of the unit.
STATE = {Path("/etc/vedette"): "/var/lib/vedette"}
Name = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}\Z")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


def _hostname() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip(".") or "device"


class Device(_Strict, frozen=True):
    """`[device]` in vedette.toml."""

    name: Name = msgspec.field(default_factory=_hostname)
    site: Name = "site"
    area: Name = "area"
    line: Name = "line"
    keys: str | None = None
    """Folder of the trusted `.pub` files; None: /etc/vedette/keys and the user's own."""
    hot: Annotated[float, msgspec.Meta(ge=0, le=150)] = 75.0
    """Degrees Celsius from which on fewer pictures are looked at; the firmware of a Pi slows it down at 80."""
    state: str | None = None
    """Folder of the outboxes; None: systemd's StateDirectory, also found by people's commands, or `state` here."""
    timezone: str = ""
    """Of the hours and days in rules, as `Europe/Berlin`; empty: the machine's."""


class Broker(_Strict, frozen=True):
    """`[broker]` in vedette.toml."""

    url: str = "mqtt://localhost:1883"
    """A sink: `mqtt://host:port`, `mqtts://host:port` or `stdout:`."""
    prefix: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}(/{_NAME})*\Z")] = "vedette"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Of who signed the broker's certificate; empty: whom the system trusts."""
    cert_file: str = ""
    key_file: str = ""
    """Of this client, where the broker asks for a certificate."""
    require_subscriber: bool = False
    """An event counts as delivered only when somebody subscribed to it."""
    protocol: Literal["5", "3.1.1"] = "5"
    """Of MQTT. With 3.1.1 a broker cannot say that it refuses an event."""
    keepalive: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 15
    """Seconds; a dead connection is noticed within twice that."""


class OutboxSettings(_Strict, frozen=True):
    """`[outbox]` in vedette.toml."""

    max_bytes: Annotated[int, msgspec.Meta(ge=65536)] = 64 << 20
    min_free: Annotated[int, msgspec.Meta(ge=0)] = 16 << 20
    """Bytes that it leaves free on its disk."""
    journal: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """Events that are kept after they were delivered, to be sent again when asked for."""
    volatile: bool = False
    """A state folder in memory is meant: it is no fault."""
    drain: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds that an ending daemon spends on sending what still waits."""


class _DeviceFile(_Strict, frozen=True):
    device: Device = Device()
    broker: Broker = Broker()
    outbox: OutboxSettings = OutboxSettings()


class _CameraFile(_Strict, frozen=True, kw_only=True):
    source: str
    """A URL: `file:parts?fps=5`."""
    username: str = ""
    password_file: str = ""
    """Of a camera in the network."""
    bundle: str
    backend: str = "auto"
    """`onnx`, `tflite`, or `auto`: the one that is faster on this machine."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tracker: TrackerSettings = TrackerSettings()
    health: Health = Health()
    privacy: Privacy = Privacy()
    gate: Gate = Gate()
    evidence: Evidence = Evidence()
    rules: list[dict[str, Any]]


class Config(_Strict, frozen=True):
    """Both files, merged; paths are absolute."""

    camera: str
    base: Path
    """Where relative paths in the camera's file start: its folder."""
    device_file: Path
    camera_file: Path
    device: Device
    broker: Broker
    outbox: OutboxSettings
    keys: Path | None
    state: Path
    source: str
    username: str
    password_file: str
    bundle: Path
    backend: str
    threads: int
    tracker: TrackerSettings
    health: Health
    privacy: Privacy
    gate: Gate
    evidence: Evidence
    rules: tuple[dict[str, Any], ...]

    @property
    def place(self) -> Path:
        """The camera's folder for what outlives its process."""
        return self.state / self.camera


def load(folder: Path, camera: str) -> Config:
    """The configuration of one camera.

    Raises:
        ConfigProblem: a file is missing or is not TOML, or a key is missing, unknown or of the wrong type.
    """
    device_path, path = folder / "vedette.toml", folder / "cameras" / f"{camera}.toml"
    device_file = read(device_path, _DeviceFile)
    if not re.fullmatch(_NAME, camera):
        hint = "a name is letters, digits, dots, dashes and underscores"
        raise ConfigProblem(f"camera {camera!r}: not a name", hint=hint)
    camera_file = read(path, _CameraFile)
    if not camera_file.rules:
        raise ConfigProblem(f"{path}: no rules, so nothing would ever be sent", hint='add [[rules]] use = "presence"')
    folder, base = folder.resolve(), path.parent.resolve()
    broker = device_file.broker
    for key in ("password_file", "ca_file", "cert_file", "key_file"):
        if written := getattr(broker, key):
            broker = msgspec.structs.replace(broker, **{key: credentials.place(written, folder)})
    return Config(
        camera=camera,
        base=base,
        device_file=device_path,
        camera_file=path,
        device=device_file.device,
        broker=broker,
        outbox=device_file.outbox,
        keys=folder / device_file.device.keys if device_file.device.keys else None,
        state=folder / (device_file.device.state or os.environ.get("STATE_DIRECTORY") or STATE.get(folder, "state")),
        source=camera_file.source,
        username=camera_file.username,
        password_file=credentials.place(camera_file.password_file, base) if camera_file.password_file else "",
        bundle=base / camera_file.bundle,
        backend=camera_file.backend,
        threads=camera_file.threads,
        tracker=camera_file.tracker,
        health=camera_file.health,
        privacy=camera_file.privacy,
        gate=camera_file.gate,
        evidence=camera_file.evidence.placed(base, credentials.place),
        rules=tuple(camera_file.rules),
    )


def read(path: Path, kind: type[_T], docs: str = "docs/config.md") -> _T:
    """A TOML file as a `kind`, every key known and typed; `docs` lists the keys for people.

    Raises:
        ConfigProblem: the file cannot be read, is not TOML, or does not fit.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint=f"check the path; {docs} shows an example") from None
    except msgspec.ValidationError as error:
        unknown = "unknown field" in str(error) or "missing required field" in str(error)
        hint = f"known keys: {', '.join(_keys(kind))}" if unknown else f"{docs} tells what each key may be"
        raise ConfigProblem(f"{path}: {error}", hint=hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{path}: not TOML: {error}", hint="mend the file; it must be TOML in UTF-8") from None


def _keys(kind: Any, prefix: str = "") -> list[str]:
    found = []
    for field in msgspec.structs.fields(kind):
        nested = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        found += _keys(field.type, f"{prefix}{field.name}.") if nested else [prefix + field.name]
    return found
