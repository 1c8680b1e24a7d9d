"""`vedette audit`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from vedette.runtime.progress import track

if TYPE_CHECKING:
    from ..data.audit.findings import Audit
    from ..data.audit.sample_size import Certainty


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a page with pictures to this file.")
@click.option("--fix", type=click.Path(path_type=Path), help="Write the images to keep to this CSV file; move nothing.")
@click.option(
    "--group",
    help='What belongs together: "folder", a CSV file (columns file, group), or a regular expression on the name.',
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def audit(folder: Path, out: Path | None, fix: Path | None, group: str | None, as_json: bool) -> None:
    """Look at the images in DIR before anything is built from them: each sub-folder is a label.

    Exits 1 where images cannot be used: unreadable, truncated or empty ones, and copies under two labels. The other
    findings (copies, near copies, blur, probable mislabels, …) are for a person to judge, and exit 0.
    """
    from ..data import groups, keep_list
    from ..data.audit import audit as look
    from ..data.audit import folder_layout as layout
    from ..data.audit import html_report
    from ..export import bundle_writer

    for file in (out, fix):
        if file is not None:
            bundle_writer.check(file.parent)
    images, folders = layout.read(folder)
    found = look(images, folders, groups.of(images, folders, group, Path()), folder, track)
    worth = _certainty(found)
    facts = found.facts() | {"certainty": worth.facts() if worth else None}
    if out is not None:
        bundle_writer.write(out, html_report.html(found, folder.resolve().name, str(worth or "")))
    if fix is not None:
        bundle_writer.write(fix, keep_list.text(found, fix.parent))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
    else:
        _print(facts)
        for line in (worth, out and f"report  {out}", fix and f"list    {fix}"):
            if line:
                click.echo(str(line))
    if facts["breaks"]:
        raise SystemExit(1)


def _certainty(found: Audit) -> Certainty | None:
    """What the images would be worth in a build that takes all of them; None where none is called good."""
    from ..data.audit.folder_layout import GOOD
    from ..data.audit.sample_size import Certainty
    from ..data.split import SHARES

    usable = {label: len(set(paths) - set(found.left_out)) for label, paths in found.images.items()}
    good = usable.get(GOOD) if len(usable) > 1 else next(iter(usable.values()))
    if good is None:
        return None
    threshold, test = round(SHARES["threshold"] * good), round(SHARES["test"] * good)
    return Certainty(threshold, test, sum(usable.values()) - good)


def _print(facts: dict[str, Any]) -> None:
    """A line for each finding, and what they come to."""
    for each in facts["findings"]:
        others = f" ({', '.join(each['others'])})" if each["others"] else ""
        click.echo(f"{each['kind']:15} {each['file']}{others}: {each['why']}")
        click.echo(f"{'':15} {each['measure']} {each['value']:.3g}, threshold {each['threshold']:.3g}")
    for each in facts["unchecked"]:
        click.echo(f"not checked: {each}")
    labels = ", ".join(f"{count} {label}" for label, count in facts["labels"].items())
    click.echo(f"{len(facts['findings'])} findings in {facts['images']} images ({labels})")
