"""A byte order mark, as Windows editors write it at the start of a file, is no part of what the file says."""

from __future__ import annotations

import codecs
import re

from paths import ROOT

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.config.toml_file import read_toml


def test_configuration_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "vedette.toml"
    text = b'url = "mqtt://broker"\n'
    path.write_bytes(text)
    plain = read_toml(path, BrokerSettings, "docs/config.md")
    path.write_bytes(codecs.BOM_UTF8 + text)
    assert read_toml(path, BrokerSettings, "docs/config.md") == plain


def test_password_is_sent_without_the_byte_order_mark(tmp_path):
    path = tmp_path / "password"
    path.write_bytes(codecs.BOM_UTF8 + "p@ss:w/ö#rd\r\n".encode())
    assert read_secret(str(path), "broker.password_file") == "p@ss:w/ö#rd"


def test_no_text_of_a_user_is_read_with_its_byte_order_mark():
    sources = [path for folder in ("runtime", "compress") for path in (ROOT / folder).rglob("*.py")]
    pattern = re.compile(r'(read_text|open)\([^)\n]*encoding="utf-8"')
    assert not [path for path in sources if pattern.search(path.read_text())]
