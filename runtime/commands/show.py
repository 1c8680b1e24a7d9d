"""`vedette show`: prints the manifest of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..bundle.local_recalibration import apply_recalibration
from ..bundle.manifest import UNKNOWN, Manifest, encode_manifest
from . import options


@click.command()
@options.bundle
@options.keys
@options.as_json
def show(bundle: Path, keys: Path | None, as_json: bool) -> None:
    """Verify the signature and digests of BUNDLE, and print its manifest."""
    opened = Bundle.open(bundle, Keyring.read(keys))
    facts = opened.manifest
    if as_json:
        click.echo(encode_manifest(facts).decode(), nl=False)
        return
    click.echo(f"{facts.name}, release {facts.release}: {facts.task} model for {facts.device}")
    click.echo(f"  signed by  {facts.signer}, signature and digests verified")
    _print_form(facts)
    if facts.labels:
        click.echo(f"  threshold  {facts.threshold:.4g}")
    if facts.recalibrated is not None:
        click.echo(f"  recalibrated: {facts.recalibrated.statement}")
    local = apply_recalibration(opened).manifest
    if local.local_digest and local.recalibrated is not None:
        click.echo(f"  ON THIS DEVICE, as {local.model_id}: threshold {local.threshold:.4g}")
        click.echo(f"             {local.recalibrated.statement}")
    if facts.temperature is not None:
        click.echo(f"  classes    {', '.join(facts.classes)}; below the threshold: {UNKNOWN}")
    click.echo(f"  goal       {'MISSED' if not facts.goal_met else 'not proven' if facts.unproven else 'met'}")
    for text in (*facts.missed, *facts.unproven):
        click.echo(f"             {text}")
    click.echo("  measured")
    for name, value in facts.measured.items():
        if name == "good_scores":  # a table for the runtime
            continue
        click.echo(f"    {name:26} {_format_value(value)}")
    click.echo("  files")
    for name, member in facts.files.items():
        click.echo(f"    {name:22} {member.bytes:>10,} bytes  sha256 {member.sha256[:16]}…")
    for kind, entries in (("weights", facts.weights), ("data", facts.data)):
        for source in entries:
            click.echo(f"  {kind:10} {source.name} ({source.licence})")


def _print_form(facts: Manifest) -> None:
    if facts.downgrade_from is not None:
        click.echo(f"  permitted to replace releases up to {facts.downgrade_from}, although it is older")
    click.echo(f"  input      {facts.input.width} x {facts.input.height} pixels")
    for name, each in sorted(facts.compiled.items()):
        click.echo(f"  compiled   for {name}: {each.file}, for {each.target}, by {each.tool}")
    if facts.inspect is not None:
        click.echo(f"  inspects   {facts.inspect}")


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_format_value(item)}" for name, item in value.items())
    if value is None:
        return "-"
    if isinstance(value, list):
        return " … ".join(map(_format_value, value))
    return str(value)
