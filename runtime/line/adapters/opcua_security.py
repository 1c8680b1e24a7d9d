"""Certificates of OPC UA: who may connect, and what is encrypted."""

from __future__ import annotations

from pathlib import Path

from asyncua import Server, ua
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography import x509

from .opcua_options import OpcUaOptions

POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


def application_uri(path: str) -> str:
    """The name of an application in its certificate, which both sides compare.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no certificate, or has no such name.
    """
    content = Path(path).read_bytes()
    load = x509.load_pem_x509_certificate if content.startswith(b"-----") else x509.load_der_x509_certificate
    try:
        names = load(content).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return str(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
    except (x509.ExtensionNotFound, IndexError):
        raise ValueError(f"{path} has no URI as alternative name, which OPC UA needs") from None


async def secure_server(server: Server, options: OpcUaOptions) -> None:
    """Lets in only clients with a trusted certificate, encrypted; without certificates everybody who can connect.

    Raises:
        OSError: a file cannot be read.
        ValueError: a certificate is none, or has no application URI.
    """
    server.allow_remote_admin(False)
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    if not options.certificate:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        return
    await server.set_application_uri(application_uri(options.certificate))
    await server.load_certificate(options.certificate)
    await server.load_private_key(options.key)
    server.set_security_policy(POLICIES)
    store = TrustStore([Path(options.trusted)], [])
    await store.load()
    wanted = CertificateValidatorOptions.TRUSTED_VALIDATION | CertificateValidatorOptions.PEER_CLIENT
    server.set_certificate_validator(CertificateValidator(wanted, store))
