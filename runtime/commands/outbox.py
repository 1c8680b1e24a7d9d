"""`vedette outbox`: pending events, dead letters and delivered events of a camera."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ..clock import Clock
from ..config import configuration
from ..errors import UNREADABLE, MachineProblem
from ..events.cloud_event import encode_cloud_event
from ..events.event import Event, SystemEvent, cloud_event_type, format_rfc3339
from ..events.outbox import FILE_NAME, Outbox
from ..events.outbox_cursors import dead_state, pending_state, read_sinks
from ..events.outbox_schema import IS_DEAD_LETTER, IS_PENDING
from ..events.topics import Topics
from . import options

_STATES = {"waiting": IS_PENDING, "dead": IS_DEAD_LETTER, "delivered": "delivered"}


@click.group()
def outbox() -> None:
    """Inspect the outbox of a camera, and replay delivered events."""


camera = click.argument("camera")


@outbox.command("list")
@camera
@options.config
@options.as_json
def list_(camera: str, folder: Path, as_json: bool) -> None:
    """Count waiting events, dead letters and delivered events, and list the waiting ones."""
    with _OutboxReader(configuration.load_config(folder, camera)) as reader:
        counts = {state: reader.count(state) for state in _STATES}
        rows = list(reader.rows("waiting"))
        sinks = {
            sink: {"waiting": reader.count_for(sink, pending_state), "dead": reader.count_for(sink, dead_state)}
            for sink in reader.sinks
        }
    if as_json:
        waiting = [_describe_row(row) for row in rows]
        listing = {"epoch": reader.epoch, **counts, "events": waiting} | ({"sinks": sinks} if sinks else {})
        click.echo(msgspec.json.encode(listing).decode())
        return
    click.echo(", ".join(f"{number} {state}" for state, number in counts.items()) + f"; epoch {reader.epoch}")
    for sink, numbers in sinks.items():
        click.echo(f"sink {sink}: " + ", ".join(f"{number} {state}" for state, number in numbers.items()))
    _print_rows(rows)


@outbox.command()
@camera
@options.config
@options.as_json
def dead(camera: str, folder: Path, as_json: bool) -> None:
    """List dead letters: events that the broker or a sink refused, with the reason.

    The daemon sends them again at its next start.
    """
    with _OutboxReader(configuration.load_config(folder, camera)) as reader:
        rows = [*reader.rows("dead"), *reader.dead_letters_of_sinks()]
    if as_json:
        click.echo(msgspec.json.encode([_describe_row(row) for row in rows]).decode())
        return
    click.echo(f"{len(rows)} dead")
    _print_rows(rows)


@outbox.command()
@camera
@options.config
@click.option(
    "--from", "first", type=click.IntRange(min=1), default=1, show_default=True, help="First sequence number."
)
@click.option("--to", "last", type=click.IntRange(min=1), help="Last sequence number. [default: the newest event]")
def replay(camera: str, folder: Path, first: int, last: int | None) -> None:
    """Send delivered events again at the next start of the daemon.

    The daemon must be stopped. Only events in its journal can be replayed.
    """
    settings = configuration.load_config(folder, camera)
    topic = Topics.from_config(settings).replay()
    with _OutboxReader(settings) as reader:
        epoch, newest = reader.epoch, reader.newest
    request = {"epoch": epoch, "from": first, "to": last or newest}
    try:
        opened = Outbox.from_config(settings)
    except MachineProblem as problem:
        hint = f"the daemon is running: publish {msgspec.json.encode(request).decode()} to {topic}, or stop it first"
        raise MachineProblem(problem.message, hint=hint) from None
    try:
        if not opened.is_durable:
            raise MachineProblem(
                f"{opened.path} is not writable", hint="run the command as the daemon's user or as root"
            )
        number = opened.replay(first, last or newest)
    finally:
        opened.close()
    why = "" if number else f": none of the delivered events {first} to {last or newest} is kept"
    click.echo(f"{number} events will be sent again at the next start of the daemon{why}")


@outbox.command()
@camera
@options.config
def export(camera: str, folder: Path) -> None:
    """Print all stored events in order, one CloudEvent per line.

    Delivered events and dead letters are included.
    """
    settings = configuration.load_config(folder, camera)
    source, clock = Topics.from_config(settings).source, Clock()
    with _OutboxReader(settings) as reader:
        for row in reader.rows("waiting", "dead", "delivered"):
            event = _decode_event(row)
            if event is None:
                click.echo(f"event {row['sequence']} is damaged and left out", err=True)
                continue
            line = encode_cloud_event(event, source, row["sequence"], reader.epoch, clock)
            sys.stdout.write(line.decode() + "\n")


class _OutboxReader:
    """Reads the outbox file without changing it; the daemon may be using it."""

    def __init__(self, settings: configuration.Config) -> None:
        self.path = path = settings.state_folder / FILE_NAME
        if not path.is_file():  # without permission an error, for which the command line has the remedy
            hint = "the daemon creates it at its first start; check the camera's name and [device] state"
            raise MachineProblem(f"no outbox at {path}", hint=hint)
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        self.database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        self.database.row_factory = sqlite3.Row

    def __enter__(self) -> _OutboxReader:
        try:
            self.epoch: str = self._one("SELECT value FROM facts WHERE name = 'epoch'")
            self.sinks = read_sinks(self.database)
            self.newest: int = self._one("SELECT coalesce(max(sequence), 0) FROM events")
        except sqlite3.DatabaseError as error:
            self.__exit__(None, error, None)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.database.close()
        if isinstance(error, sqlite3.DatabaseError):
            hint = "at its start the daemon sets a corrupt file aside and recovers the readable events"
            raise MachineProblem(f"{self.path}: {error}", hint=hint) from None

    def _one(self, query: str) -> Any:
        return self.database.execute(query).fetchone()[0]

    def count(self, state: str) -> int:
        """Number of events in a state: `waiting`, `dead` or `delivered`."""
        return int(self._one(f"SELECT count(*) FROM events WHERE {_STATES[state]}"))

    def count_for(self, sink: str, condition: Callable[[str], str]) -> int:
        """Number of events in a state of a sink beside the broker."""
        return int(self._one(f"SELECT count(*) FROM events WHERE {condition(sink)}"))

    def dead_letters_of_sinks(self) -> Iterator[sqlite3.Row]:
        """Events that a sink beside the broker refuses, in order."""
        query = (
            "SELECT sequence, body, each.refused AS refused, priority, sink FROM events JOIN sink_exceptions AS each "
            "USING (sequence) WHERE each.refused <> '' ORDER BY sequence, sink"
        )
        return iter(self.database.execute(query) if self.sinks else ())

    def rows(self, *states: str) -> Iterator[sqlite3.Row]:
        """Events in any of the states, in order."""
        condition = " OR ".join(f"({_STATES[state]})" for state in states)
        query = f"SELECT sequence, body, refused, priority FROM events WHERE {condition} ORDER BY sequence"
        return iter(self.database.execute(query))


def _decode_event(row: sqlite3.Row) -> Event | SystemEvent | None:
    """The event of a row; None: it is damaged. Such a row is a dead letter from the next time the daemon reads it."""
    try:
        return msgspec.json.decode(row["body"], type=Event | SystemEvent)
    except UNREADABLE:
        return None


def _describe_row(row: sqlite3.Row) -> dict[str, Any]:
    event = _decode_event(row)
    description = {
        "sequence": row["sequence"],
        "id": event.id if event else "",
        "type": cloud_event_type(event) if event else "unreadable",
        "time": format_rfc3339(event.taken) if event else "",
        "priority": row["priority"],
    }
    if row["refused"] is not None:
        description["refused"] = row["refused"]
    if "sink" in row.keys():  # noqa: SIM118  # `in row` would look among the values
        description["sink"] = row["sink"]
    return description


def _print_rows(rows: list[sqlite3.Row]) -> None:
    for row in rows:
        event = _describe_row(row)
        refused = ": ".join(event[key] for key in ("sink", "refused") if key in event)
        click.echo(f"{event['sequence']:>8}  {event['time']}  {event['type']:32} {refused}".rstrip())
