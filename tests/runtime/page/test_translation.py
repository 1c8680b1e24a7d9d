"""Every text of the page is in every catalogue, with the same values in it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from vedette.runtime.page import translation
from vedette.runtime.page.translation import choose_language, languages, load_translation, read_catalogue

FOLDER = Path(translation.__file__).parent
OTHERS = [name for name in languages() if name != "en"]
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]


def texts() -> set[str]:
    found = extract_from_dir(FOLDER, METHODS, keywords={"_": None, "translation": None})
    return {message for _, _, message, _, _ in found if isinstance(message, str)}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    catalogue = load_translation(language).catalogue
    assert len(texts()) > 100
    assert texts() - set(catalogue) == set()


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_values_of_the_text(language: str) -> None:
    for message, translated in load_translation(language).catalogue.items():
        values = dict.fromkeys(re.findall(r"%\((\w+)\)", message), 7)
        if values:
            assert message % values
            assert set(re.findall(r"%\((\w+)\)", translated)) == set(values), message
            assert translated % values


@pytest.mark.parametrize("language", OTHERS)
def test_catalogue_reads_as_babel_reads_it(language: str) -> None:
    content = (FOLDER / "locale" / language / "vedette.po").read_bytes()
    expected = {each.id: each.string for each in read_po(io.BytesIO(content)) if each.id and each.string}
    assert read_catalogue(content.decode()) == expected


def test_entries_of_several_lines_and_fuzzy_ones() -> None:
    text = 'msgid ""\nmsgstr "Language: xx\\n"\n\nmsgid "a "\n"b"\nmsgstr ""\n"c"\n\n#, fuzzy\nmsgid "d"\nmsgstr "e"\n'
    assert read_catalogue(text) == {"a b": "c"}


def test_language_of_a_request() -> None:
    assert choose_language("", "ko-KR,ko;q=0.9,en;q=0.8") == "ko"
    assert choose_language("", "fr, en;q=0.5, ko;q=0.4") == "en"
    assert choose_language("en", "ko") == "en"
    assert choose_language("../../x", "x;q=y, *") == "en"
