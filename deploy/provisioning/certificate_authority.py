"""A small certificate authority that needs no network: a folder with its key, its certificate, and what it issued.

    ca.key            private key, mode 0600, encrypted if a passphrase was given
    ca.pem            its certificate: brokers and boxes trust it
    crl.pem           revocation list, for the broker
    index.json        every certificate, by serial number (certificate_index.py)
    certificates/     NAME.pem, the newest of each name
    keys/             NAME.key, mode 0600, where the key was made here and not on the box

The list of revocations is valid as long as the authority: a broker with a list that has run out refuses every box.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from vedette.runtime.atomic_file import make_private_folder, write_atomically
from vedette.runtime.errors import ConfigProblem, MachineProblem

from .certificate_fields import MAX_NAME, check_name, host_name, key_usage, make_subject, start_certificate
from .certificate_files import make_key, read_certificate, read_key, render_key
from .certificate_index import FILE_NAME, CertificateIndex, IssuedCertificate, Use, current_time

AUTHORITY_YEARS = 10
LEAF_DAYS = 730
_CLOCK_SKEW = timedelta(days=1)  # a box without a clock that runs may be behind
_HINT = "the folder of the authority must be writable"
_EXTENDED_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class Order(msgspec.Struct, frozen=True):
    """A certificate to be signed."""

    name: str
    use: Use = "client"
    hosts: tuple[str, ...] = ()
    days: int = LEAF_DAYS
    public_key: CertificatePublicKeyTypes | None = None
    """Key of the certificate; None: that in `keys/`, made if there is none."""
    new_key: bool = False
    """Make a key, even if there is one."""


class CertificateAuthority:
    """The authority in a folder.

    Args:
        folder: the folder that `create` made
        passphrase: of `ca.key`, if it has one
    """

    def __init__(self, folder: Path, passphrase: str = "") -> None:
        self.folder, self.passphrase = folder, passphrase
        self.certificate = read_certificate(folder / "ca.pem")
        self._key: ec.EllipticCurvePrivateKey | None = None

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The private key, read when it is first needed."""
        if self._key is None:
            self._key = read_key(self.folder / "ca.key", self.passphrase)
        return self._key

    @property
    def not_after(self) -> datetime:
        """When the authority itself ends; no certificate outlives it."""
        return self.certificate.not_valid_after_utc

    @classmethod
    def create(cls, folder: Path, name: str, days: int, passphrase: str = "") -> CertificateAuthority:
        """Makes an authority in a new or empty folder.

        Raises:
            ConfigProblem: there is one already, or the name is too long.
            MachineProblem: the folder cannot be written.
        """
        if not 1 <= len(name) <= MAX_NAME:
            raise ConfigProblem(f"{name!r}: an authority's name has 1 to {MAX_NAME} characters", hint="shorten --name")
        if (folder / "ca.key").exists() or (folder / FILE_NAME).exists():
            raise ConfigProblem(
                f"{folder}: there is an authority already",
                hint="choose another folder, or remove this one",
            )
        try:
            make_private_folder(folder)
            for part in ("certificates", "keys"):
                make_private_folder(folder / part)
        except OSError as error:
            raise MachineProblem(f"{folder}: {error.strerror}", hint=_HINT) from None
        key, now = make_key(), current_time()
        subject = make_subject(name)
        certificate = (
            start_certificate(
                subject, subject, key.public_key(), key.public_key(), (now - _CLOCK_SKEW, now + timedelta(days=days))
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_atomically(folder / "ca.key", render_key(key, passphrase), _HINT, private=True)
        write_atomically(folder / "ca.pem", certificate.public_bytes(Encoding.PEM), _HINT)
        index = CertificateIndex(crl_number=1)
        authority = cls(folder, passphrase)
        authority._write_revocations(index)
        index.write(folder)
        return authority

    def sign(self, orders: list[Order]) -> list[IssuedCertificate]:
        """Signs certificates, enters them in the index in one step, and writes their files.

        Raises:
            ConfigProblem: a name or a host is wrong, or a certificate would outlive the authority.
        """
        signed = []
        for order in orders:
            self._check(order)
            key = None if order.public_key else self._own_key(order)
            public = order.public_key or (key.public_key() if key else None)
            assert public is not None
            signed.append((order, key, *self._sign(order, public)))
        with self._locked():
            index = CertificateIndex.read(self.folder).with_certificates(*(issued for *_, issued in signed))
            index.write(self.folder)
            for order, key, certificate, _ in signed:
                if key is not None:
                    write_atomically(self.folder / "keys" / f"{order.name}.key", render_key(key), _HINT, private=True)
                path = self.folder / "certificates" / f"{order.name}.pem"
                write_atomically(path, certificate.public_bytes(Encoding.PEM), _HINT)
        return [issued for *_, issued in signed]

    def renew(self, names: list[str], days: int, new_key: bool = False) -> list[IssuedCertificate]:
        """Signs the newest certificates of `names` again, for the same keys unless `new_key`.

        Raises:
            ConfigProblem: a name has no certificate, or only revoked ones.
        """
        index, orders = CertificateIndex.read(self.folder), []
        for name in names:
            known = index.latest(name)
            if known is None:
                hint = "see vedette ca list; a new one: vedette ca sign"
                raise ConfigProblem(f"{name!r} has no certificate that is not revoked", hint=hint)
            old = self.folder / "certificates" / f"{name}.pem"
            public = None if new_key else read_certificate(old).public_key()
            orders.append(Order(name, known.use, known.hosts, days, public, new_key))
        return self.sign(orders)

    def revoke(self, chosen: str, reason: str = "") -> int:
        """Revokes all certificates of a name, or one by its serial number, and writes the revocation list.

        Returns:
            How many are revoked now that were not before.
        """
        with self._locked():
            index, count = CertificateIndex.read(self.folder).revoke(chosen, reason, current_time())
            self._write_revocations(index)  # first: a crash in between leaves a list that is stricter than the index
            index.write(self.folder)
        check_name(chosen)
        (self.folder / "keys" / f"{chosen}.key").unlink(missing_ok=True)  # the next certificate gets another key
        return count

    def _own_key(self, order: Order) -> ec.EllipticCurvePrivateKey:
        path = self.folder / "keys" / f"{order.name}.key"
        return make_key() if order.new_key or not path.exists() else read_key(path)

    def _check(self, order: Order) -> None:
        check_name(order.name)
        end = current_time() + timedelta(days=order.days)
        if end > self.not_after:
            left = (self.not_after - current_time()).days
            hint = f"give --days {left} or fewer" if left > 0 else "make a new authority: vedette ca init"
            raise ConfigProblem(f"{order.name}: would outlive its authority, which ends on {self.not_after:%F}", hint)

    def _sign(self, order: Order, public: CertificatePublicKeyTypes) -> tuple[x509.Certificate, IssuedCertificate]:
        now = current_time()
        start = max(now - _CLOCK_SKEW, self.certificate.not_valid_before_utc)
        life = (start, now + timedelta(days=order.days))
        subject, issuer = make_subject(order.name), self.certificate.subject
        builder = start_certificate(subject, issuer, public, self.key.public_key(), life)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_EXTENDED_USES[order.use]]), critical=False)
        )
        if order.hosts:
            names = x509.SubjectAlternativeName([host_name(host) for host in order.hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        issued = IssuedCertificate(
            serial=f"{certificate.serial_number:x}",
            name=order.name,
            use=order.use,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            hosts=order.hosts,
        )
        return certificate, issued

    def _write_revocations(self, index: CertificateIndex) -> None:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(max(current_time() - _CLOCK_SKEW, self.certificate.not_valid_before_utc))
            .next_update(self.not_after)
            .add_extension(x509.CRLNumber(index.crl_number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        for each in index.certificates:
            if each.revoked is not None:
                entry = x509.RevokedCertificateBuilder().serial_number(int(each.serial, 16))
                builder = builder.add_revoked_certificate(entry.revocation_date(each.revoked).build())
        revocations = builder.sign(self.key, hashes.SHA256())
        write_atomically(self.folder / "crl.pem", revocations.public_bytes(Encoding.PEM), _HINT)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time changes the index."""
        with (self.folder / "index.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
