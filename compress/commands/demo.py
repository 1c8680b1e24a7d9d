"""`vedette demo`"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click
import msgspec

from vedette.runtime.bundle import keys
from vedette.runtime.progress import track

from . import console


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("vedette-demo"), show_default=True, help="Folder to work in."
)
@click.option(
    "--seed",
    default=0,
    type=click.IntRange(0),
    show_default=True,
    help="Divides the cells into fit, calibrate, threshold and test.",
)
@click.option(
    "--fps", default=30.0, show_default=True, type=click.FloatRange(0, 1000), help="Cells a second; 0: no pause."
)
@click.option("--broker", metavar="URL", help="Use this MQTT 5 broker. [default: an embedded one on a free port]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file.")
def demo(out: Path, seed: int, fps: float, broker: str | None, json_file: Path | None) -> None:
    """The whole way on real pictures of solar cells: build a bundle, run the daemon, see its events arrive."""
    from .. import build
    from ..demo import solar_cells as demo
    from ..demo.broker import embedded
    from ..export import bundle_writer

    out = out.resolve()
    bundle_writer.check(out)
    with contextlib.ExitStack() as stack:
        console.say("laying out solar cells (ELPV, CC BY-NC-SA 4.0)")
        goal = demo.prepare(out, seed, track)
        if broker is None:
            server, broker = embedded(out)
            stack.enter_context(server)
        client, received = demo.subscribe(broker, _show)
        stack.callback(client.loop_stop)

        if not (out / "keys" / "vedette.key").exists():
            keys.generate(out / "keys")
        built = build.build(goal, out, keys.read_private(out / "keys" / "vedette.key"), track, console.say)
        console.figures(built.manifest.measured)
        console.verdict(built.verdict)

        frames = demo.configure(out, built, broker, fps)
        console.say(f"the daemon watches {len(frames)} cells and publishes to {broker}")
        published = demo.watch(out, received)
    figures = demo.outcome(built, frames, received, published)
    _summary(figures, built)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    if figures["events_received"] != figures["events_published"]:
        click.echo("events were published that did not arrive", err=True)
        raise SystemExit(1)


def _show(event: dict[str, Any]) -> None:
    data = event["data"]
    click.echo(
        f"  {event['time'][11:23]}  {event['type']:22} cell {data['frame']:4}  top score {data['top_score']:7.2f}"
    )


def _summary(figures: dict[str, Any], built: Any) -> None:
    share = figures["bytes_published"] / figures["bytes_frames"]
    good = len(built.split.test)
    click.echo(
        f"{figures['frames']} cells: {figures['hits']} of {figures['hits'] + figures['misses']} defective ones found, "
        f"{figures['false_alarms']} of {good} good ones raised an alarm\n"
        f"{figures['events_published']} events published, {figures['events_received']} received; "
        f"{figures['bytes_published']:,} bytes instead of {figures['bytes_frames']:,} as JPEG ({share:.2%})\n"
        f"bundle  {figures['bundle']}\nreport  {built.report}"
    )
