"""`vedette outbox`: what waits, what was delivered and what nobody would have."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ..clock import Clock
from ..config import configuration
from ..errors import MachineProblem
from ..events.event import Event, Notice, cloud_event, rfc3339
from ..events.outbox import DEAD, FILE, WAITS, Outbox
from ..events.topics import Topics
from . import options

_STATES = {"waiting": WAITS, "dead": DEAD, "delivered": "delivered"}


@click.group()
def outbox() -> None:
    """Look into a camera's outbox, and send again what it delivered."""


camera = click.argument("camera")


@outbox.command("list")
@camera
@options.config
@options.as_json
def list_(camera: str, folder: Path, as_json: bool) -> None:
    """Count what waits, is dead and was delivered, and print what waits."""
    with _Reading(configuration.load(folder, camera)) as reading:
        counts = {state: reading.count(state) for state in _STATES}
        rows = list(reading.rows("waiting"))
    if as_json:
        waiting = [_described(row) for row in rows]
        click.echo(msgspec.json.encode({"epoch": reading.epoch, **counts, "events": waiting}).decode())
        return
    click.echo(", ".join(f"{number} {state}" for state, number in counts.items()) + f"; epoch {reading.epoch}")
    _print(rows)


@outbox.command()
@camera
@options.config
@options.as_json
def dead(camera: str, folder: Path, as_json: bool) -> None:
    """Print what the broker would not have, and why.

    The next start of the daemon tries it again.
    """
    with _Reading(configuration.load(folder, camera)) as reading:
        rows = list(reading.rows("dead"))
    if as_json:
        click.echo(msgspec.json.encode([_described(row) for row in rows]).decode())
        return
    click.echo(f"{len(rows)} dead")
    _print(rows)


@outbox.command()
@camera
@options.config
@click.option("--from", "first", type=click.IntRange(min=1), default=1, show_default=True, help="Sequence number.")
@click.option("--to", "last", type=click.IntRange(min=1), help="Sequence number. [default: the last one]")
def replay(camera: str, folder: Path, first: int, last: int | None) -> None:
    """Have delivered events sent again.

    While the daemon is stopped, and as far as its journal goes back.
    """
    settings = configuration.load(folder, camera)
    topic = Topics.of(settings).replay()
    with _Reading(settings) as reading:
        epoch, newest = reading.epoch, reading.newest
    wanted = {"epoch": epoch, "from": first, "to": last or newest}
    try:
        opened = Outbox.of(settings)
    except MachineProblem as problem:
        hint = f"the daemon runs: publish {msgspec.json.encode(wanted).decode()} to {topic}, or stop it first"
        raise MachineProblem(problem.message, hint=hint) from None
    try:
        if not opened.lasting:
            raise MachineProblem(f"{opened.path} cannot be written", hint="run it as the daemon's user, or as root")
        number = opened.replay(first, last or newest)
    finally:
        opened.close()
    click.echo(f"{number} events will be sent again at the next start of the daemon")


@outbox.command()
@camera
@options.config
def export(camera: str, folder: Path) -> None:
    """Print all that is in it, one CloudEvent a line.

    Delivered or not, in order.
    """
    settings = configuration.load(folder, camera)
    source, clock = Topics.of(settings).source, Clock()
    with _Reading(settings) as reading:
        for row in reading.rows("waiting", "dead", "delivered"):
            line = cloud_event(_event(row), source, row["sequence"], reading.epoch, clock)
            sys.stdout.write(line.decode() + "\n")


class _Reading:
    """The file, looked at only: the daemon may be at work on it."""

    def __init__(self, settings: configuration.Config) -> None:
        self.path = path = settings.place / FILE
        if not path.is_file():
            hint = "the daemon makes it when it first runs; check the camera's name and [device] state"
            raise MachineProblem(f"no outbox at {path}", hint=hint)
        self.database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        self.database.row_factory = sqlite3.Row

    def __enter__(self) -> _Reading:
        try:
            self.epoch: str = self._one("SELECT value FROM facts WHERE name = 'epoch'")
            self.newest: int = self._one("SELECT coalesce(max(sequence), 0) FROM events")
        except sqlite3.DatabaseError as error:
            self.__exit__(None, error, None)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.database.close()
        if isinstance(error, sqlite3.DatabaseError):
            hint = "the daemon sets a corrupt file aside when it starts, and saves what can be read"
            raise MachineProblem(f"{self.path}: {error}", hint=hint) from None

    def _one(self, query: str) -> Any:
        return self.database.execute(query).fetchone()[0]

    def count(self, state: str) -> int:
        return int(self._one(f"SELECT count(*) FROM events WHERE {_STATES[state]}"))

    def rows(self, *states: str) -> Iterator[sqlite3.Row]:
        which = " OR ".join(f"({_STATES[state]})" for state in states)
        query = f"SELECT sequence, body, refused, priority FROM events WHERE {which} ORDER BY sequence"
        return iter(self.database.execute(query))


def _event(row: sqlite3.Row) -> Event | Notice:
    return msgspec.json.decode(row["body"], type=Event | Notice)


def _described(row: sqlite3.Row) -> dict[str, Any]:
    event = _event(row)
    described = {
        "sequence": row["sequence"],
        "id": event.id,
        "type": f"vedette.{event.rule}.{event.kind}",
        "time": rfc3339(event.taken),
        "priority": row["priority"],
    }
    return described if row["refused"] is None else described | {"refused": row["refused"]}


def _print(rows: list[sqlite3.Row]) -> None:
    for row in rows:
        each = _described(row)
        click.echo(f"{each['sequence']:>8}  {each['time']}  {each['type']:32} {each.get('refused', '')}".rstrip())
