"""`vedette metrics`"""

from __future__ import annotations

import signal
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from ..errors import ConfigProblem, MachineProblem
from ..monitoring.prometheus import Metrics
from . import options
from .status import asked


@click.command()
@click.argument("camera", required=False)
@options.config
@click.option("--listen", metavar="HOST:PORT", help="Serve them there until interrupted, as 127.0.0.1:9464.")
def metrics(camera: str | None, folder: Path, listen: str | None) -> None:
    """Print what `vedette status` tells as Prometheus reads it, of CAMERA or of all cameras.

    For a node exporter's text files, or with --listen for Prometheus itself: http://HOST:PORT/metrics.
    """
    asked(folder, camera)  # a wrong configuration is told now, not to whoever reads
    registry = CollectorRegistry()
    registry.register(Metrics(lambda: asked(folder, camera)))
    if listen is None:
        click.echo(generate_latest(registry).decode(), nl=False)
        return
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigProblem(f"--listen {listen}: not HOST:PORT", hint="write it like 127.0.0.1:9464")
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise MachineProblem(f"--listen {listen}: {error}", hint="choose a free port of this machine") from None
    click.echo(f"http://{listen}/metrics")
    signal.sigwait(signals)
