"""From answers to the files of a configuration folder.

Keys of present files that were not asked for stay as they are, and a file whose values would not change stays as it
is, comments included. Passwords and keys get files of their own in `secrets/`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from vedette.runtime.bundle.keys import key_id, parse_public_key, read_public_key
from vedette.runtime.config.configuration import SYSTEM_FOLDER, BrokerSettings, DeviceSettings, device_folders
from vedette.runtime.errors import ConfigProblem

from ..seed import Seed, SeedCamera
from .bundle_placement import check_one_release_each, place_bundle
from .durable_files import PlannedFile

DEVICE_FILE, CAMERAS, KEYS, SECRETS = "vedette.toml", "cameras", "keys", "secrets"
DEFAULT_RULES: tuple[dict[str, Any], ...] = ({"use": "presence"},)


def plan_files(seed: Seed, folder: Path) -> list[PlannedFile]:
    """The files that a seed or answers ask for, in the order in which they are written: what refers to others last.

    Args:
        seed: the answers; bundles with absolute paths
        folder: with vedette.toml

    Raises:
        ConfigProblem: a present file is not TOML, a name of a key file is not one, or two cameras ask for different
            releases of a product.
        BundleProblem: a bundle is none.
    """
    device = read_present(folder / DEVICE_FILE)
    keys = _plan_keys(seed.keys, keys_folder(folder, device))
    state = device_folders(folder, DeviceSettings(state=str(device.get("device", {}).get("state") or "") or None))[0]
    cameras = [each for camera in seed.cameras for each in _plan_camera(camera, folder, state)]
    check_one_release_each(cameras)
    return [*keys, *_plan_device(seed, device, folder, bool(keys)), *cameras]


def keys_folder(folder: Path, device: dict[str, Any]) -> Path:
    """Folder of the trusted keys.

    Args:
        folder: with vedette.toml
        device: content of that file
    """
    return folder / str(device.get("device", {}).get("keys") or KEYS)


def read_present(path: Path) -> dict[str, Any]:
    """A present TOML file; empty if there is none.

    Raises:
        ConfigProblem: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "correct it, or move it away: vedette setup then writes a new one"
        raise ConfigProblem(f"{path}: {error}", hint=hint) from None


def _plan_keys(keys: dict[str, str], folder: Path) -> list[PlannedFile]:
    """The trusted keys. One that is trusted already keeps its file, and the products that it is limited to."""
    present = {key_id(read_public_key(path)): path for path in sorted(folder.glob("*.pub"))} if keys else {}
    files = []
    for name, text in keys.items():
        if not name.endswith(".pub") or Path(name).name != name or name.startswith("."):
            raise ConfigProblem(f"keys: {name!r} is no name of a key file", hint="a key's file is NAME.pub")
        content = text.encode()
        identity = key_id(parse_public_key(content, name))
        if identity in present:
            continue
        path = folder / name
        if path.exists():  # the key of another signer: public keys are often called the same
            path = folder / f"{path.stem}-{identity}.pub"
        files.append(PlannedFile(path, content))
    return files


def _plan_device(seed: Seed, present: dict[str, Any], folder: Path, has_new_keys: bool) -> list[PlannedFile]:
    files: list[PlannedFile] = []

    def keep_secret(text: str, name: str) -> str | None:
        """The value of a key `…_file`; None: nothing was said, and the key stays as it is."""
        if not text:
            return None
        files.append(PlannedFile(folder / SECRETS / name, text.encode(), secret=True))
        return f"{SECRETS}/{name}"

    wanted, broker = seed.device, seed.broker
    device = {"site": wanted.site, "area": wanted.area, "line": wanted.line, "timezone": wanted.timezone or None}
    content = {table: dict(values) if isinstance(values, dict) else values for table, values in present.items()}
    in_device = content.setdefault("device", {})
    in_device["name"] = wanted.name  # always written: the default is the host's name, which may change
    if folder.absolute() != SYSTEM_FOLDER and (not present or has_new_keys):
        in_device.setdefault("keys", KEYS)
    _set_values(in_device, device, DeviceSettings(name=wanted.name))
    login = {
        "url": broker.url,
        "prefix": broker.prefix,
        "username": broker.username,
        "password_file": keep_secret(broker.password, "broker-password"),
        "ca_file": keep_secret(broker.ca, "broker-ca.pem"),
        "cert_file": keep_secret(broker.certificate, "broker-certificate.pem"),
        "key_file": keep_secret(broker.key, "broker-key.pem"),
    }
    in_broker = content.setdefault("broker", {})
    in_broker.setdefault("url", broker.url)
    _set_values(in_broker, login, BrokerSettings())
    return [*files, *_plan_toml(folder / DEVICE_FILE, content, present)]


def _plan_camera(camera: SeedCamera, folder: Path, state: Path) -> list[PlannedFile]:
    path = folder / CAMERAS / f"{camera.name}.toml"
    present = read_present(path)
    present_bundle = str(present.get("bundle", ""))
    reference, files = place_bundle(camera.bundle, camera.name, folder, folder / CAMERAS, state, present_bundle)
    content: dict[str, Any] = dict(present)
    content["source"], content["bundle"] = camera.source, reference
    if camera.username or "username" in content:
        content["username"] = camera.username
    if camera.password:
        name = f"camera-{camera.name}-password"
        files.append(PlannedFile(folder / SECRETS / name, camera.password.encode(), secret=True))
        content["password_file"] = f"../{SECRETS}/{name}"
    rules = list(camera.rules)
    if "rules" not in content or tuple(rules) != DEFAULT_RULES:
        content.pop("rules", None)
        content["rules"] = rules  # the last key: TOML's tables follow the values
    return [*files, *_plan_toml(path, content, present)]


def _set_values(table: dict[str, Any], values: dict[str, Any], defaults: msgspec.Struct) -> None:
    """Sets values that differ from what holds now; None leaves a key as it is."""
    for key, value in values.items():
        if value is not None and table.get(key, getattr(defaults, key)) != value:
            table[key] = value


def _plan_toml(path: Path, content: dict[str, Any], present: dict[str, Any]) -> list[PlannedFile]:
    """The file with this content; the present one, if it says the same."""
    if content == present:
        return [PlannedFile(path, path.read_bytes())]
    return [PlannedFile(path, render_toml(content).encode())]


def render_toml(content: dict[str, Any]) -> str:
    """A configuration as TOML, each rule under a line `[[rules]]` of its own, so that another can be added below."""
    rules = [tomli_w.dumps({"rules": rule}).replace("[rules]\n", "[[rules]]\n", 1) for rule in content.get("rules", [])]
    return "\n".join([tomli_w.dumps({key: value for key, value in content.items() if key != "rules"}), *rules])
