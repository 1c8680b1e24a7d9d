"""`vedette traffic`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..config import configuration
from ..evaluation.h264_baseline import Yardstick
from ..evaluation.traffic import Traffic, measure
from . import options


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.argument("camera")
@options.config
@options.as_json
def traffic(video: Path, camera: str, folder: Path, as_json: bool) -> None:
    """Measure how many bytes CAMERA would publish of VIDEO, against the bytes of VIDEO as H.264.

    VIDEO is any recording: a video, or a folder of images. Nothing is sent, and nothing of the camera is touched,
    but that the stream's bytes are kept for `vedette status`. Needs PyAV: pip install 'vedette[traffic]'.
    """
    found = measure(folder, camera, video)
    stream = Yardstick(found.h264 / found.seconds, found.encoder, found.recording)
    if not stream.keep(configuration.load(folder, camera).place):
        click.echo("no state folder of the camera that can be written: vedette status does not compare", err=True)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _show(found)


def _show(found: Traffic) -> None:
    size = f"{found.width} x {found.height}"
    click.echo(f"{found.recording} before {found.camera}: {found.frames} frames, {found.seconds:.1f} s, {size}")
    click.echo(f"  events      {found.events}, {found.event_bytes:,} bytes")
    click.echo(f"  status      {found.status_bytes:,} bytes")
    where = "uploaded" if found.uploaded else "kept on the device, not counted"
    click.echo(f"  evidence    {found.evidence_files} files, {found.evidence_bytes:,} bytes, {where}")
    click.echo(f"  published   {found.published:,} bytes")
    rate = 8e-3 * found.h264 / found.seconds
    click.echo(f"  as H.264    {found.h264:,} bytes, {rate:,.0f} kbit/s ({found.encoder})")
    click.echo(f"  share       {found.share:.3%}")
