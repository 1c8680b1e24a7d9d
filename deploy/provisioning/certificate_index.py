"""What a certificate authority has issued and revoked: `index.json` in its folder, written atomically.

A certificate is entered before its file is written, so that after a crash the index may name a certificate that nobody
has, but never lacks one that somebody has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from vedette.runtime.atomic_file import write_atomically
from vedette.runtime.errors import UNREADABLE, ConfigProblem

FILE_NAME = "index.json"
RENEW_AFTER = 2 / 3
"""Share of a certificate's life after which it should be renewed."""

Use = Literal["server", "client"]


class IssuedCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One certificate that the authority has signed."""

    serial: str
    """Serial number, hexadecimal."""
    name: str
    """Common name: for a client the device name."""
    use: Use
    not_before: datetime
    not_after: datetime
    hosts: tuple[str, ...] = ()
    """Host names and addresses of a server."""
    revoked: datetime | None = None
    reason: str = ""

    @property
    def renew_from(self) -> datetime:
        """When two thirds of its life are over."""
        return self.not_before + (self.not_after - self.not_before) * RENEW_AFTER

    def state(self, now: datetime) -> str:
        """`valid`, `renew`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        if now >= self.not_after:
            return "expired"
        return "renew" if now >= self.renew_from else "valid"


class CertificateIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All certificates of an authority, oldest first."""

    certificates: tuple[IssuedCertificate, ...] = ()
    crl_number: int = 0
    """Number of the newest revocation list."""

    @classmethod
    def read(cls, folder: Path) -> CertificateIndex:
        """Reads the index of the authority in `folder`.

        Raises:
            ConfigProblem: there is none, or it is damaged.
        """
        path = folder / FILE_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            hint = f"make an authority: vedette ca init {folder}"
            raise ConfigProblem(f"{path}: {error.strerror}", hint=hint) from None
        except UNREADABLE as error:
            raise ConfigProblem(f"{path}: {error}", hint="restore the folder from its backup") from None

    def write(self, folder: Path) -> None:
        """Writes the index; a crash leaves the old one or this one.

        Raises:
            MachineProblem: it cannot be written.
        """
        content = msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"
        write_atomically(folder / FILE_NAME, content, "the folder of the authority must be writable")

    def with_certificates(self, *certificates: IssuedCertificate) -> CertificateIndex:
        """The index with these added."""
        return msgspec.structs.replace(self, certificates=(*self.certificates, *certificates))

    def latest(self, name: str) -> IssuedCertificate | None:
        """The newest certificate of a name; None if there is none, or it is revoked."""
        newest = next((each for each in reversed(self.certificates) if each.name == name), None)
        return None if newest is None or newest.revoked else newest

    def newest(self) -> list[IssuedCertificate]:
        """The newest certificate of each name, revoked or not, in the order of names."""
        return sorted({each.name: each for each in self.certificates}.values(), key=lambda each: each.name)

    def due(self, now: datetime) -> list[IssuedCertificate]:
        """The newest certificates that are past two thirds of their life and not revoked."""
        return [each for each in self.newest() if each.state(now) in ("renew", "expired")]

    def revoke(self, chosen: str, reason: str, when: datetime) -> tuple[CertificateIndex, int]:
        """Revokes all certificates of a name, or the one with a serial number; also says how many that were.

        Raises:
            ConfigProblem: there is no such certificate.
        """
        hit = [each for each in self.certificates if chosen in (each.name, each.serial)]
        if not hit:
            raise ConfigProblem(f"no certificate of the name or serial number {chosen!r}", hint="see vedette ca list")
        fresh = {each.serial for each in hit if each.revoked is None and each.not_after > when}
        changed = tuple(
            msgspec.structs.replace(each, revoked=when, reason=reason) if each.serial in fresh else each
            for each in self.certificates
        )
        number = self.crl_number + 1
        return msgspec.structs.replace(self, certificates=changed, crl_number=number), len(fresh)


def current_time() -> datetime:
    """Now, in whole seconds, as certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)
