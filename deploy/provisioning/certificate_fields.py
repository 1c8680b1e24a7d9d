"""What stands in a certificate: name, use of the key, hosts, and the identifiers that strict verifiers ask for."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from vedette.runtime.errors import ConfigProblem

MAX_NAME = 64  # characters of a common name (RFC 5280, ub-common-name)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


def check_name(name: str) -> None:
    """Checks that a name can be a common name, a level of a topic and a file.

    Raises:
        ConfigProblem: it cannot.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        hint = f"a name is letters, digits, dots, dashes and underscores, at most {MAX_NAME}"
        raise ConfigProblem(f"{name!r}: not a name", hint=hint)


def make_subject(name: str) -> x509.Name:
    """The name of a certificate's owner: a common name alone, which the broker takes as the user name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def start_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: CertificatePublicKeyTypes,
    issuer_key: ec.EllipticCurvePublicKey,
    life: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    """A certificate with a random serial number and the identifiers of both keys.

    Args:
        subject: the owner
        issuer: the authority
        public: the owner's key
        issuer_key: the authority's key
        life: first and last moment
    """
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def key_usage(authority: bool) -> x509.KeyUsage:
    """An authority signs certificates and revocations, others sign their side of a TLS handshake."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def host_name(host: str) -> x509.GeneralName:
    """A host name or an address as a server's certificate has it.

    Raises:
        ConfigProblem: it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            hint = "write it as clients write it in their URL, without port: broker.plant or 192.168.1.5"
            raise ConfigProblem(f"{host!r}: not a host name or address", hint=hint) from None
        return x509.DNSName(host)
