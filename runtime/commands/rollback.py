"""`vedette rollback`: goes back to the release, or to the configuration, before."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.release_memory import allow_return
from ..config.configuration import device_folders, load_device
from ..errors import ConfigProblem
from ..installation.camera_bundle import cameras_of, restore_last_good
from ..installation.camera_service import name_restart
from ..installation.installer import as_owner
from ..installation.model_store import ModelStore
from ..installation.probation_record import ProbationRecord
from . import options


@click.command()
@click.argument("name", required=False)
@click.option("--camera", help="Put the last good file of this camera back instead.")
@options.config
def rollback(name: str | None, camera: str | None, folder: Path) -> None:
    """Go back to the release of the product NAME that was current before; NAME may be left out if one is installed.

    Running daemons take it within seconds.
    """
    if camera is not None:
        if name is not None:
            raise click.UsageError("give NAME or --camera, not both")
        path = restore_last_good(folder, camera)
        click.echo(f"{path} is as before; left to do: {name_restart(folder, camera)}")
        return
    state, _ = device_folders(folder, load_device(folder))
    store = ModelStore(state)
    with as_owner(state):
        name = name or _only_model(store)
        record = ProbationRecord(store, name)
        if (previous := store.find_model(name).previous) is not None:
            for each in cameras_of(name, folder):  # before the link: a power cut between would leave them refused
                allow_return(name, previous, state / each)
        if record.running() is not None:
            record.roll_back("its user went back")
        else:
            store.roll_back(name)
        release = store.find_model(name).current
        assert release is not None
    click.echo(f"{name}: release {release} is current")


def _only_model(store: ModelStore) -> str:
    names = [model.name for model in store.list_models()]
    if len(names) != 1:
        hint = f"installed models: {', '.join(names) or 'none'}"
        raise ConfigProblem("name the product that goes back: vedette rollback NAME", hint=hint)
    return names[0]
