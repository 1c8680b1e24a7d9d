"""`vedette ca`: a small certificate authority without a network, for brokers and boxes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vedette.runtime.commands import options
from vedette.runtime.errors import ConfigProblem

from ..provisioning import certificate_authority as authority
from ..provisioning.certificate_files import is_encrypted, read_request
from ..provisioning.certificate_index import CertificateIndex, IssuedCertificate, current_time

_folder = click.argument("folder", type=click.Path(path_type=Path))
_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="File whose first line is the passphrase of ca.key. [default: asked for if the key has one]",
)
_days = click.option(
    "--days", type=click.IntRange(1, 36500), default=authority.LEAF_DAYS, show_default=True, help="Days of its life."
)


@click.group()
def ca() -> None:
    """Issue, renew and revoke the certificates of a broker and its boxes; FOLDER holds the authority."""


@ca.command()
@_folder
@click.option("--name", default="Vedette authority", show_default=True, help="Name of the authority.")
@click.option("--years", type=click.IntRange(1, 50), default=authority.AUTHORITY_YEARS, show_default=True)
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the key with it.")
@_passphrase
def init(folder: Path, name: str, years: int, encrypt: bool, passphrase_file: Path | None) -> None:
    """Make an authority in FOLDER."""
    passphrase = read_passphrase(passphrase_file)
    if encrypt and not passphrase:
        passphrase = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
    made = authority.CertificateAuthority.create(folder, name, years * 365, passphrase)
    state = "encrypted" if passphrase else "NOT encrypted"
    click.echo(f"{folder}: an authority until {made.not_after:%F}; its key is {state}: whoever has it makes boxes")


@ca.command()
@_folder
@click.argument("name")
@click.option("--host", "hosts", multiple=True, help="For a broker: host name or address; once for each.")
@click.option("--request", type=click.Path(path_type=Path), help="Signing request (PEM): the key stays where it is.")
@_days
@_passphrase
def sign(
    folder: Path, name: str, hosts: tuple[str, ...], request: Path | None, days: int, passphrase_file: Path | None
) -> None:
    """Sign a certificate for NAME: for the box of that device name, or with --host for a broker."""
    public = read_request(request).public_key() if request else None
    order = authority.Order(name, "server" if hosts else "client", hosts, days, public)
    _print_issued(folder, open_authority(folder, passphrase_file).sign([order]))


@ca.command()
@_folder
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--due", is_flag=True, help="All whose life is over by two thirds.")
@click.option("--new-key", is_flag=True, help="With a new key; otherwise the key stays.")
@_days
@_passphrase
def renew(
    folder: Path, names: tuple[str, ...], due: bool, new_key: bool, days: int, passphrase_file: Path | None
) -> None:
    """Sign the certificates of each NAME again; the old ones stay valid until they end."""
    chosen = [*names, *(each.name for each in CertificateIndex.read(folder).due(current_time()) if due)]
    if not chosen and not due:
        raise ConfigProblem("nothing to renew", hint="name a certificate, or give --due")
    _print_issued(folder, open_authority(folder, passphrase_file).renew(list(dict.fromkeys(chosen)), days, new_key))


@ca.command()
@_folder
@click.argument("chosen", metavar="NAME|SERIAL")
@click.option("--reason", default="", help="Why; kept in the index.")
@_passphrase
def revoke(folder: Path, chosen: str, reason: str, passphrase_file: Path | None) -> None:
    """Revoke all certificates of a name, or the one with a serial number, and write crl.pem anew."""
    count = open_authority(folder, passphrase_file).revoke(chosen, reason)
    click.echo(f"{chosen}: {count} revoked; give {folder / 'crl.pem'} to the broker and restart it")


@ca.command("list")
@_folder
@options.as_json
def list_(folder: Path, as_json: bool) -> None:
    """List the newest certificate of each name; `renew` says that two thirds of its life are over."""
    now, rows = current_time(), CertificateIndex.read(folder).newest()
    if as_json:
        states = [{"state": each.state(now), "renew_from": each.renew_from} for each in rows]
        fields = [{field: getattr(each, field) for field in each.__struct_fields__} for each in rows]
        options.print_json([{**row, **state} for row, state in zip(fields, states, strict=True)])
        return
    for each in rows:
        click.echo(
            f"{each.name:<24} {each.use:<6} {each.state(now):<7} until {each.not_after:%F}, "
            f"renew from {each.renew_from:%F}  {each.serial}"
        )


def open_authority(folder: Path, passphrase_file: Path | None) -> authority.CertificateAuthority:
    """The authority in `folder`; asks for the passphrase if its key has one and no file was named."""
    passphrase = read_passphrase(passphrase_file)
    if not passphrase and is_encrypted(folder / "ca.key"):
        if not sys.stdin.isatty():
            raise ConfigProblem(f"{folder / 'ca.key'} is encrypted", hint="give --passphrase-file FILE")
        passphrase = click.prompt("passphrase of the authority", hide_input=True, err=True)
    return authority.CertificateAuthority(folder, passphrase)


def read_passphrase(path: Path | None) -> str:
    """The first line of a file; empty without a file.

    Raises:
        ConfigProblem: the file cannot be read, or its first line is empty.
    """
    if path is None:
        return ""
    try:
        passphrase = path.read_text(encoding="utf-8-sig").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{path}: {error}", hint="name a text file with the passphrase") from None
    if not passphrase:
        raise ConfigProblem(f"{path}: its first line is empty", hint="write the passphrase there")
    return passphrase


def _print_issued(folder: Path, issued: list[IssuedCertificate]) -> None:
    for each in issued:
        path = folder / "certificates" / f"{each.name}.pem"
        click.echo(f"{path}: {each.use} until {each.not_after:%F}; renew from {each.renew_from:%F}")
