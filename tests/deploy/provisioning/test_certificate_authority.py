"""Certificates hold before OpenSSL, stay within their authority's life, and are refused once revoked."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vedette.deploy.provisioning import certificate_index
from vedette.deploy.provisioning.certificate_authority import CertificateAuthority, Order
from vedette.deploy.provisioning.certificate_files import read_certificate
from vedette.deploy.provisioning.certificate_index import CertificateIndex, current_time
from vedette.runtime.cli import main
from vedette.runtime.errors import ConfigProblem

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def openssl_accepts(folder: Path, name: str, purpose: str) -> bool:
    command = [OPENSSL or "", "verify", "-x509_strict", "-crl_check", "-purpose", purpose]
    command += ["-CAfile", str(folder / "ca.pem"), "-CRLfile", str(folder / "crl.pem")]
    command.append(str(folder / "certificates" / f"{name}.pem"))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@needs_openssl
def test_openssl_accepts_each_for_its_purpose_until_it_is_revoked(authority: CertificateAuthority) -> None:
    authority.sign([Order("box1"), Order("box2"), Order("broker", "server", ("broker.plant", "10.0.0.1", "::1"))])
    folder = authority.folder
    assert openssl_accepts(folder, "box1", "sslclient")
    assert openssl_accepts(folder, "broker", "sslserver")
    assert not openssl_accepts(folder, "box1", "sslserver")
    assert not openssl_accepts(folder, "broker", "sslclient")
    assert authority.revoke("box1", "stolen") == 1
    assert not openssl_accepts(folder, "box1", "sslclient")
    assert openssl_accepts(folder, "box2", "sslclient")
    authority.sign([Order("box1")])
    assert openssl_accepts(folder, "box1", "sslclient")  # the new one; with another key
    assert CertificateIndex.read(folder).newest()[0].state(current_time()) == "valid"


def test_secrets_are_for_the_owner_only(authority: CertificateAuthority) -> None:
    authority.sign([Order("box1")])
    assert (authority.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (authority.folder / "keys" / "box1.key").stat().st_mode & 0o777 == 0o600
    assert authority.folder.stat().st_mode & 0o777 == 0o700


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    CertificateAuthority.create(tmp_path / "ca", "An authority", 100, "correct horse")
    with pytest.raises(ConfigProblem, match="encrypted"):
        CertificateAuthority(tmp_path / "ca").sign([Order("box1", days=9)])
    with pytest.raises(ConfigProblem, match=r"ca\.key"):
        CertificateAuthority(tmp_path / "ca", "wrong").sign([Order("box1", days=9)])
    (tmp_path / "word").write_text("correct horse\n")
    with pytest.raises(SystemExit):  # a script is not asked
        main(["ca", "sign", str(tmp_path / "ca"), "box1", "--days", "9"])
    main(["ca", "sign", str(tmp_path / "ca"), "box1", "--days", "9", "--passphrase-file", str(tmp_path / "word")])
    assert (tmp_path / "ca" / "certificates" / "box1.pem").exists()


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "An authority", days=30)
    with pytest.raises(ConfigProblem, match="outlive") as caught:
        authority.sign([Order("box1", days=31)])
    assert "--days" in caught.value.hint
    assert CertificateIndex.read(authority.folder).certificates == ()
    authority.sign([Order("box1", days=29)])
    assert read_certificate(tmp_path / "ca/certificates/box1.pem").not_valid_after_utc <= authority.not_after


def test_renewal_is_due_at_two_thirds_and_keeps_the_key(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (issued,) = authority.sign([Order("box1")])
    index = CertificateIndex.read(authority.folder)
    day, life = timedelta(days=1), issued.not_after - issued.not_before
    assert index.due(issued.not_before + life * 2 / 3 - day) == []
    assert [each.name for each in index.due(issued.not_before + life * 2 / 3)] == ["box1"]
    before = read_certificate(authority.folder / "certificates/box1.pem")
    authority.renew(["box1"], 730)
    after = read_certificate(authority.folder / "certificates/box1.pem")
    assert after.serial_number != before.serial_number
    assert after.public_key() == before.public_key()
    authority.renew(["box1"], 730, new_key=True)
    assert read_certificate(authority.folder / "certificates/box1.pem").public_key() != before.public_key()
    authority.revoke("box1")
    with pytest.raises(ConfigProblem, match="not revoked"):
        authority.renew(["box1"], 730)


def test_a_certificate_is_in_the_index_before_anybody_has_it(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vedette.deploy.provisioning.certificate_authority.write_atomically", fail)
    with pytest.raises(KeyboardInterrupt):
        authority.sign([Order("box1")])
    assert [each.name for each in CertificateIndex.read(authority.folder).certificates] == ["box1"]
    assert not (authority.folder / "certificates" / "box1.pem").exists()


def test_a_request_keeps_its_key_at_home(authority: CertificateAuthority, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    path = tmp_path / "box1.csr"
    path.write_bytes(request.public_bytes(Encoding.PEM))
    main(["ca", "sign", str(authority.folder), "box1", "--request", str(path)])
    certificate = read_certificate(authority.folder / "certificates/box1.pem")
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=box1"  # the name is ours to give, not the request's
    assert not (authority.folder / "keys" / "box1.key").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["sign", "CA", "a/b"], "not a name"),
        (["sign", "CA", "x" * 65], "not a name"),
        (["sign", "CA", "b", "--host", "bad host"], "not a host name"),
        (["sign", "CA", "b", "--request", "/dev/null"], "not a signing request"),
        (["renew", "CA", "b"], "no certificate"),
        (["renew", "CA"], "nothing to renew"),
        (["revoke", "CA", "b"], "no certificate"),
        (["init", "CA"], "already"),
        (["list", "CA/no"], "No such file"),
    ],
)
def test_errors_say_what_is_wrong(
    authority: CertificateAuthority, arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ca", *(each.replace("CA", str(authority.folder)) for each in arguments)])
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


def test_list_says_which_are_due(
    authority: CertificateAuthority, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.sign([Order("box1")])
    later = current_time() + timedelta(days=500)
    monkeypatch.setattr("vedette.deploy.commands.ca.current_time", lambda: later)
    main(["ca", "list", str(authority.folder)])
    assert "renew   until" in capsys.readouterr().out


def test_a_damaged_index_is_refused(authority: CertificateAuthority) -> None:
    (authority.folder / certificate_index.FILE_NAME).write_text("{")
    with pytest.raises(ConfigProblem, match=r"index\.json") as caught:
        authority.sign([Order("box1")])
    assert "backup" in caught.value.hint
