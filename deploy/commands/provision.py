"""`vedette provision`: from a table of boxes to their cards, and to the list of those that came up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vedette.runtime.errors import ConfigProblem

from ..provisioning import arrival_watch
from ..provisioning.bundle_check import check_bundles, check_keys_stay, require_key
from ..provisioning.certificate_authority import LEAF_DAYS
from ..provisioning.certificate_index import CertificateIndex
from ..provisioning.fleet_settings import choose_broker, read_settings
from ..provisioning.fleet_table import read_table
from ..provisioning.fleet_writer import write_fleet
from ..provisioning.labels import Picture
from ..provisioning.seed_writer import read_public_keys
from .ca import open_authority

_path = click.Path(path_type=Path)


@click.command()
@click.argument("table", metavar="FLEET.CSV", type=_path)
@click.option("--out", type=_path, required=True, help="Folder for the cards and the broker's files.")
@click.option("--settings", type=_path, help="fleet.toml: the broker, defaults of columns, trusted keys.")
@click.option("--broker", "url", default="", help="URL of the broker, such as mqtts://broker.plant:8883.")
@click.option("--ca", "authority", type=_path, help="Folder of the authority (vedette ca init).")
@click.option("--passphrase-file", type=_path, help="File with the passphrase of the authority.")
@click.option("--key", "keys", type=_path, multiple=True, help="Public key (NAME.pub) whose bundles the boxes run.")
@click.option("--keys-in-image", is_flag=True, help="No --key: the image of the cards has the trusted keys already.")
@click.option("--labels", "picture", type=click.Choice(["svg", "png"]), default="svg", show_default=True)
@click.option("--no-labels", is_flag=True, help="No labels and QR codes.")
@click.option(
    "--days", type=click.IntRange(1, 36500), default=LEAF_DAYS, help="Life of new certificates. [default: 730]"
)
@click.option("--watch", is_flag=True, help="Write nothing: wait until all boxes have come up at the broker.")
@click.option("--wait", type=click.FloatRange(0), help="With --watch: seconds after which it ends with 1.")
@click.option("--username", default="", help="With --watch: user at the broker. [default: taken from --out]")
@click.option("--password-file", type=_path, help="With --watch: its password.")
@click.option("--ca-file", type=_path, help="With --watch: authority of the broker's certificate.")
def provision(
    table: Path,
    out: Path,
    settings: Path | None,
    url: str,
    authority: Path | None,
    passphrase_file: Path | None,
    keys: tuple[Path, ...],
    keys_in_image: bool,
    picture: Picture,
    no_labels: bool,
    days: int,
    watch: bool,
    wait: float | None,
    **login: Any,
) -> None:
    """Write one folder per box of FLEET.CSV for its card, and the files of the broker.

    A second run with the same table changes nothing; new rows get new keys, and changed rows new instances.
    """
    read = read_settings(settings)
    if watch:
        place = arrival_watch.find_broker(out, url or read.broker.url, read.broker.prefix, **login)
        if not arrival_watch.watch_arrivals(read_table(table, read.defaults), place, out, wait):
            raise SystemExit(1)
        return
    if wait is not None:
        raise ConfigProblem("--wait is for --watch", hint="give both")
    read = choose_broker(read, url, authority is not None)
    boxes = read_table(table, read.defaults)
    named = [settings.parent / key for key in read.keys] if settings else []
    public = read_public_keys([*named, *keys])
    if public:
        check_bundles(boxes, [*named, *keys], table.parent)
    elif not keys_in_image:
        require_key(boxes)
        check_keys_stay(out)
    done = write_fleet(
        boxes,
        read,
        public,
        out,
        table.parent,
        open_authority(authority, passphrase_file) if authority else None,
        None if no_labels else picture,
        days,
    )
    same = len(boxes) - len(done.new) - len(done.changed)
    click.echo(f"{out}: {len(boxes)} boxes: {len(done.new)} new, {len(done.changed)} changed, {same} as before")
    for name in done.changed:
        click.echo(f"{name}: its card must be written again")
    if done.gone:
        click.echo(f"no longer in the table: {', '.join(done.gone)}")
    if done.gone and authority is not None:
        valid = [name for name in done.gone if CertificateIndex.read(authority).latest(name)]
        for name in valid:
            click.echo(f"  its certificate is still valid: vedette ca revoke {authority} {name}; then provision again")
    if done.renew:
        click.echo(f"{len(done.renew)} certificates should be renewed: vedette ca renew {authority} --due")
    if not read.broker.is_tls:
        click.echo(
            f"{read.broker.url}: whoever listens on the network reads the passwords; mqtts:// hides them", err=True
        )
