"""`vedette audit`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vedette.runtime.commands import options
from vedette.runtime.progress import show_progress


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a page with images to this file.")
@click.option("--fix", type=click.Path(path_type=Path), help="Write the images to keep to this CSV file; move nothing.")
@click.option(
    "--group",
    help='What belongs together: "folder", a CSV file (columns file, group), or a regular expression on the name.',
)
@options.as_json
def audit(folder: Path, out: Path | None, fix: Path | None, group: str | None, as_json: bool) -> None:
    """Check the images in DIR before anything is built from them: each sub-folder is a label.

    Exits 1 if some images cannot be used: unreadable, truncated or empty ones, and copies under two labels. The other
    findings (copies, near copies, blur, probable mislabels, …) are for a person to judge, and exit 0.
    """
    from ..data import groups, kept_images_csv
    from ..data.audit import audit_images, html_report, labels_from_folders
    from ..data.audit.sample_size import SampleSize
    from ..data.split import SPLIT_FRACTIONS
    from ..export import bundle_writer

    for file in (out, fix):
        if file is not None:
            bundle_writer.check_output_folder(file.parent)
    images, folders = labels_from_folders.read_folder_layout(folder)
    report = audit_images(images, folders, groups.assign_groups(images, folders, group, Path()), folder, show_progress)
    report = report.with_skipped_files([folder])
    good, defective = _count_usable(report.images, set(report.left_out), labels_from_folders.GOOD_LABEL)
    certainty = None
    if good is not None:
        certainty = SampleSize(
            round(SPLIT_FRACTIONS["threshold"] * good), round(SPLIT_FRACTIONS["test"] * good), defective
        )
    fields = report.to_dict() | {"certainty": certainty.to_dict() if certainty else None}
    if out is not None:
        page = html_report.render_audit(report, folder.resolve().name, str(certainty or ""))
        bundle_writer.write_output(out, page)
    if fix is not None:
        bundle_writer.write_output(fix, kept_images_csv.format_keep_list(report, fix.parent))
    if as_json:
        options.print_json(fields)
    else:
        _print_findings(fields)
        for line in (certainty, out and f"report  {out}", fix and f"list    {fix}"):
            if line:
                click.echo(str(line))
    if fields["breaks"]:
        raise SystemExit(1)


def _count_usable(images: Mapping[str, Sequence[Path]], left_out: set[Path], good_label: str) -> tuple[int | None, int]:
    """Number of good and of other usable images; no number of good ones if several labels exist and none is good."""
    usable = {label: len(set(paths) - left_out) for label, paths in images.items()}
    good = usable.get(good_label) if len(usable) > 1 else next(iter(usable.values()))
    return good, sum(usable.values()) - (good or 0)


def _print_findings(facts: dict[str, Any]) -> None:
    """Print each finding, and the number of findings and images."""
    for each in facts["findings"]:
        others = f" ({', '.join(each['others'])})" if each["others"] else ""
        click.echo(f"{each['kind']:15} {each['file']}{others}: {each['why']}")
        click.echo(f"{'':15} {each['measure']} {each['value']:.3g}, threshold {each['threshold']:.3g}")
    for each in facts["notes"]:
        click.echo(each)
    for each in facts["unchecked"]:
        click.echo(f"not checked: {each}")
    labels = ", ".join(f"{count} {label}" for label, count in facts["labels"].items())
    click.echo(f"{len(facts['findings'])} findings in {facts['images']} images ({labels})")
