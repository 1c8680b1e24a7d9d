"""`vedette bench`: measures time and memory of a bundle on this machine."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import click

from vedette.devices import DeviceProfile, EnergyResult, SustainedResult

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..errors import ConfigProblem
from ..evaluation.benchmark import benchmark_bundle
from ..evaluation.energy_measurement import EnergyRequest
from ..evaluation.model_card import render_model_card
from ..evaluation.power_meters import METERS, open_power_meter
from ..evaluation.sustained_run import SustainedRequest
from . import options

DEFAULT_MINUTES = 10.0
SLOWER = 1.05
"""A machine that loses more of its speed during the energy measurement or a sustained run is told."""


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
@click.option(
    "--power-meter",
    metavar="METER",
    help=f"Measure the energy of a frame as well: {METERS}.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.05, 600),
    help="Length of the energy measurement; without --power-meter, of a sustained run. [default: 10, if --fps or "
    "--power-meter is given]",
)
@click.option(
    "--fps",
    type=click.FloatRange(0, 1000),
    help="Frames a second that the energy measurement or the sustained run holds. [default: as many as it can]",
)
@options.keys
@options.as_json
def bench(
    bundle: Path,
    frame: tuple[int, int],
    threads: int,
    rounds: int,
    card: Path | None,
    power_meter: str | None,
    minutes: float | None,
    fps: float | None,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Measure BUNDLE on this machine: latency, CPU time, memory, start-up time and energy of each back end.

    With --minutes or --fps and without a power meter, each back end also works for minutes: percentiles, temperature
    and throttling.

    With --json it prints a measured device profile for the workshop: vedette build --profile FILE.
    """
    energy = sustained = None
    length, rate = DEFAULT_MINUTES if minutes is None else minutes, fps or 0.0
    if power_meter:
        energy = EnergyRequest(open_power_meter(power_meter), length, rate)
        click.get_current_context().call_on_close(energy.meter.close)
    elif minutes is not None or fps is not None:
        sustained = SustainedRequest(length, rate)
    profile = benchmark_bundle(bundle, keys, frame, threads, rounds, energy, sustained, partial(click.echo, err=True))
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
    for name, reason in profile.skipped.items():
        click.echo(f"{name:8} skipped: {reason}")
    for row in profile.measured:
        if row.energy is not None:
            _print_energy(row.backend, row.energy)
        if row.sustained is not None:
            _print_sustained(row.backend, row.sustained)


def _print_energy(backend: str, energy: EnergyResult) -> None:
    millijoules = [1e3 * each for each in (energy.joules_per_frame, energy.joules_lowest, energy.joules_highest)]
    joules = f"{millijoules[0]:.2f} mJ a frame ({millijoules[1]:.2f} to {millijoules[2]:.2f})"
    watts = f"{energy.idle_watts:.2f} W at rest, {energy.load_watts:.2f} W at {energy.fps:.1f} frames/s"
    click.echo(f"{backend:8} {joules}; {watts}; {energy.minutes:g} min, {energy.meter}")
    _print_throttling(energy)


def _print_sustained(backend: str, run: SustainedResult) -> None:
    quantiles = f"p50 {run.p50_ms:.2f}, p90 {run.p90_ms:.2f}, p99 {run.p99_ms:.2f} ms"
    click.echo(f"{backend:8} {run.minutes:g} min: {quantiles}; {run.frames} frames, {run.fps:.1f} a second")
    _print_throttling(run)


def _print_throttling(run: EnergyResult | SustainedResult) -> None:
    if run.late_slowdown > SLOWER or run.flags:
        heat = "" if run.temperature is None else f" at {run.temperature:.0f} °C"
        flags = f"; the firmware reported {', '.join(run.flags)}" if run.flags else ""
        click.echo(f"{'':8} the machine became {run.late_slowdown:.2f} times slower{heat}{flags}")
