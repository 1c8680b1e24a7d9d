"""`vedette recalibrate`: sets the threshold and the score's offset anew from good images."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..atomic_file import write_atomically
from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring, read_private_key
from ..bundle.local_recalibration import WRITE_HINT, remove_recalibration, write_recalibration
from ..camera import image_files
from ..errors import ConfigProblem
from ..evaluation.bundle_recalibration import RecalibrationResult, recalibrate_bundle, sign_recalibrated
from ..evaluation.camera_view import read_view
from ..progress import show_progress
from . import options


@click.command()
@options.bundle
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for a new signed bundle; needs --key.")
@click.option("--key", type=click.Path(path_type=Path), help="Private key that signs the new bundle.")
@click.option(
    "--false-alarm-rate",
    "rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of good parts that may raise an alarm. [default: that of the build]",
)
@click.option("--reset", is_flag=True, help="Remove the recalibration that is kept beside BUNDLE.")
@options.view
@options.keys
@options.as_json
def recalibrate(
    bundle: Path,
    images: tuple[Path, ...],
    out: Path | None,
    key: Path | None,
    rate: float | None,
    reset: bool,
    camera: str | None,
    folder: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Set threshold and offset of BUNDLE anew from IMAGES of good parts, taken where the model runs.

    IMAGES are files or folders, each image of another part. With --key and --out a new release is signed. Without them
    the result is kept beside BUNDLE, as NAME.recalibration.json, and the daemon applies it at its next start.
    """
    if reset:
        if images or out or key:
            raise ConfigProblem("--reset takes no images, no --out and no --key", hint="give BUNDLE alone")
        removed = remove_recalibration(bundle)
        click.echo("removed; restart the daemon" if removed else "there is no recalibration beside the bundle")
        return
    if not images:
        raise ConfigProblem("no images", hint="name images of good parts, or folders of them")
    if (out is None) != (key is None):
        hint = "give both to sign a new bundle, or neither to keep the result beside the bundle"
        raise ConfigProblem("--out and --key belong together", hint=hint)
    private = None if key is None else read_private_key(key)
    keyring = Keyring.read(keys)
    opened = Bundle.open(bundle, keyring if private is None else keyring.with_signer(private))
    view = read_view(opened.manifest, folder, camera)
    with image_files.black_zones(view.zones):
        result = recalibrate_bundle(opened, images, rate, show_progress, view.region)
    if out is not None and private is not None:
        manifest, content = sign_recalibrated(opened, result.recalibration, private)
        path, model = out / bundle.name, manifest.model_id
        if path.resolve() == bundle.resolve():
            raise ConfigProblem(f"{path} is the bundle itself", hint="choose another --out")
        write_atomically(path, content, WRITE_HINT)
    else:
        path, model = write_recalibration(opened, result.recalibration), opened.manifest.model_id
    if as_json:
        facts = {"file": str(path), "model": model}
        options.print_json(facts | msgspec.to_builtins(result))
    else:
        _print_result(result, path, model, signed=private is not None)


def _print_result(result: RecalibrationResult, path: Path, model: str, signed: bool) -> None:
    new = result.recalibration
    click.echo(f"{model}: {new.statement}.")
    click.echo(f"  threshold  {new.threshold:.4g}, offset {new.offset:+.4g}")
    if result.copies:
        click.echo(f"  {result.copies} images are copies of others and were left out")
    for name in result.high:
        click.echo(f"  please check: {name} scores like a defect")
    click.echo(f"  {'signed as' if signed else 'kept in'} {path}{'' if signed else '; restart the daemon'}")
