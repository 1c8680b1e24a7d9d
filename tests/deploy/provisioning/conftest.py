"""An authority and a table, made once for tests that do not change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.deploy.provisioning.certificate_authority import CertificateAuthority


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "ca", "An authority", days=3650)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "cells.vedette"
    path.write_bytes(b"a bundle")
    return path
