"""`vedette fleet`: the boxes at a broker; releases and configurations rolled out to them in rings, and taken back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.bundle.keys import Keyring, read_private_key
from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem

from ..fleet.configuration_rollout import plan_configuration, read_part
from ..fleet.fleet_listing import make_rows, render_csv, render_table
from ..fleet.rings import DEFAULT_MAX_FAILED, allowed_failures
from ..fleet.rollout_record import Rollout, read_rollout
from ..fleet.rollout_run import HTTPS_PARALLEL, MQTT_PARALLEL, RolloutRun, plan_rollout
from .fleet_golden_part import golden_part
from .fleet_login import connect, login

_path = click.Path(path_type=Path)
_key = click.option("--key", type=_path, required=True, help="Private key that signs the orders; the boxes trust it.")
_file = click.option("--file", type=_path, required=True, help="The rollout's file; if it exists, the rollout goes on.")

_gate = options.combine(
    click.option("--ring", "rings", default="5%,25%,100%", show_default=True, help="Boxes after each ring."),
    click.option("--max-failed", default=DEFAULT_MAX_FAILED, show_default=True, help="Boxes per ring that may fail."),
    click.option("--parallel", type=click.IntRange(1, 10_000), help="Boxes that change at a time."),
)
_rollout = options.combine(
    options.bundle,
    _file,
    _key,
    click.option("--source", default="mqtt", show_default=True, help="Where boxes fetch it: https://…, or mqtt."),
    click.option("--probation", "minutes", type=click.FloatRange(0, 10_000), default=10.0, show_default=True),
    click.option("--max-ms", type=click.FloatRange(0, min_open=True), help="As in vedette install."),
    click.option("--band", type=click.FloatRange(0, 1, True, True), default=0.05, help="As in vedette install."),
    _gate,
    login,
    options.keys,
)


@click.group()
def fleet() -> None:
    """See the boxes at a broker; install a release on them in rings, and take it back."""


fleet.add_command(golden_part)


@fleet.command()
@login
@options.as_json
def status(only: tuple[str, ...], as_json: bool, out: Path, url: str, prefix: str, **login: Any) -> None:
    """List the boxes: state, releases, probation, events, faults."""
    connection, inventory = connect(out, url, prefix, login)
    connection.close()
    rows = make_rows(inventory.find(only))
    options.print_json(rows) if as_json else click.echo(render_table(rows))


@fleet.command()
@click.option("--format", "kind", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--out-file", type=_path, help="[default: standard output]")
@login
def export(
    kind: str, out_file: Path | None, only: tuple[str, ...], out: Path, url: str, prefix: str, **login: Any
) -> None:
    """Write the list of the boxes as CSV or JSON."""
    connection, inventory = connect(out, url, prefix, login)
    connection.close()
    rows = make_rows(inventory.find(only))
    text = render_csv(rows) if kind == "csv" else options.render_json(rows)
    if out_file is None:
        click.echo(text, nl=kind == "json")
    else:
        write_atomically(out_file, text.encode(), "name another --out-file")


@fleet.command()
@_rollout
def install(bundle: Path, file: Path, key: Path, **more: Any) -> None:
    """Install BUNDLE ring by ring; stop, and take it back from the ring, if too many boxes fail."""
    _roll_out(bundle, file, key, None, **more)


@fleet.command()
@_rollout
def canary(bundle: Path, file: Path, key: Path, **more: Any) -> None:
    """Install BUNDLE on the first ring only; vedette fleet install with the same --file goes on."""
    _roll_out(bundle, file, key, 0, **more)


@fleet.command()
@click.argument("part", type=_path)
@_file
@_key
@click.option("--camera", default="", help="The camera whose file changes. [default: the only one of each box]")
@click.option("--canary", is_flag=True, help="The first ring only; the same command without it goes on.")
@_gate
@login
def config(part: Path, file: Path, key: Path, camera: str, canary: bool, rings: str, **more: Any) -> None:
    """Replace tables of the cameras' files by those of PART, ring by ring; each box keeps its source and logins."""
    private, text, rollout = read_private_key(key), read_part(part), read_rollout(file)
    settings = {name: more.pop(name) for name in ("max_failed", "parallel")}
    allowed_failures(settings["max_failed"], 1)
    only = more.pop("only")
    connection, inventory = connect(more.pop("out"), more.pop("url"), more.pop("prefix"), more)
    if rollout is None:
        settings["parallel"] = settings["parallel"] or HTTPS_PARALLEL
        rollout = plan_configuration(text, inventory.find(only), rings, click.echo, camera, **settings)
    _check_same(rollout, text.encode(), file)
    run = RolloutRun(rollout, file, connection, private, b"", click.echo, last_ring=0 if canary else None)
    done = run.go_on()
    connection.close()
    if not done:
        raise SystemExit(1)


@fleet.command()
@_file
@_key
@click.option("--config", "is_configuration", is_flag=True, help="The rollout must be one of a configuration.")
@login
def rollback(file: Path, key: Path, is_configuration: bool, only: tuple[str, ...], **more: Any) -> None:
    """Take the release or the configuration of a rollout back from all boxes that got it."""
    rollout = _read(file)
    if is_configuration and not rollout.part:
        raise ConfigProblem(f"{file} is the rollout of a release", hint="leave --config out to take the release back")
    private = read_private_key(key)
    connection, _ = connect(more.pop("out"), more.pop("url"), more.pop("prefix"), more)
    run = RolloutRun(rollout, file, connection, private, b"", click.echo)
    run.engine.start_leaving("its user took it back", only)
    run.go_on()
    connection.close()
    if rollout.counts().get("unreachable"):
        raise SystemExit(1)


def _roll_out(
    bundle: Path,
    file: Path,
    key: Path,
    last_ring: int | None,
    rings: str,
    keys: Path | None,
    only: tuple[str, ...],
    out: Path,
    url: str,
    prefix: str,
    username: str,
    password_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    **settings: Any,
) -> None:
    private = read_private_key(key)
    keyring = Keyring.read(keys).with_signer(private)
    allowed_failures(settings["max_failed"], 1)
    settings["parallel"] = settings["parallel"] or (MQTT_PARALLEL if settings["source"] == "mqtt" else HTTPS_PARALLEL)
    rollout = read_rollout(file)
    login = {"username": username, "password_file": password_file, "ca_file": ca_file}
    connection, inventory = connect(out, url, prefix, login | {"cert_file": cert_file, "key_file": key_file})
    if rollout is None:
        rollout = plan_rollout(bundle, keyring, inventory.find(only), rings, click.echo, **settings)
    content = bundle.read_bytes()
    _check_same(rollout, content, file)
    run = RolloutRun(rollout, file, connection, private, content, click.echo, last_ring=last_ring)
    done = run.go_on()
    connection.close()
    if not done:
        raise SystemExit(1)


def _read(file: Path) -> Rollout:
    rollout = read_rollout(file)
    if rollout is None:
        raise ConfigProblem(f"{file}: no such rollout", hint="name the --file of vedette fleet install")
    return rollout


def _check_same(rollout: Rollout, content: bytes, file: Path) -> None:
    if hashlib.sha256(content).hexdigest() != rollout.sha256:
        hint = "name another --file for something else"
        raise ConfigProblem(f"{file} is the rollout of something else: {rollout.name}", hint=hint)
    if rollout.status == "stopped":
        hint = "mend the release, or name another --file to try once more"
        raise ConfigProblem(f"{file}: the rollout was stopped: {rollout.reason}", hint=hint)
