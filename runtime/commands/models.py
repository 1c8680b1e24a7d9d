"""`vedette models`: lists the installed models."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..config.configuration import device_folders, load_device
from ..installation.camera_bundle import cameras_of
from ..installation.model_store import ModelStore
from ..installation.probation_record import Probation, ProbationRecord
from . import options


@click.command()
@options.config
@options.as_json
def models(folder: Path, as_json: bool) -> None:
    """List the installed models: current and previous release, probation, and the cameras that run them."""
    state, _ = device_folders(folder, load_device(folder))
    store, rows = ModelStore(state), []
    for model in store.list_models():
        probation = ProbationRecord(store, model.name).read_as_it_stands()
        cameras = cameras_of(model.name, folder)
        if as_json:
            rows.append({**msgspec.structs.asdict(model), "cameras": cameras, "probation": probation})
            continue
        before = "no release before it" if model.previous is None else f"before it {model.previous}"
        click.echo(f"{model.name}: release {model.current}, {before}; run by {', '.join(cameras) or 'no camera'}")
        if probation is not None:
            click.echo(f"  {_describe(probation)}")
    if as_json:
        options.print_json(rows)
    elif not store.list_models():
        click.echo("no model is installed; vedette install BUNDLE installs one")


def _describe(probation: Probation) -> str:
    release = f"release {probation.release}"
    if probation.outcome == "running":
        starts = ", ".join(f"{camera} {count}" for camera, count in probation.starts.items()) or "none yet"
        return f"{release} is on probation for {probation.conditions.minutes:g} minutes; starts: {starts}"
    if probation.outcome == "accepted":
        return f"{release} kept to its probation"
    return f"{release} was rolled back: {probation.reason}"
