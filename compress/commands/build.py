"""`vedette build`"""

from __future__ import annotations

import codecs
from pathlib import Path

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.devices import DeviceProfile, decode_benchmark_profile, load_profile, profile_names
from vedette.runtime.bundle import keys
from vedette.runtime.camera import image_files
from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.progress import show_progress

from ..export.compilers.device_compilers import load_compilers
from ..goal import duration, goal_reader
from ..goal.goal_tables import Goal

DAY = 86_400.0


class Duration(click.ParamType[float]):
    """A duration in seconds, written as `90s`, `30m` or `2h`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return duration.parse_duration(str(value))
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
    help="Time to search for the best design: 90s, 30m, 2h. [default: the goal file's recipe]",
)
@click.option("--study", metavar="URL", help="Database of the search, which others may share. [default: a file in OUT]")
@click.option("--worker", is_flag=True, help="Only take part in the search that --study keeps; writes nothing.")
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="The device as measured there: what vedette bench --json printed. [default: the goal file's device.profile]",
)
@click.option(
    "--devices",
    metavar="NAME,NAME",
    help="A bundle for each of these devices, for example pi4,pi5,n100, in OUT/NAME, and a page that compares them.",
)
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    help="Bundle of the release before: the new one gets the next number, and is compared with it on the same images.",
)
@click.option("--on", metavar="ssh://USER@HOST", help="A device on which the finished models are measured.")
@click.option(
    "--for",
    "targets",
    multiple=True,
    metavar="[DEVICE=]ACCELERATOR",
    help="Also compile the model with the vendor's compiler: edgetpu, hailo (or hailo:hailo8) or tensorrt; with "
    "--devices for all of them, or for one, as in pi5=hailo:hailo8. May be given several times.",
)
@options.as_json
def build(
    goal: Path,
    out: Path | None,
    key: Path | None,
    seconds: float | None,
    study: str | None,
    worker: bool,
    profile: Path | None,
    devices: str | None,
    previous: Path | None,
    on: str | None,
    targets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a bundle from the images and the goal in the file GOAL.

    Exits 1 if the goal is missed, with --devices that of any device; the bundle is written all the same and says so.
    The same command resumes an interrupted search.
    """
    request = goal_reader.read_goal(goal)
    _check_options(out, study, worker, profile, devices, on)
    if not worker and study is not None and seconds is None and request.search_seconds is None:
        raise click.UsageError("--study needs --time, or a search in the goal file's recipe: how long to search")
    profiles = None if devices is None else _load_profiles(devices)
    device = _read_profile(profile) if profile else None
    compilers = load_compilers(targets, [each.name for each in profiles or ()])
    _check_folders(goal, request)  # before the imports below, which take seconds

    from ..build import BuildRequest, BuildResult
    from ..build import build as build_bundle
    from ..device_builds import DeviceBuilds, build_for_devices
    from ..search_worker import run_search_worker
    from . import console

    if worker:
        assert study is not None  # checked above
        limit = DAY if seconds is None else seconds
        run_search_worker(goal, study, limit, device, show_progress, console.log)
        return
    assert out is not None  # checked above
    private = keys.read_private_key(key) if key else _own_key()
    build_request = BuildRequest(goal, out, private, seconds, study, device, on, previous=previous)
    built: BuildResult | DeviceBuilds

    def finish(result: BuildResult, device: str = "") -> BuildResult:
        if not compilers.get(device):
            return result
        from .accelerators import add_accelerators

        return add_accelerators(result, compilers[device], private, request.goal.max_bytes, console.log)

    if profiles is not None:
        built = build_for_devices(build_request, profiles, show_progress, console.log, finish)
    else:
        built = finish(build_bundle(build_request, show_progress, console.log))
    if as_json:
        options.print_json(built.to_json())
    elif isinstance(built, DeviceBuilds):
        console.print_device_builds(built)
    else:
        console.print_build(built)
    if not built.goal_met:
        raise SystemExit(1)


def _check_options(
    out: Path | None,
    study: str | None,
    worker: bool,
    profile: Path | None,
    devices: str | None,
    on: str | None,
) -> None:
    """Check that the options go together.

    Raises:
        click.UsageError: two of them do not, or one is missing.
    """
    if profile is not None and on is not None:
        raise click.UsageError("--profile is what was measured and --on measures: give one of them")
    if devices is not None and (profile is not None or on is not None or worker):
        raise click.UsageError("--devices goes with neither --profile, --on nor --worker, which mean a single device")
    if worker and study is None:
        raise click.UsageError("--worker needs --study: the database of the search that it takes part in")
    if not worker and out is None:
        raise click.UsageError("--out is missing: the folder for the bundle and the report")


def _check_folders(goal_file: Path, goal: Goal) -> None:
    """Check that the folders of the goal file hold images.

    Raises:
        ConfigProblem: one of them holds none.
    """
    data = goal.data
    with locate_errors(goal_file):
        test = None if data.test is None else f"{data.test}/good"
        classes = None if goal.task == "behaviour" else data.classes
        for folder in (data.good, data.defect, data.known, test, data.images, classes):
            if folder:
                image_files.find_images(goal_file.parent / folder)


def _load_profiles(names: str) -> list[DeviceProfile]:
    """The devices of a list such as `pi4,pi5`.

    Raises:
        ConfigProblem: a device is not known, or is named twice.
    """
    wanted = [name.strip() for name in names.split(",")]
    known = profile_names()
    hint = f"known: {', '.join(known)}"
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigProblem(f"--devices {names}: unknown {', '.join(map(repr, unknown))}", hint=hint)
    if len(set(wanted)) < len(wanted):
        raise ConfigProblem(f"--devices {names}: a device is named twice", hint="name each device once")
    return [load_profile(name) for name in wanted]


def _read_profile(path: Path) -> DeviceProfile:
    try:
        return decode_benchmark_profile(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "make it on the device with vedette bench BUNDLE --json"
        raise ConfigProblem(f"{path}: not a measured profile ({error})", hint=hint) from None


def _own_key() -> Ed25519PrivateKey:
    """This user's private key, created on first use; its public key is in the user's keyring and so is trusted here."""
    path = keys.user_keyring() / "workshop.key"
    if not path.exists():
        keys.generate_key_pair(path.parent, "workshop")
        click.echo(f"made a key pair to sign with: {path}", err=True)
    return keys.read_private_key(path)
