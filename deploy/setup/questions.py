"""The questions of `vedette setup` on a terminal. A bad answer is asked again, with the reason.

Only what no flag and no seed said is asked; Enter takes what is configured already.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from vedette.runtime.bundle.archive import unpack_archive
from vedette.runtime.bundle.keys import key_id, read_public_key
from vedette.runtime.camera import sources
from vedette.runtime.config.configuration import Name
from vedette.runtime.config.installed_bundle import INSTALLED
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.events.sinks import SINKS
from vedette.runtime.monitoring.doctor_check import Check
from vedette.runtime.plugin_tables import split_url
from vedette.runtime.redaction import redact

from ..seed import Seed, SeedBroker, SeedCamera, SeedDevice
from .answers import Flags, check_answers, read_certificates
from .camera_search import SearchResult
from .onvif_media import SCHEME, resolve_source


class Trials(msgspec.Struct, frozen=True):
    """How answers are tried as soon as they are given; None: they are not."""

    broker: Callable[[Seed], Check] | None
    camera: Callable[[Seed], Check] | None
    bundle: Callable[[Seed], list[Check]]


class Questions:
    """Asks for what is missing.

    Args:
        flags: what is given by a flag is not asked
        search: finds cameras
        trials: how answers are tried
    """

    def __init__(self, flags: Flags, search: Callable[[], SearchResult], trials: Trials) -> None:
        self.flags, self.search, self.trials = flags, search, trials

    def ask(self, seed: Seed) -> Seed:
        """The answers, completed: device, broker, and the camera if it is one."""
        device = seed.device
        for key, text in (("name", "Name of this device"), ("site", "Site"), ("area", "Area"), ("line", "Line")):
            if getattr(self.flags, "device" if key == "name" else key) is None:
                answer = _ask(text, getattr(device, key), _check_name)
                device = msgspec.structs.replace(device, **{key: answer})
        seed = msgspec.structs.replace(seed, device=SeedDevice(**msgspec.structs.asdict(device)))
        seed = self._ask_until_tried(seed, self._ask_broker, lambda each: _as_list(self.trials.broker, each))
        if len(seed.cameras) > 1:
            names = ", ".join(each.name for each in seed.cameras)
            click.echo(f"the cameras {names} stay as they are; --camera NAME asks for one", err=True)
        elif seed.cameras:
            seed = self._ask_until_tried(seed, self._ask_camera, lambda each: _as_list(self.trials.camera, each))
            seed = self._ask_until_tried(seed, self._ask_bundle, self.trials.bundle, may_differ=False)
        return check_answers(seed)

    def _ask_until_tried(
        self, seed: Seed, ask: Callable[[Seed], Seed], check: Callable[[Seed], list[Check]], may_differ: bool = True
    ) -> Seed:
        """Asks until the answers work, or the user keeps them all the same; that is not offered for a bundle."""
        while True:
            answered = seed = ask(seed)  # the next time, Enter takes what was just said
            try:
                checks = check(answered)
            except Problem as problem:
                checks = [Check("it", False, redact(problem.message), redact(problem.hint))]
            for each in checks:
                show_check(each)
            if all(each.works is not False for each in checks):
                return answered
            if may_differ and click.confirm("Keep these answers all the same?", default=False, err=True):
                return answered

    def _ask_broker(self, seed: Seed) -> Seed:
        flags, broker = self.flags, seed.broker
        values = msgspec.structs.asdict(broker)
        if flags.broker is None:
            values["url"] = _ask("Broker (mqtt://HOST:1883, mqtts://HOST:8883)", broker.url, _check_broker_url)
        if flags.username is None:
            values["username"] = _ask("User name at the broker (empty: none)", broker.username)
        if values["username"] and flags.password_file is None and flags.cert_file is None:
            values["password"] = _ask_secret("Password at the broker") or broker.password
        if values["url"].startswith("mqtts:") and flags.ca_file is None:
            text = "Certificate of the broker's authority, a file (empty: the system's, or the present one)"
            path = _ask(text, "", _check_certificate_path)
            values["ca"] = read_certificates(Path(path) if path else None, "--ca-file") or broker.ca
        return msgspec.structs.replace(seed, broker=SeedBroker(**values))

    def _ask_camera(self, seed: Seed) -> Seed:
        flags, camera = self.flags, seed.cameras[0]
        values = {key: getattr(camera, key) for key in camera.__struct_fields__}
        if flags.camera is None:
            values["name"] = _ask("Name of the camera", camera.name, _check_name)
        if flags.source is None:
            values["source"] = self._ask_source(camera.source)
        is_network = values["source"].partition(":")[0] in ("rtsp", "rtsps", "http", "https", "onvif")
        if is_network and flags.camera_username is None:
            values["username"] = _ask("User name at the camera (empty: none)", camera.username)
        if is_network and values["username"] and flags.camera_password_file is None:
            values["password"] = _ask_secret("Password at the camera") or camera.password
        try:
            camera = resolve_source(SeedCamera(**values))
        except Problem as problem:
            click.echo(f"  {redact(problem.message)}; {redact(problem.hint)}", err=True)
            return self._ask_camera(msgspec.structs.replace(seed, cameras=(SeedCamera(**values),)))
        return msgspec.structs.replace(seed, cameras=(camera,))

    def _ask_source(self, present: str) -> str:
        click.echo("looking for cameras …", err=True)
        result = self.search()
        for remark in result.remarks:
            click.echo(f"  {remark}", err=True)
        for number, camera in enumerate(result.cameras, 1):
            click.echo(f"  {number}  {camera}", err=True)
        if not result.cameras:
            click.echo("  none found", err=True)

        def check(text: str) -> str:
            if text.isdecimal() and 1 <= int(text) <= len(result.cameras):
                chosen = result.cameras[int(text) - 1]
                return chosen.source or f"{SCHEME}{chosen.service}"
            if split_url(text, "source").scheme not in (*sources.SOURCES, SCHEME.rstrip(":")):
                known = ", ".join(f"{each}:" for each in sources.SOURCES)
                raise ConfigProblem("neither a number of the list nor a source", hint=f"a source begins with {known}")
            return text

        return _ask("Camera: a number of the list, or a source", present or ("1" if result.cameras else ""), check)

    def _ask_bundle(self, seed: Seed) -> Seed:
        camera, keys = seed.cameras[0], dict(seed.keys)
        bundle = camera.bundle
        if self.flags.bundle is None:
            bundle = _ask("Bundle, a file", camera.bundle, _check_bundle_path)
        answered = msgspec.structs.replace(seed, cameras=(msgspec.structs.replace(camera, bundle=bundle),), keys=keys)
        untrusted = [each for each in self.trials.bundle(answered) if each.signer]
        if self.flags.keys or not untrusted:
            return answered
        click.echo(f"  {untrusted[0].found}", err=True)
        signer = untrusted[0].signer
        path = Path(_ask("Public key to trust, the signer's .pub file", "", lambda each: _check_key(each, signer)))
        keys[path.name] = path.read_text()
        return msgspec.structs.replace(answered, keys=keys)


def show_check(check: Check) -> None:
    """One line for a check, and one for its remedy, on stderr."""
    mark = {True: "ok", False: "FAIL", None: "-"}[check.works]
    click.echo(f"{mark:4} {check.what:12} {check.found}", err=True)
    if check.remedy:
        click.echo(f"     {'':12} remedy: {check.remedy}", err=True)


def _ask(text: str, present: str, check: Callable[[str], str] = lambda each: each) -> str:
    """One answer; asked again until `check`, which may change it, raises no Problem."""
    while True:
        answer: str = click.prompt(text, default=present, show_default=bool(present), err=True).strip()
        try:
            return check(answer)
        except Problem as problem:
            click.echo(f"  {redact(problem.message)}; {redact(problem.hint)}", err=True)


def _ask_secret(text: str) -> str:
    answer: str = click.prompt(
        f"{text} (empty: the present one, or none)", default="", hide_input=True, show_default=False, err=True
    )
    return answer


def _check_name(text: str) -> str:
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise ConfigProblem(f"{text!r} is no name", hint="letters, digits, dots, dashes and underscores") from None


def _check_broker_url(text: str) -> str:
    if split_url(text, "broker.url").scheme not in SINKS:
        raise ConfigProblem("not a broker", hint="write mqtt://HOST or mqtts://HOST")
    return text


def _check_bundle_path(text: str) -> str:
    if not text:
        raise ConfigProblem("no bundle is named", hint="write the path of NAME.vedette, as vedette build wrote it")
    if text.startswith(INSTALLED):
        return text
    unpack_archive(Path(text))
    return str(Path(text).absolute())


def _check_certificate_path(text: str) -> str:
    read_certificates(Path(text) if text else None, "--ca-file")
    return text


def _check_key(text: str, signer: str) -> str:
    """The path of the signer's public key; a key that signed something else must not become a trusted one."""
    if not text:
        raise ConfigProblem("no key is named", hint=f"write the path of the .pub file of {signer}; Ctrl-C ends it")
    identity = key_id(read_public_key(Path(text)))
    if identity != signer:
        hint = f"write the path of the .pub file of {signer}, which lies beside the key that signed the bundle"
        raise ConfigProblem(f"{text} is the key {identity}, which did not sign the bundle", hint=hint)
    return text


def _as_list(trial: Callable[[Seed], Check] | None, seed: Seed) -> list[Check]:
    return [] if trial is None else [trial(seed)]
