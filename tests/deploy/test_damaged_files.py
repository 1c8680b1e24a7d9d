"""A damaged file of a fleet, and any seed on a card, is told in a sentence."""

from __future__ import annotations

import pytest

from vedette.deploy.provisioning.certificate_index import FILE_NAME as INDEX_NAME
from vedette.deploy.provisioning.certificate_index import CertificateIndex
from vedette.deploy.provisioning.provision_state import FILE_NAME as STATE_NAME
from vedette.deploy.provisioning.provision_state import ProvisionState
from vedette.deploy.seed import read_seed
from vedette.deploy.setup import seed_consumption
from vedette.runtime.errors import Problem


@pytest.mark.parametrize(
    "damaged",
    [b'{"format": "\xff"}', b'[{"instance": "\xff"}]', b'{"a":' + b"[" * 100_000, b'[{"a":' + b"[" * 100_000, b""],
)
def test_damaged_files_of_a_fleet_are_told(tmp_path, damaged):
    for name, read in (
        (INDEX_NAME, CertificateIndex.read),
        (STATE_NAME, ProvisionState.read),
        (seed_consumption.RECORD, seed_consumption._read_record),
    ):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(Problem):
            read(tmp_path)


@pytest.mark.parametrize(
    "text", [b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000, b"a = '\xff'", b"a = 1e", b"[" * 9000]
)
def test_any_seed_on_the_card_is_a_sentence(tmp_path, text):
    path = tmp_path / "vedette.seed"
    path.write_bytes(text)
    with pytest.raises(Problem):
        read_seed(path)
