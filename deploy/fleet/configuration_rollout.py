"""A rollout of a configuration: a part of a camera's file that replaces the same part of the files of many boxes.

Each box keeps its own source, logins, paths and evidence; the tables and keys of the part replace its own as a whole.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.installation.configuration.change_requests import MAX_BYTES
from vedette.runtime.installation.configuration.permitted_changes import check_part, merge, read_text

from .inventory import FleetBox
from .rings import split_rings
from .rollout_record import BoxRecord, Rollout

_STUB = 'source = "file:none"\nbundle = "installed:none"\n[[rules]]\nuse = "presence"\n'


def read_part(path: Path) -> str:
    """Reads a part of a camera's file.

    Raises:
        ConfigProblem: it cannot be read, is too long, or holds what a box keeps for itself, an unknown key or a wrong
            type.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigProblem(
            f"{path}: {error.strerror}", "name a part of a camera's file; docs/fleet.md shows one"
        ) from None
    check_part(read_text(content, str(path)), str(path))
    text = content.decode("utf-8-sig")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cameras").mkdir()
        (folder / "vedette.toml").write_text("")
        file_of_stub = folder / "cameras" / "part.toml"
        file_of_stub.write_text(merge(_STUB, text, str(path)))
        try:
            load_config(folder, "part")
        except ConfigProblem as problem:
            raise ConfigProblem(problem.message.replace(str(file_of_stub), str(path)), problem.hint) from None
    return text


def plan_configuration(
    part: str, boxes: list[FleetBox], rings: str, echo: Callable[[str], None], camera: str = "", **settings: Any
) -> Rollout:
    """Plans a rollout of a part of a camera's file; boxes that are offline are missed at first.

    Args:
        part: TOML
        boxes: the fleet, or the part of it that is meant
        rings: `5%,25%,100%`
        echo: takes a line about boxes that are left out
        camera: whose file changes; empty: the only camera of each box
        settings: fields of the rollout: `max_failed`, `parallel`

    Raises:
        ConfigProblem: no box has the camera, or a setting is wrong.
    """
    cameras = dict[str, str]()
    for box in boxes:
        names = sorted(box.cameras)
        if camera in names or (not camera and len(names) == 1):
            cameras[box.place] = camera or names[0]
        else:
            has = f"it has the cameras {', '.join(names)[:200]}" + ("" if camera else ": name one with --camera")
            echo(f"{box.place}: left out, {has}")
    missed = [box.place for box in boxes if box.place in cameras and not box.is_online]
    places = [place for place in cameras if place not in missed]
    for place in missed:
        echo(f"{place}: missed, it is offline")
    if not places:
        hint = "vedette fleet status lists the boxes and their cameras"
        raise ConfigProblem(f"no box that is online has {f'a camera {camera}' if camera else 'one camera'}", hint)
    name = f"configuration-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    records = {place: BoxRecord(camera=cameras[place]) for place in places}
    return Rollout(
        name=name,
        product="",
        release=0,
        sha256=hashlib.sha256(part.encode()).hexdigest(),
        bytes=len(part.encode()),
        source="",
        minutes=0.0,
        rings=split_rings(places, rings, name),
        boxes=records | {place: BoxRecord(state="missed", camera=cameras[place]) for place in missed},
        part=part,
        camera=camera,
        **settings,
    )
