"""`vedette keys`: the trusted and revoked keys of this machine, and permission to go back to an older release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from ..atomic_file import write_atomically
from ..bundle import key_rules
from ..bundle.bundle import Bundle, pack_signed_bundle
from ..bundle.keys import SYSTEM_KEYRING, Keyring, key_id, read_private_key, read_public_key, user_keyring
from ..bundle.manifest_checks import MAX_RELEASE
from ..errors import ConfigProblem
from . import options

_WRITE_HINT = "run it as the owner of that folder, or name another one with --keys"


@click.group()
def keys() -> None:
    """Trust, limit and revoke the keys whose bundles this machine runs."""


@keys.command("list")
@options.keys
@options.as_json
def list_(keys: Path | None, as_json: bool) -> None:
    """List trusted and revoked keys, and the products that a key is limited to."""
    keyring = Keyring.read(keys)
    rows: list[dict[str, Any]] = [
        {"key": key, "trusted": key not in keyring.revoked, "products": list(rule.products), "file": str(rule.file)}
        for key, rule in keyring.rules.items()
    ]
    rows += [
        {"key": key, "trusted": False, "products": [], "file": ""} for key in keyring.revoked if key not in keyring.keys
    ]
    for row in rows:
        revocation = keyring.revoked.get(row["key"])
        row["revoked"] = None if revocation is None else msgspec.structs.asdict(revocation)
    if as_json:
        options.print_json(rows)
        return
    if not rows:
        click.echo(f"no keys in {' or '.join(map(str, keyring.folders))}")
    for row in rows:
        state = f"trusted for {', '.join(row['products']) or 'all products'}"
        if row["revoked"]:
            state = f"REVOKED {row['revoked']['when']} {row['revoked']['reason']}".rstrip()
        click.echo(f"{row['key']}  {state}  {row['file']}".rstrip())


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--product", "products", multiple=True, help="Name of a product that the key may sign. [default: all]")
@options.keys
def trust(file: Path, products: tuple[str, ...], keys: Path | None) -> None:
    """Trust the public key in FILE, the signer's NAME.pub; if it is trusted already, set its products anew."""
    key = key_id(read_public_key(file))
    folder = keys or _writable_keyring()
    if key in key_rules.read_revocations(folder):
        hint = f"a new key is better; if it must be, remove its line from {folder / key_rules.REVOKED_FILE}"
        raise ConfigProblem(f"the key {key} is revoked", hint=hint)
    content = key_rules.limit_to_products(file.read_bytes(), products)
    present = Keyring.read(folder).rules if folder.is_dir() else {}
    path = present[key].file if key in present else folder / f"{file.stem}.pub"
    if path.exists() and key not in present:
        path = folder / f"{file.stem}-{key}.pub"
    write_atomically(path, content, _WRITE_HINT)
    path.chmod(0o644)
    click.echo(f"{key} is trusted for {', '.join(products) or 'all products'}: {path}")


@keys.command()
@click.argument("key")
@click.option("--reason", default="", help="Why; shown by vedette keys list and in refusals.")
@options.keys
def revoke(key: str, reason: str, keys: Path | None) -> None:
    """Revoke KEY, the ID of a key or its .pub file: no bundle that it signed runs here from the next start on."""
    name = key_id(read_public_key(Path(key))) if key.endswith(".pub") else key
    path = key_rules.revoke(keys or _writable_keyring(), name, reason)
    click.echo(f"{name} is revoked: {path}; restart the daemons")


@keys.command()
@options.bundle
@click.option(
    "--from",
    "highest",
    type=click.IntRange(1, MAX_RELEASE),
    required=True,
    help="Highest release that BUNDLE may replace.",
)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Private key that signs the new bundle.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the new bundle.")
@options.keys
def permit(bundle: Path, highest: int, key: Path, out: Path, keys: Path | None) -> None:
    """Sign BUNDLE anew, with permission to replace releases up to --from on devices where they ran."""
    private = read_private_key(key)
    opened = Bundle.open(bundle, Keyring.read(keys).with_signer(private))
    path = out / bundle.name
    if path.resolve() == bundle.resolve():
        raise ConfigProblem(f"{path} is the bundle itself", hint="choose another --out")
    manifest = msgspec.structs.replace(opened.manifest, downgrade_from=highest)
    _, content = pack_signed_bundle(manifest, opened.members, private)
    write_atomically(path, content, "choose another --out")
    click.echo(f"release {manifest.release} may replace releases up to {highest}: {path}")


def _writable_keyring() -> Path:
    """The system's keyring if this user may write it, else the user's."""
    parent = next(path for path in (SYSTEM_KEYRING, *SYSTEM_KEYRING.parents) if path.exists())
    return SYSTEM_KEYRING if os.access(parent, os.W_OK) else user_keyring()
