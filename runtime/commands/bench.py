"""`vedette bench`"""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from vedette.devices import DeviceProfile

from ..evaluation.benchmark import bench as measure
from . import options


def _size(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)):
        raise click.BadParameter("say it like 1280x720")
    return int(found[1]), int(found[2])


@click.command()
@options.bundle
@click.option(
    "--frame", default="1280x720", show_default=True, callback=_size, help="Width and height of a camera's picture."
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of each back end.")
@click.option("--rounds", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Frames to be timed.")
@options.keys
@options.as_json
def bench(bundle: Path, frame: tuple[int, int], threads: int, rounds: int, keys: Path | None, as_json: bool) -> None:
    """Measure what BUNDLE costs on this machine: time, processor time, memory and start-up of each back end.

    With --json it prints a measured profile, which the workshop reads: vedette build --profile FILE.
    """
    profile = measure(bundle, keys, frame, threads, rounds)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(profile), indent=2).decode())
    else:
        _print(profile, frame, threads)


def _print(profile: DeviceProfile, frame: tuple[int, int], threads: int) -> None:
    model = profile.measured[0].model
    click.echo(f"{model} on {profile.title}: {profile.cpu}, {profile.cores} cores, {profile.architecture}")
    click.echo(f"frames of {frame[0]} x {frame[1]} pixels, {threads} thread{'' if threads == 1 else 's'}")
    titles = f"{'median ms':>10} {'p95 ms':>8} {'model ms':>9} {'CPU ms':>8} {'peak MB':>8} {'start s':>8}"
    click.echo(f"{'':8} {'version':22} {titles}")
    for each in profile.measured:
        times = f"{each.ms:>10.2f} {each.p95_ms:>8.2f} {each.model_ms:>9.2f} {1e3 * each.cpu_seconds:>8.2f}"
        rest = f"{each.peak_rss_mb:>8.0f} {each.startup_seconds:>8.2f}"
        click.echo(f"{each.backend:8} {each.version:22} {times} {rest}")
