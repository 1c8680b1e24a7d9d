"""`vedette traffic`: compares the published bytes of a camera with H.264 video."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..config import configuration
from ..evaluation.h264_baseline import H264Baseline
from ..evaluation.traffic import Traffic, measure_traffic
from . import options


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.argument("camera")
@options.config
@options.as_json
def traffic(video: Path, camera: str, folder: Path, as_json: bool) -> None:
    """Compare the bytes that CAMERA would publish for VIDEO with the bytes of VIDEO as H.264.

    VIDEO is a recording: a video file or a folder of images. Nothing is sent. The only change to the camera's state is
    that the size of the H.264 stream is stored for `vedette status`. Needs PyAV, which the package's extra `traffic`
    installs.
    """
    measured = measure_traffic(folder, camera, video)
    stream = H264Baseline(measured.h264 / measured.seconds, measured.encoder, measured.recording)
    if not stream.save(configuration.load_config(folder, camera).state_folder):
        click.echo("the state folder is not writable: vedette status will show no comparison with H.264", err=True)
    if as_json:
        click.echo(msgspec.json.encode(measured).decode())
    else:
        _print_traffic(measured)


def _print_traffic(measured: Traffic) -> None:
    size = f"{measured.width} x {measured.height}"
    click.echo(f"{measured.recording} with the configuration of {measured.camera}")
    click.echo(f"  recording   {measured.frames} frames, {measured.seconds:.1f} s, {size}")
    messages = f"{measured.messages} messages of at most {measured.largest:,} bytes" if measured.events else "none"
    click.echo(f"  events      {measured.events}, {measured.event_bytes:,} bytes, {messages}")
    click.echo(f"  status      {measured.status_bytes:,} bytes")
    place = "uploaded" if measured.uploaded else "stored on the device, not counted"
    click.echo(f"  evidence    {measured.evidence_files} files, {measured.evidence_bytes:,} bytes, {place}")
    click.echo(f"  published   {measured.published:,} bytes")
    rate = 8e-3 * measured.h264 / measured.seconds
    click.echo(f"  as H.264    {measured.h264:,} bytes, {rate:,.0f} kbit/s ({measured.encoder})")
    click.echo(f"  share       {measured.share:.3%}")
