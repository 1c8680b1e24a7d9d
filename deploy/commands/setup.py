"""`vedette setup`: sets a box up, from questions, flags or a seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.monitoring.doctor_check import Check

from ..seed import Seed
from ..setup import flow, services
from ..setup.answers import Flags, check_certificates_are_used, collect_answers, read_seed_with_paths
from ..setup.camera_search import find_cameras
from ..setup.durable_files import FileChange, find_action, require_writable
from ..setup.onvif_media import resolve_source
from ..setup.questions import Questions, Trials, show_check
from ..setup.seed_consumption import consume_seed

_FILE = click.Path(path_type=Path)
_answers = options.combine(
    click.option("--device", help="Name of this device: one level of the topics. [default: the host name]"),
    click.option("--site", help="Site, a level of the topics."),
    click.option("--area", help="Area, a level of the topics."),
    click.option("--line", help="Line, a level of the topics."),
    click.option("--timezone", help="Time zone of hours and days in rules, such as Europe/Berlin."),
    click.option("--broker", help="Address of the broker: mqtt://HOST:1883 or mqtts://HOST:8883."),
    click.option("--prefix", help="First level of the topics."),
    click.option("--username", help="User name at the broker."),
    click.option("--password-file", type=_FILE, help="File with the password at the broker."),
    click.option("--ca-file", type=_FILE, help="Certificate of the authority that signed the broker's certificate."),
    click.option("--cert-file", type=_FILE, help="Certificate of this device, for the broker."),
    click.option("--key-file", type=_FILE, help="Private key of --cert-file."),
    click.option("--camera", help="Name of the camera. [default: the one that is configured, or camera]"),
    click.option("--source", help="The camera: v4l2:/dev/video0, rtsp://HOST/PATH, … (docs/cameras.md)."),
    click.option("--camera-username", help="User name at a network camera."),
    click.option("--camera-password-file", type=_FILE, help="File with the password at the camera."),
    click.option("--bundle", help="File of the bundle, which goes into the store of models; or installed:NAME."),
    click.option("--key", "keys", type=_FILE, multiple=True, help="Public key to trust: the signer's NAME.pub."),
)


@click.command()
@_answers
@options.config
@click.option("--seed", "seed_file", type=_FILE, help="Take the answers from this seed, and ask nothing.")
@click.option("--consume", is_flag=True, help="First boot: take --seed once, destroy it, write SEED.result.")
@click.option("--search", "search_seconds", type=click.FloatRange(0, 60), default=3.0, show_default=True,
              help="Seconds to look for cameras in the network; 0: only at this machine.")  # fmt: skip
@click.option("--picture", type=_FILE, help="File for the picture of the trial. [default: vedette-CAMERA.jpg]")
@click.option("--wait", "wait_seconds", type=click.FloatRange(0, 3600), default=60.0, show_default=True,
              help="Seconds to wait for the first event.")  # fmt: skip
@click.option("--untried", is_flag=True, help="Try neither broker nor camera.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; change nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@options.as_json
def setup(
    folder: Path,
    seed_file: Path | None,
    consume: bool,
    search_seconds: float,
    picture: Path | None,
    wait_seconds: float,
    untried: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **answers: Any,
) -> None:
    """Set this box up: device, broker, camera and bundle are asked, tried, written and started.

    What is configured already stays, and a second run changes nothing. A file that is replaced is kept as NAME.bak.

    Exit code 1: it is set up, but no frame or no event got through; 2: an answer is missing or wrong; 3: the bundle is
    wrong; 4: the machine lacks something.
    """
    flags = Flags(**answers)
    if consume:
        if seed_file is None or flags != Flags() or dry_run:
            raise ConfigProblem("--consume takes all answers from --seed", hint="leave out the other flags")
        _consume(seed_file, folder)
        return
    if not dry_run:
        require_writable(folder)  # told before a question, not after all of them
    seed = collect_answers(flags, folder, seed_file)
    # Questions go to stderr, so that stdout has the result alone.
    asked = _is_terminal() and not yes and not as_json and seed_file is None
    if asked:
        seed = _ask(seed, flags, folder, search_seconds, picture, untried or dry_run)
    check_certificates_are_used(flags, seed.broker.url)
    flow.require_complete(seed)
    seed = msgspec.structs.replace(seed, cameras=tuple(resolve_source(each) for each in seed.cameras))
    files = flow.plan_checked(seed, folder)
    if dry_run:
        changes = [FileChange(str(each.path), find_action(each)) for each in files]
        _print(_report(folder, changes, dry_run=True, diff=flow.describe_difference(files)), as_json)
        return
    checks = [] if asked else _try_all(seed, folder, picture, untried)  # each answer was tried when it was given
    changes = flow.write_files(files)
    changed = any(each.action != "unchanged" for each in changes)
    units, events = flow.start_and_wait(seed, folder, changed, wait_seconds)
    _print(_report(folder, changes, checks=checks, units=units, events=events), as_json)
    if any(not each.works for each, unit in zip(events, units, strict=True) if not unit.left):
        raise SystemExit(1)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _consume(seed_file: Path, folder: Path) -> None:
    cameras: list[str] = []

    def read(path: Path) -> Seed:
        seed = read_seed_with_paths(path)
        cameras[:] = [each.name for each in seed.cameras]
        return seed

    click.echo(consume_seed(seed_file, folder, read, lambda seed: flow.apply_seed(seed, folder)))
    for unit in services.start_units(cameras, folder, changed=True, wait=False):
        click.echo(f"{unit.camera}: {unit.state}" + (f"; left: {unit.left}" if unit.left else ""))


def _ask(seed: Seed, flags: Flags, folder: Path, search_seconds: float, picture: Path | None, untried: bool) -> Seed:
    def try_camera(each: Seed) -> Check:
        return flow.try_camera(each, folder, _picture(picture, each.cameras[0].name))

    trials = Trials(
        broker=None if untried else lambda each: flow.try_broker(each, folder),
        camera=None if untried else try_camera,
        bundle=lambda each: flow.try_bundles(each, folder),
    )
    return Questions(flags, lambda: find_cameras(search_seconds), trials).ask(seed)


def _try_all(seed: Seed, folder: Path, picture: Path | None, untried: bool) -> list[Check]:
    """Tries all answers. Raises a Problem at the first that does not work."""

    def list_trials() -> Iterator[Check]:
        yield from flow.try_bundles(seed, folder)
        if untried:
            return
        yield flow.try_broker(seed, folder)
        for camera in seed.cameras:
            alone = Seed(device=seed.device, broker=seed.broker, cameras=(camera,), keys=seed.keys)
            yield flow.try_camera(alone, folder, _picture(picture, camera.name))

    checks = []
    for check in list_trials():
        checks.append(check)
        if check.works is False:
            hint = f"{check.remedy}; nothing was written" + ("" if untried else " (--untried writes it all the same)")
            raise MachineProblem(f"{check.what}: {check.found}", hint=hint)
    return checks


def _picture(picture: Path | None, camera: str) -> Path:
    return picture or Path.cwd() / f"vedette-{camera}.jpg"


def _report(folder: Path, files: list[FileChange], **rest: Any) -> flow.SetupReport:
    changed = any(each.action != "unchanged" for each in files)
    rest = {"dry_run": False, "checks": [], "units": [], "events": [], **rest}
    return flow.SetupReport(config=str(folder), changed=changed, files=files, **rest)


def _print(report: flow.SetupReport, as_json: bool) -> None:
    if as_json:
        options.print_json(report)
        return
    for line in report.diff:
        click.echo(line)
    for check in report.checks:
        show_check(check)
    if not report.changed:
        click.echo(f"{report.config}: nothing to change")
    for file in [] if report.dry_run else report.files:
        if file.action != "unchanged":
            click.echo(f"{file.action:9} {file.path}" + (f" (before: {file.backup})" if file.backup else ""))
    for unit, event in zip(report.units, report.events, strict=True):
        click.echo(f"{unit.camera}: {unit.state}")
        if event.works or not unit.left:
            click.echo(f"{unit.camera}: {event.text}")
        elif unit.left:
            click.echo(f"  left to do: {unit.left}")
