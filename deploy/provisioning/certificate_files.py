"""Keys and certificates as PEM files."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from vedette.runtime.errors import ConfigProblem


def make_key() -> ec.EllipticCurvePrivateKey:
    """A new key on the curve P-256, which every TLS library in the field knows."""
    return ec.generate_private_key(ec.SECP256R1())


def render_key(key: ec.EllipticCurvePrivateKey, passphrase: str = "") -> bytes:
    """The key in PKCS #8, encrypted if a passphrase is given."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def is_encrypted(path: Path) -> bool:
    """Whether a key file asks for a passphrase; a file that cannot be read does not."""
    try:
        return b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    except OSError:
        return False


def read_key(path: Path, passphrase: str = "") -> ec.EllipticCurvePrivateKey:
    """Reads a private key.

    Raises:
        ConfigProblem: the file cannot be read, is no key on a curve, or the passphrase is wrong.
    """
    try:
        secret = passphrase.encode() if is_encrypted(path) else None
        key = load_pem_private_key(path.read_bytes(), secret or None)
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="the key must be there and readable") from None
    except TypeError:
        raise ConfigProblem(f"{path}: the key is encrypted", hint="give --passphrase-file FILE") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "wrong passphrase, or a damaged key; restore it from the backup"
        raise ConfigProblem(f"{path}: {str(error).split('.', maxsplit=1)[0]}", hint=hint) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigProblem(f"{path}: not a key on an elliptic curve", hint="make one with vedette ca init")
    return key


def read_certificate(path: Path) -> x509.Certificate:
    """Reads a certificate.

    Raises:
        ConfigProblem: the file cannot be read or is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        hint = "make an authority with vedette ca init, a certificate with vedette ca sign"
        raise ConfigProblem(f"{path}: {error.strerror}", hint=hint) from None
    except ValueError as error:
        raise ConfigProblem(f"{path}: not a certificate: {error}", hint="it must be a PEM file") from None


def read_request(path: Path) -> x509.CertificateSigningRequest:
    """Reads a certificate signing request and checks that its sender has the key.

    Raises:
        ConfigProblem: the file cannot be read, is no request, or its signature is wrong.
    """
    try:
        request = x509.load_pem_x509_csr(path.read_bytes())
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="name the file of the request") from None
    except ValueError as error:
        raise ConfigProblem(f"{path}: not a signing request: {error}", hint="it must be a PEM file") from None
    if not request.is_signature_valid:
        raise ConfigProblem(f"{path}: the signature of the request is wrong", hint="make the request again")
    return request
