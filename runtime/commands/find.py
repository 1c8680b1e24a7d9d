"""`vedette find`: events, pictures and clips that lie on the box, searched by rule, time, label and zone."""

from __future__ import annotations

import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import click
import msgspec

from ..config.configuration import load_config
from ..errors import ConfigProblem
from ..events.event import format_rfc3339
from ..events.outbox import FILE_NAME
from ..evidence.store import CLIP_SUFFIXES, PICTURE_SUFFIXES
from ..page.event_records import EventFilter, EventReader, EventRecord
from . import options

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_EVENTS = 100_000  # more than a journal holds


class FoundEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event, as `--json` prints it."""

    camera: str
    rule: str
    event: str
    started: str
    """RFC 3339, UTC."""
    seconds: float
    """How long it lasted until its newest message."""
    open: bool
    score: float
    """The highest."""
    label: str = ""
    zones: tuple[str, ...] = ()
    """All that the object entered."""
    track: int | None = None
    verdict: str = ""
    """What a person said of it."""
    picture: str = ""
    """Path; empty: none, or deleted already."""
    clip: str = ""


@click.command()
@click.argument("place", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--rule", "rules", multiple=True, help="Name of a rule; may be given several times.")
@click.option("--since", help="2h, 3d, 2026-11-29 or 2026-11-29T18:00, in this machine's time zone.")
@click.option("--until", help="The same.")
@click.option("--camera", "cameras", multiple=True, help="Name of a camera; may be given several times.")
@click.option("--label", default="", help="Label of the event's best prediction.")
@click.option("--zone", default="", help="A zone that the object entered.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest of them.")
@click.option("--copy", "into", type=click.Path(path_type=Path), help="Copy pictures and clips into this folder.")
@options.as_json
def find(
    place: Path,
    rules: tuple[str, ...],
    since: str | None,
    until: str | None,
    cameras: tuple[str, ...],
    label: str,
    zone: str,
    limit: int,
    into: Path | None,
    as_json: bool,
) -> None:
    """Find events whose messages lie in DIR.

    DIR is a folder of configuration (/etc/vedette), or of state (/var/lib/vedette or a camera's folder in it), also a
    copy of one.
    """
    first, last = parse_time(since, "--since", float("-inf")), parse_time(until, "--until", float("inf"))
    records = [
        (reader, record)
        for reader in open_readers(place, cameras)
        for record in reader.list_events(EventFilter(label=label), _EVENTS)
        if (not rules or record.rule in rules)
        and record.last.taken >= first
        and record.started <= last
        and zone in ("", *entered_zones(record))
    ]
    records = sorted(records, key=lambda each: -each[1].started)[:limit]
    found = [describe_record(reader, record) for reader, record in records]
    if into is not None:
        copy_files(found, into)
    if as_json:
        options.print_json(found)
        return
    for each in found:
        what = " ".join([each.rule, each.label, *(["in " + ", ".join(each.zones)] if each.zones else [])])
        state = "open" if each.open else f"{each.seconds:.1f} s"
        click.echo(
            "  ".join(part for part in (each.started, each.camera, what, state, each.picture, each.clip) if part)
        )
    click.echo(f"{len(found)} events")


def parse_time(text: str | None, option: str, default: float) -> float:
    """Seconds since 1970, UTC, of a time or of a span before now.

    Raises:
        ConfigProblem: it is neither.
    """
    if text is None:
        return default
    if span := _SPAN.fullmatch(text):
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        hint = "write 90m, 2h, 3d, 2026-11-29 or 2026-11-29T18:00"
        raise ConfigProblem(f"{option}: {text!r} is no time", hint=hint) from None


def open_readers(place: Path, cameras: tuple[str, ...]) -> list[EventReader]:
    """The readers of the cameras whose events lie in a folder.

    Raises:
        ConfigProblem: there are none, or not those that are asked for.
    """
    if (place / "vedette.toml").is_file():
        names = sorted(each.stem for each in (place / "cameras").glob("*.toml"))
        found = {
            name: EventReader.from_config(load_config(place, name)) for name in names if name in (cameras or names)
        }
    else:
        folders = [place, *sorted(each for each in place.glob("*") if each.is_dir())] if place.is_dir() else []
        states = {each.resolve().name: each for each in folders if (each / FILE_NAME).is_file()}
        found = {
            name: EventReader(name, state, state / "evidence")
            for name, state in states.items()
            if name in (cameras or states)
        }
    if missing := sorted({*cameras} - {*found}):
        raise ConfigProblem(f"{place} has no events of {', '.join(missing)}", hint="check the name of the camera")
    if not found:
        hint = (
            "name /etc/vedette, the folder of [device] state, or a copy of one; run it as the daemon's user or as root"
        )
        raise ConfigProblem(f"{place} holds no events", hint=hint)
    return list(found.values())


def entered_zones(record: EventRecord) -> tuple[str, ...]:
    """The zones that the object of an event entered."""
    return record.last.after.entered_zones if record.last.after is not None else ()


def describe_record(reader: EventReader, record: EventRecord) -> FoundEvent:
    """An event, with the files of it that are still there."""
    picture = reader.evidence_file(record.event, PICTURE_SUFFIXES)
    clip = reader.evidence_file(record.event, CLIP_SUFFIXES)
    return FoundEvent(
        camera=record.camera,
        rule=record.rule,
        event=record.event,
        started=format_rfc3339(record.started),
        seconds=round(record.seconds, 3),
        open=record.is_open,
        score=record.last.top_score,
        label=record.label,
        zones=entered_zones(record),
        track=record.last.track,
        verdict=record.review.verdict if record.review is not None else "",
        picture=str(picture) if picture is not None else "",
        clip=str(clip) if clip is not None else "",
    )


def copy_files(found: list[FoundEvent], into: Path) -> None:
    """Copies pictures and clips into a folder, as TIME-CAMERA-RULE-EVENT."""
    into.mkdir(parents=True, exist_ok=True)
    for each in found:
        moment = re.sub(r"[^0-9TZ]", "", each.started.split(".")[0])
        for path in (Path(name) for name in (each.picture, each.clip) if name):
            shutil.copyfile(path, into / f"{moment}-{each.camera}-{each.rule}-{path.name}")
