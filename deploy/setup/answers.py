"""Answers from flags, a seed file and the present configuration, as one seed.

A flag goes before the seed, and the seed before what is configured already. Passwords come from files or the terminal:
a command line is visible to every user of the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.x509 import load_pem_x509_certificates

from vedette.runtime.bundle.keys import parse_public_key
from vedette.runtime.config.configuration import DeviceSettings, camera_names
from vedette.runtime.config.installed_bundle import INSTALLED
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.plugin_tables import split_url

from ..seed import Seed, SeedBroker, SeedCamera, SeedDevice, read_seed
from .configuration_files import CAMERAS, DEFAULT_RULES, DEVICE_FILE, read_present

_StructT = TypeVar("_StructT", bound=msgspec.Struct)


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `vedette setup` that answer a question; None: not given."""

    device: str | None = None
    site: str | None = None
    area: str | None = None
    line: str | None = None
    timezone: str | None = None
    broker: str | None = None
    prefix: str | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    camera: str | None = None
    source: str | None = None
    camera_username: str | None = None
    camera_password_file: Path | None = None
    bundle: str | None = None
    keys: tuple[Path, ...] = ()


def collect_answers(flags: Flags, folder: Path, seed_file: Path | None) -> Seed:
    """What is known without a question; an unknown source or bundle is empty.

    Args:
        flags: the command's options
        folder: with vedette.toml
        seed_file: the seed; None: the present configuration takes its place

    Raises:
        ConfigProblem: a file is wrong or cannot be read, or a flag does not fit.
    """
    seed = read_present_answers(folder) if seed_file is None else read_seed_with_paths(seed_file)
    device = _replace(
        seed.device, name=flags.device, site=flags.site, area=flags.area, line=flags.line, timezone=flags.timezone
    )
    broker = _replace(
        seed.broker,
        url=flags.broker,
        prefix=flags.prefix,
        username=flags.username,
        password=read_text(flags.password_file, "--password-file", strip=True),
        ca=read_certificates(flags.ca_file, "--ca-file"),
        certificate=read_certificates(flags.cert_file, "--cert-file"),
        key=read_text(flags.key_file, "--key-file"),
    )
    keys = {path.name: _read_key(path) for path in flags.keys}
    cameras = _choose_cameras(seed, flags, seed_file is not None)
    return check_answers(_replace(seed, device=device, broker=broker, cameras=cameras, keys={**seed.keys, **keys}))


def _read_key(path: Path) -> str:
    text = read_text(path, "--key") or ""
    parse_public_key(text.encode(), f"--key {path}")
    return text


def check_answers(seed: Seed) -> Seed:
    """The same answers, if their names and types are right.

    Raises:
        ConfigProblem: one is wrong; the message names it.
    """
    try:
        checked = msgspec.convert(msgspec.to_builtins(seed), Seed)
    except msgspec.ValidationError as error:
        hint = "names are letters, digits, dots, dashes and underscores; give another with its flag (--help)"
        reason, _, place = str(error).partition(" - at ")
        if "matching regex" in reason:  # a pattern says little to a person
            reason = "not a name"
        raise ConfigProblem(f"an answer is wrong: {place.strip('`$.')}: {reason}", hint=hint) from None
    names = [camera.name for camera in checked.cameras]
    if len({*names}) < len(names):
        raise ConfigProblem("two cameras have one name", hint="give each camera a name of its own")
    return checked


def find_missing(seed: Seed) -> dict[str, str]:
    """What is not known yet: a flag and what it says."""
    missing = {}
    for camera in seed.cameras:
        if not camera.source:
            missing["--source"] = "the camera, as v4l2:/dev/video0 or rtsp://HOST/PATH"
        if not camera.bundle:
            missing["--bundle"] = "the file of the bundle"
    return missing


def read_seed_with_paths(path: Path) -> Seed:
    """Reads a seed; paths of bundles become absolute.

    Raises:
        ConfigProblem: it cannot be read or is wrong.
    """
    seed = read_seed(path)
    with locate_errors(path):
        check_answers(seed)
    folder = path.absolute().parent
    return _replace(seed, cameras=tuple(_with_absolute_bundle(each, folder) for each in seed.cameras))


def read_present_answers(folder: Path) -> Seed:
    """The answers that the present configuration stands for, without its passwords and certificates.

    Raises:
        ConfigProblem: a file is not TOML, or a value has the wrong type.
    """
    content = read_present(folder / DEVICE_FILE)
    device, broker = content.get("device", {}), content.get("broker", {})
    values: dict[str, Any] = {
        "device": {"name": DeviceSettings().name, **_pick(device, SeedDevice)},
        "broker": _pick(broker, SeedBroker),
        "cameras": [],
    }
    for name in camera_names(folder):
        camera = read_present(folder / CAMERAS / f"{name}.toml")
        values["cameras"].append({"source": "", "bundle": "", **_pick(camera, SeedCamera), "name": name})
    try:
        seed = msgspec.convert(values, Seed)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"{folder}: {error}", hint="correct the file, or move it away") from None
    cameras = tuple(_with_absolute_bundle(each, (folder / CAMERAS).absolute()) for each in seed.cameras)
    return _replace(seed, cameras=cameras)


def read_text(path: Path | None, flag: str, strip: bool = False) -> str | None:
    """The text of a file that a flag names; None without the flag.

    Raises:
        ConfigProblem: it cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigProblem(f"{flag} {path}: {error.strerror}", hint="check the path, and who may read it") from None
    except UnicodeDecodeError:
        raise ConfigProblem(f"{flag} {path}: not text in UTF-8", hint="name the file that holds it as text") from None
    text = text.rstrip("\r\n") if strip else text
    if not text:
        raise ConfigProblem(f"{flag} {path}: the file is empty", hint="name the file that holds it")
    return text


def read_certificates(path: Path | None, flag: str) -> str | None:
    """The text of a file of certificates that a flag names; None without the flag.

    Raises:
        ConfigProblem: it cannot be read, or holds no certificate.
    """
    text = read_text(path, flag)
    if text is None:
        return None
    try:
        load_pem_x509_certificates(text.encode())
    except ValueError:
        hint = "name a file with -----BEGIN CERTIFICATE-----; docs/provisioning.md shows how an authority is made"
        raise ConfigProblem(f"{flag} {path}: not a certificate", hint=hint) from None
    return text


def check_certificates_are_used(flags: Flags, url: str) -> None:
    """Refuses certificates for a connection without TLS, which would look safe and would not be.

    Raises:
        ConfigProblem: a flag names one.
    """
    given = {"--ca-file": flags.ca_file, "--cert-file": flags.cert_file}
    for flag, path in given.items():
        if path is not None and split_url(url, "broker.url").scheme == "mqtt":
            hint = f"write mqtts://HOST:8883, or leave {flag} out"
            raise ConfigProblem(f"{flag} is of no use with {url}, which is not encrypted", hint=hint)


def _choose_cameras(seed: Seed, flags: Flags, is_seed: bool) -> tuple[SeedCamera, ...]:
    """The cameras to set up: the one that a flag names, or all; without any a new one, unless a seed wants none."""
    about_one = (flags.source, flags.camera_username, flags.camera_password_file, flags.bundle)
    cameras = seed.cameras
    if flags.camera is not None:
        shared = {each.bundle for each in cameras}  # the next camera of a box often runs the same product
        bundle = shared.pop() if len(shared) == 1 else ""
        new = SeedCamera(name=flags.camera, source="", bundle=bundle, rules=DEFAULT_RULES)
        cameras = (next((each for each in cameras if each.name == flags.camera), new),)
    elif not cameras and not (is_seed and all(each is None for each in about_one)):
        cameras = (SeedCamera(name="camera", source="", bundle=""),)
    if all(each is None for each in about_one):
        return cameras
    if len(cameras) > 1:
        names = ", ".join(each.name for each in cameras)
        raise ConfigProblem("the flags are about one camera, and there are several", hint=f"--camera: {names}")
    chosen = _replace(
        cameras[0],
        source=flags.source,
        username=flags.camera_username,
        password=read_text(flags.camera_password_file, "--camera-password-file", strip=True),
        bundle=flags.bundle,
    )
    return (_with_absolute_bundle(chosen, Path.cwd()),)


def _with_absolute_bundle(camera: SeedCamera, folder: Path) -> SeedCamera:
    if not camera.bundle or camera.bundle.startswith(INSTALLED):
        return camera
    return _replace(camera, bundle=str(folder / camera.bundle))


def _pick(values: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The values that an answer stands for; secrets are files in a configuration and texts in a seed."""
    known = set(kind.__struct_fields__) - {"password", "ca", "certificate", "key"}
    return {key: value for key, value in values.items() if key in known}


def _replace(value: _StructT, **changes: Any) -> _StructT:
    given = {key: each for key, each in changes.items() if each is not None}
    replaced: _StructT = msgspec.structs.replace(value, **given)
    return replaced
