"""`vedette bench`: measures time and memory of a bundle on this machine."""

from __future__ import annotations

import re
from pathlib import Path

import click

from vedette.devices import DeviceProfile

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..errors import ConfigProblem
from ..evaluation.benchmark import benchmark_bundle
from ..evaluation.model_card import render_model_card
from . import options


def _parse_frame_size(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)):
        raise click.BadParameter("expected WIDTHxHEIGHT, for example 1280x720")
    return int(match[1]), int(match[2])


@click.command()
@options.bundle
@click.option(
    "--frame",
    default="1280x720",
    show_default=True,
    callback=_parse_frame_size,
    help="Width and height of a camera frame.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of each back end.")
@click.option(
    "--rounds", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Number of timed frames."
)
@click.option(
    "--card", type=click.Path(dir_okay=False, path_type=Path), help="Write a model card with the results to this file."
)
@options.keys
@options.as_json
def bench(
    bundle: Path,
    frame: tuple[int, int],
    threads: int,
    rounds: int,
    card: Path | None,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Measure BUNDLE on this machine: latency, CPU time, memory and start-up time of each back end.

    With --json it prints a measured device profile for the workshop: vedette build --profile FILE.
    """
    profile = benchmark_bundle(bundle, keys, frame, threads, rounds)
    if card is not None:
        text = render_model_card(Bundle.open(bundle, Keyring.read(keys)).manifest, profile)
        try:
            card.write_text(text)
        except OSError as error:
            raise ConfigProblem(f"{card}: {error.strerror}", hint="choose another --card") from None
    if as_json:
        options.print_json(profile)
    else:
        _print_profile(profile, frame, threads)


def _print_profile(profile: DeviceProfile, frame: tuple[int, int], threads: int) -> None:
    model = profile.measured[0].model
    click.echo(f"{model} on {profile.title}: {profile.cpu}, {profile.cores} cores, {profile.architecture}")
    click.echo(f"frames of {frame[0]} x {frame[1]} pixels, {threads} thread{'' if threads == 1 else 's'}")
    titles = f"{'median ms':>10} {'p95 ms':>8} {'model ms':>9} {'CPU ms':>8} {'peak MB':>8} {'start s':>8}"
    click.echo(f"{'':8} {'version':22} {titles}")
    for row in profile.measured:
        times = f"{row.ms:>10.2f} {row.p95_ms:>8.2f} {row.model_ms:>9.2f} {1e3 * row.cpu_seconds:>8.2f}"
        rest = f"{row.peak_rss_mb:>8.0f} {row.startup_seconds:>8.2f}"
        click.echo(f"{row.backend:8} {row.version:22} {times} {rest}")
