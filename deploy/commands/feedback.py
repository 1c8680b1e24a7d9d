"""`vedette feedback`: what people judged on a box, brought to the workshop."""

from __future__ import annotations

import io
import sys
from pathlib import Path, PurePosixPath

import click

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem, MachineProblem

from ..feedback.box_fetch import fetch_feedback
from ..feedback.corrections_folder import merge_feedback
from ..feedback.feedback import Feedback
from ..feedback.feedback_archive import ARCHIVE_SUFFIX, read_archive, write_archive
from ..feedback.state_search import search_folders

STATE = PurePosixPath("/var/lib/vedette")


@click.group()
def feedback() -> None:
    """Bring judged events and their pictures from a box to the workshop."""


@feedback.command()
@click.argument("sources", nargs=-1, required=True, metavar="BOX|FOLDER…")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The corrections folder; it may exist.")
@click.option(
    "--state",
    "states",
    type=PurePosixPath,
    multiple=True,
    default=[STATE],
    show_default=True,
    help="Folder on the box.",
)
@click.option("--sudo", is_flag=True, help="Read the state folder on the box as root.")
@options.as_json
def pull(sources: tuple[str, ...], out: Path, states: tuple[PurePosixPath, ...], sudo: bool, as_json: bool) -> None:
    """Fetch judged events into a corrections folder, which [data] corrections names.

    A source is a box, as ssh://user@host; a folder: a state folder or a copy of it, uploaded evidence together with the
    verdicts, a USB stick; or a file that vedette feedback export wrote. Only pictures that the box stored as evidence
    are fetched, and only of events that a person judged. Fetching again adds what is new.
    """
    folders = [Path(source) for source in sources if not source.startswith("ssh://") and not _is_archive(source)]
    found = [fetch_feedback(source, states, sudo) for source in sources if source.startswith("ssh://")]
    archives = [Path(source) for source in sources if _is_archive(source)]
    for folder in folders:
        if folder.is_dir():
            archives += sorted(path for path in folder.glob(f"*{ARCHIVE_SUFFIX}") if path.is_file())
    found += map(_open_archive, archives)
    if folders:
        found.append(search_folders(folders, may_be_empty=bool(archives)))
    results = [merge_feedback(each, out) for each in found]
    last = results[-1]
    if as_json:
        options.print_json({"out": str(out), "pulled": results})
        return
    new, changed, lost = (
        sum(getattr(each, name) for each in results) for name in ("new", "changed", "without_picture")
    )
    click.echo(f"{new} new, {changed} with another verdict; {last.total} pictures in {out}")
    if lost:
        click.echo(f"{lost} judged events have no stored picture: [evidence] stores them, docs/learning.md")
    if last.scores:
        click.echo(f"{last.scores} scores in {out / 'scores.csv'}")


@feedback.command()
@click.argument("folders", nargs=-1, metavar="FOLDER…", type=click.Path(path_type=Path))
@click.option("--out", required=True, help=f"File to write, NAME{ARCHIVE_SUFFIX}; - for standard output.")
def export(folders: tuple[Path, ...], out: str) -> None:
    """Write judged events of this box to a file, for a USB stick. FOLDER: state folders. [default: /var/lib/vedette]"""
    found, file = search_folders(folders or (Path(STATE),)), io.BytesIO()
    write_archive(found, file)
    if out == "-":
        sys.stdout.buffer.write(file.getvalue())
        return
    path = Path(out)
    if not _is_archive(out):
        raise ConfigProblem(f"{out}: the name must end in {ARCHIVE_SUFFIX}", hint=f"{path.stem}{ARCHIVE_SUFFIX}")
    write_atomically(path, file.getvalue(), hint="name a file that this user may write", private=True)
    click.echo(f"{len(found.events)} judged events, {len(found.pictures)} pictures: {path}")


def _is_archive(source: str) -> bool:
    return source.endswith(ARCHIVE_SUFFIX)


def _open_archive(path: Path) -> Feedback:
    try:
        with open(path, "rb") as file:
            return read_archive(file, str(path))
    except OSError as error:
        raise MachineProblem(f"{path}: {error.strerror}", hint="check the path, and who may read it") from None
