"""`vedette metrics`: the status of the daemons as Prometheus metrics."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from ..errors import ConfigProblem, MachineProblem
from ..monitoring.prometheus import PrometheusCollector
from . import options
from .status import request_statuses


@click.command()
@click.argument("camera", required=False)
@options.config
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve the metrics over HTTP until interrupted, for example at 127.0.0.1:9464.",
)
def metrics(camera: str | None, folder: Path, listen: str | None) -> None:
    """Print the status of CAMERA, or of all cameras, as Prometheus metrics.

    The output suits the textfile collector of the node exporter. With --listen, Prometheus can scrape
    http://HOST:PORT/metrics.
    """
    request_statuses(folder, camera)  # reports a wrong configuration at the start, not at the first scrape
    registry = CollectorRegistry()
    registry.register(PrometheusCollector(lambda: request_statuses(folder, camera)))
    if listen is None:
        click.echo(generate_latest(registry).decode(), nl=False)
        return
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigProblem(f"--listen {listen}: not HOST:PORT", hint="for example 127.0.0.1:9464")
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as error:
        raise MachineProblem(f"--listen {listen}: {error}", hint="choose a free port of this machine") from None
    click.echo(f"http://{listen}/metrics")
    signal.sigwait(signals)
