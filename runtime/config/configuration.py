"""The configuration of a device and of one camera, checked once and then trusted.

`DIR/vedette.toml` holds what all cameras of the device share, `DIR/cameras/NAME.toml` what belongs to one camera. Every
key is known and typed, and listed in docs/config.md. An unknown key is an error that names the file and the known keys.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ..errors import ConfigProblem
from .batch_table import BatchSettings
from .camera_tables import HealthSettings, MotionGateSettings, PrivacySettings
from .credentials import resolve_credential_path, resolve_files
from .evidence_table import EvidenceSettings
from .golden_part_table import GoldenPartSettings
from .installed_bundle import MODELS_FOLDER, REQUESTS_FOLDER, resolve_bundle
from .integration_tables import IntegrationSettings
from .outbox_table import OutboxSettings
from .page_table import PageSettings
from .polygon import Polygon, describe_polygon_error
from .product_table import CameraProduct, ProductSettings, check_products
from .shift_table import ShiftSettings, check_shifts
from .sink_tables import AnySink, check_names
from .toml_file import read_toml
from .tracker_table import TrackerSettings
from .trigger_table import TriggerSettings

# A name becomes a level of an MQTT topic, and a folder or a file.
_NAME_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
SYSTEM_FOLDER, SYSTEM_STATE = Path("/etc/vedette"), "/var/lib/vedette"  # the unit has the latter as StateDirectory
MAX_PIXELS = 1 << 24
"""Most pixels of a frame where the camera's file says nothing: 4096 x 4096, which a machine with 1 GB can process."""
Name = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME_PATTERN}\Z")]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


def _hostname() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip(".") or "device"


class DeviceSettings(_Strict, frozen=True):
    """`[device]` in vedette.toml."""

    name: Name = msgspec.field(default_factory=_hostname)
    site: Name = "site"
    area: Name = "area"
    line: Name = "line"
    keys: str | None = None
    """Folder of the trusted `.pub` files; None: /etc/vedette/keys and the user's keyring."""
    hot: Annotated[float, msgspec.Meta(ge=0, le=150)] = 75.0
    """Degrees Celsius from which fewer frames are inferred; the firmware of a Pi throttles at 80."""
    state: str | None = None
    """Folder of the outboxes; None: systemd's StateDirectory, or `state` beside this file."""
    timezone: str = ""
    """Time zone of the hours and days in rules, such as `Europe/Berlin`; empty: the machine's."""


class BrokerSettings(_Strict, frozen=True):
    """`[broker]` in vedette.toml."""

    url: str = "mqtt://localhost:1883"
    """`mqtt://host:port`, `mqtts://host:port`, `stdout:`, or `none:` if `[[sinks]]` alone get events."""
    prefix: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME_PATTERN}(/{_NAME_PATTERN})*\Z")] = "vedette"
    username: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Certificate authority of the broker's certificate; empty: the authorities that the system trusts."""
    cert_file: str = ""
    key_file: str = ""
    """Private key of `cert_file`, the certificate of this client; empty if the broker requires none."""
    require_subscriber: bool = False
    """An event counts as delivered only if a client subscribes to it."""
    protocol: Literal["5", "3.1.1"] = "5"
    """MQTT version. With 3.1.1 a broker cannot report that it refuses an event."""
    keepalive: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 15
    """Keep-alive interval in seconds; a dead connection is detected within twice the interval."""
    batch: BatchSettings = BatchSettings()


class _DeviceFile(IntegrationSettings, frozen=True, forbid_unknown_fields=True):
    device: DeviceSettings = DeviceSettings()
    broker: BrokerSettings = BrokerSettings()
    outbox: OutboxSettings = OutboxSettings()
    page: PageSettings = PageSettings()
    sinks: tuple[AnySink, ...] = ()
    shifts: tuple[ShiftSettings, ...] = ()

    def __post_init__(self) -> None:
        if fault := check_names(self.sinks) or check_shifts(self.shifts):
            raise ValueError(fault)


class _CameraFile(_Strict, frozen=True, kw_only=True):
    source: str
    """URL of the camera or recording: `file:parts?fps=5`."""
    username: str = ""
    password_file: str = ""
    """File with the password of `username`, the login at a network camera."""
    max_pixels: Annotated[int, msgspec.Meta(ge=1024, le=1 << 27)] = MAX_PIXELS
    """Most pixels of a frame; a larger one is never decoded."""
    bundle: str = ""
    """Path of a bundle, or `installed:NAME`: the current release of that product (docs/updates.md)."""
    backend: str = "auto"
    """`onnx`, `tflite`, an accelerator, or `auto`: the back end that is fastest on this machine."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    tracker: TrackerSettings = TrackerSettings()
    health: HealthSettings = HealthSettings()
    region: Polygon = ()
    """The region of interest: corners [x, y], fractions 0…1 of the frame; empty: the whole frame."""
    privacy: PrivacySettings = PrivacySettings()
    gate: MotionGateSettings = MotionGateSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    trigger: TriggerSettings | None = None
    products: tuple[ProductSettings, ...] = ()
    golden_parts: GoldenPartSettings | None = None
    rules: list[dict[str, Any]] = []

    def __post_init__(self) -> None:
        if fault := check_products(self.products, self.trigger, self.bundle, self.golden_parts is not None):
            raise ValueError(fault)
        if self.golden_parts is not None:
            self.golden_parts.check_source(self.trigger.source if self.trigger is not None else "")
        if self.region and (error := describe_polygon_error(self.region)):
            raise ValueError(f"region: {error}")


class Config(_Strict, frozen=True):
    """The settings of one camera from both files; paths are absolute."""

    camera: str
    base: Path
    """Folder of the camera's file; relative paths in it start here."""
    device_file: Path
    camera_file: Path
    device: DeviceSettings
    broker: BrokerSettings
    outbox: OutboxSettings
    sinks: tuple[AnySink, ...]
    shifts: tuple[ShiftSettings, ...]
    integrations: IntegrationSettings
    keys: Path | None
    state: Path
    source: str
    username: str
    password_file: str
    max_pixels: int
    bundle: Path
    """With `[[products]]` that of the first one, and so is `installed`."""
    installed: str
    """Product of the store of installed models that the camera runs; empty: `bundle` is a path of its own."""
    backend: str
    threads: int
    tracker: TrackerSettings
    health: HealthSettings
    privacy: PrivacySettings
    gate: MotionGateSettings
    evidence: EvidenceSettings
    rules: tuple[dict[str, Any], ...]
    region: Polygon = ()
    trigger: TriggerSettings | None = None
    """One inspection per part; None: frames are inspected as they come."""
    products: tuple[CameraProduct, ...] = ()
    """Those of `[[products]]`; empty: the camera has one bundle."""
    golden_parts: GoldenPartSettings | None = None

    @property
    def state_folder(self) -> Path:
        """Folder of the camera's persistent state: outbox, evidence, status socket."""
        return self.state / self.camera


def load_config(folder: Path, camera: str) -> Config:
    """Reads the configuration of one camera.

    Raises:
        ConfigProblem: a file is missing or is not TOML, or a key is missing, unknown or of the wrong type.
    """
    device_path, path = folder / "vedette.toml", folder / "cameras" / f"{camera}.toml"
    device_file = read_toml(device_path, _DeviceFile)
    if not re.fullmatch(_NAME_PATTERN, camera) or camera in (MODELS_FOLDER, REQUESTS_FOLDER):
        raise ConfigProblem(f"camera {camera!r}: not a name, or reserved", hint="use letters, digits, dots, dashes, _")
    if not path.exists() and (names := camera_names(folder)):
        raise ConfigProblem(f"{path}: no such camera", hint=f"there are {', '.join(names)}")
    camera_file = read_toml(path, _CameraFile)
    if not camera_file.rules and camera_file.trigger is None:
        raise ConfigProblem(f"{path}: no rules, so nothing would ever be sent", hint='add [[rules]] use = "presence"')
    folder, base = folder.resolve(), path.parent.resolve()
    state, trusted = device_folders(folder, device_file.device)
    tables = camera_file.products
    products = tuple(CameraProduct(each, *resolve_bundle(each.bundle, path, state)) for each in tables)
    bundle, installed = resolve_bundle(tables[0].bundle if tables else camera_file.bundle, path, state)
    return Config(
        camera=camera,
        base=base,
        device_file=device_path,
        camera_file=path,
        device=device_file.device,
        broker=resolve_files(device_file.broker, folder),
        outbox=device_file.outbox,
        sinks=tuple(resolve_files(each, folder) for each in device_file.sinks),
        shifts=device_file.shifts,
        integrations=msgspec.convert(device_file, IntegrationSettings, from_attributes=True),
        keys=trusted,
        state=state,
        source=camera_file.source,
        username=camera_file.username,
        password_file=resolve_credential_path(camera_file.password_file, base),
        max_pixels=camera_file.max_pixels,
        bundle=bundle,
        installed=installed,
        backend=camera_file.backend,
        threads=camera_file.threads,
        tracker=camera_file.tracker,
        health=camera_file.health,
        privacy=camera_file.privacy,
        gate=camera_file.gate,
        evidence=camera_file.evidence.with_absolute_paths(base),
        rules=tuple(camera_file.rules),
        region=camera_file.region,
        trigger=camera_file.trigger,
        products=products,
        golden_parts=camera_file.golden_parts,
    )


def load_device(folder: Path) -> DeviceSettings:
    """Reads what all cameras share: the table `[device]` of vedette.toml; errors as in `load_config`."""
    return read_toml(folder / "vedette.toml", _DeviceFile).device


def device_folders(folder: Path, device: DeviceSettings) -> tuple[Path, Path | None]:
    """The state folder of the device, and that of its trusted keys; None: those of this machine."""
    folder = folder.resolve()
    default = os.environ.get("STATE_DIRECTORY") or (SYSTEM_STATE if folder == SYSTEM_FOLDER else "state")
    return folder / (device.state or default), folder / device.keys if device.keys else None


def camera_names(folder: Path) -> list[str]:
    """Names of the cameras that the configuration in `folder` has, sorted."""
    return sorted(path.stem for path in (folder / "cameras").glob("*.toml"))
