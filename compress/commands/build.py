"""`vedette build`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.devices import DeviceProfile, decode
from vedette.runtime.bundle import keys
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import track

from ..goal import duration
from . import console

DAY = 86_400.0


class Duration(click.ParamType[float]):
    """`90s`, `30m` or `2h`, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration.seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("goal", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the bundle and the report.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="Signs the bundle. [default: this user's own, made when missing]"
)
@click.option(
    "--time",
    "seconds",
    type=Duration(),
    help="Search for the best design for so long: 90s, 30m, 2h. [default: the goal file's recipe]",
)
@click.option("--study", metavar="URL", help="Database of the search, which others may share. [default: a file in OUT]")
@click.option("--worker", is_flag=True, help="Only take part in the search that --study keeps; writes nothing.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="The device as measured there: what vedette bench --json printed. [default: the goal file's device.profile]",
)
@click.option("--on", metavar="ssh://USER@HOST", help="A device on which the finished models are measured.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def build(
    goal: Path,
    out: Path | None,
    key: Path | None,
    seconds: float | None,
    study: str | None,
    worker: bool,
    profile: Path | None,
    on: str | None,
    as_json: bool,
) -> None:
    """Make a bundle from the images and the goal in the file GOAL.

    Exits 1 where the goal is missed; the bundle is written all the same and says so. A search that was interrupted goes
    on where it was when the same command is given again.
    """
    from .. import build as workshop
    from ..goal import goal_file as goals

    searched = goals.read(goal).searched  # a wrong goal file is said before anything heavy is loaded
    if profile is not None and on is not None:
        raise click.UsageError("--profile is what was measured and --on measures: give one of them")
    device = _measured(profile) if profile else None
    if worker:
        if study is None:
            raise click.UsageError("--worker needs --study: the database of the search that it takes part in")
        workshop.work(goal, study, DAY if seconds is None else seconds, device, track, console.say)
        return
    if out is None:
        raise click.UsageError("--out is missing: the folder for the bundle and the report")
    if study is not None and seconds is None and searched is None:
        raise click.UsageError("--study needs --time, or a search in the goal file's recipe: how long to search")
    private = keys.read_private(key) if key else own_key()
    built = workshop.build(goal, out, private, track, console.say, seconds, study, device, on)
    if as_json:
        facts = {
            "bundle": str(built.bundle),
            "report": str(built.report),
            "goal_met": built.verdict.met,
            "missed": built.verdict.missed,
            "unproven": built.verdict.unproven,
            **built.manifest.measured,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
    else:
        console.figures(built.manifest.measured)
        for name, why in built.manifest.floats.items():
            click.echo(f"the file for {name} computes in float: {why}")
        console.verdict(built.verdict)
        click.echo(f"bundle  {built.bundle}\nreport  {built.report}")
    if not built.verdict.met:
        raise SystemExit(1)


def _measured(path: Path) -> DeviceProfile:
    try:
        return decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "make it on the device with vedette bench BUNDLE --json"
        raise ConfigProblem(f"{path}: not a measured profile ({error})", hint=hint) from None


def own_key() -> Ed25519PrivateKey:
    """This user's key, made on first use; its public half lies in the user's keyring and so is trusted here."""
    path = keys.own_keyring() / "workshop.key"
    if not path.exists():
        keys.generate(path.parent, "workshop")
        click.echo(f"made a key pair to sign with: {path}", err=True)
    return keys.read_private(path)
