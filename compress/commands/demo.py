"""`vedette demo`"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click
import msgspec

from vedette.runtime.bundle import keys

from ..demo.step_display import StepDisplay


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("vedette-demo"), show_default=True, help="Folder to work in."
)
@click.option(
    "--seed",
    default=0,
    type=click.IntRange(0),
    show_default=True,
    help="Seed of the split into fit, calibrate, threshold and test.",
)
@click.option(
    "--fps", default=30.0, show_default=True, type=click.FloatRange(0, 1000), help="Cells a second; 0: no pause."
)
@click.option("--broker", metavar="URL", help="Use this MQTT 5 broker. [default: an embedded one on a free port]")
@click.option(
    "--line", is_flag=True, help="Cells of two products pass as parts of a line, triggered over Modbus; with faults."
)
@click.option("--parts", default=300, show_default=True, type=click.IntRange(20), help="Parts of --line.")
@click.option(
    "--rate", default=10.0, show_default=True, type=click.FloatRange(0.1, 100), help="Parts a second of --line."
)
@click.option(
    "--deadline",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0.01, 60),
    help="Seconds to a verdict.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file.")
def demo(
    out: Path,
    seed: int,
    fps: float,
    broker: str | None,
    line: bool,
    parts: int,
    rate: float,
    deadline: float,
    json_file: Path | None,
) -> None:
    """Build a bundle from real images of solar cells, run the daemon, and show its events as they arrive."""
    from ..demo import duration
    from ..demo.broker import create_broker
    from ..demo.subscriber import subscribe
    from ..export import bundle_writer

    out = out.resolve()
    bundle_writer.check_output_folder(out)
    with contextlib.ExitStack() as stack:
        if broker is None:
            server, broker = create_broker(out)
            stack.enter_context(server)
        steps = StepDisplay()
        client, received = subscribe(broker, lambda event: _print_event(event, steps))  # before minutes of work
        stack.callback(client.loop_stop)
        stack.enter_context(steps)
        low, high = duration.estimate_range(duration.time_compression() * (duration.LINE_RATIO if line else 1))
        steps.log(f"this takes {duration.describe_duration(low, high)} on this machine; then events arrive")
        steps.log("loading libraries")

        from ..build import BuildRequest, build
        from ..demo import solar_cells
        from . import console

        steps.log("writing images of solar cells (ELPV, CC BY-NC-SA 4.0)")
        goal = solar_cells.write_images_and_goal(out, seed, steps.progress)
        if not (out / "keys" / "vedette.key").exists():
            keys.generate_key_pair(out / "keys")
        key = keys.read_private_key(out / "keys" / "vedette.key")

        built = build(BuildRequest(goal, out, key), steps.progress, steps.log)
        steps.log("built")
        console.print_results(built.results, built.costs)
        console.print_verdict(built.verdict)

        if line:
            from ..demo.line import build_second_product, run_line

            second = build_second_product(out, seed, key, steps)
            account = run_line(out, (built, second), steps, parts, rate, deadline)
            steps.print(account.describe())
            _write_figures(json_file, account)
            if not account.is_complete:
                click.echo("not every part is accounted for", err=True)
                raise SystemExit(1)
            return
        frames = solar_cells.write_configuration(out, built, broker, fps)
        steps.log(f"the daemon watches {len(frames)} cells and publishes to {broker}")
        published = solar_cells.run_daemon_to_end(out, received)
    figures = solar_cells.compute_figures(built, frames, received, published)
    _print_summary(figures, len(built.split.test), built.report)
    _write_figures(json_file, figures)
    if figures["events_received"] != figures["events_published"]:
        click.echo("events were published that did not arrive", err=True)
        raise SystemExit(1)


def _write_figures(path: Path | None, figures: Any) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


def _print_event(event: dict[str, Any], steps: StepDisplay) -> None:
    data = event["data"]
    if event["type"] == "vedette.part.verdict":
        part = f"part {data['part']:>4}  {data['verdict']:7} {data['reason']}"
        steps.print(f"  {event['time'][11:23]}  {event['type']:22} {part}")
        return
    steps.print(
        f"  {event['time'][11:23]}  {event['type']:22} cell {data['frame']:4}  top score {data['top_score']:7.2f}"
    )


def _print_summary(figures: dict[str, Any], good: int, report: Path) -> None:
    share = figures["bytes_published"] / figures["bytes_frames"]
    click.echo(
        f"{figures['frames']} cells: {figures['hits']} of {figures['hits'] + figures['misses']} defective ones found, "
        f"{figures['false_alarms']} of {good} good ones raised an alarm\n"
        f"{figures['events_published']} events published, {figures['events_received']} received; "
        f"{figures['bytes_published']:,} bytes instead of {figures['bytes_frames']:,} as JPEG ({share:.2%})\n"
        f"bundle  {figures['bundle']}\nreport  {report}"
    )
