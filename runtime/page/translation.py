"""The page's languages: gettext catalogues, read from their text form (.po).

Nothing has to be compiled: a catalogue of a few hundred entries is read in milliseconds, once. English is the language
of the sources. `locale/LANGUAGE/vedette.po` adds a language, without a change of the code.
"""

from __future__ import annotations

import ast
import gettext
from functools import cache
from pathlib import Path
from typing import Any

SOURCE_LANGUAGE = "en"
PAGE_LOCALE = Path(__file__).parent / "locale"


class Translation(gettext.NullTranslations):
    """The texts of one language; a text that the catalogue lacks stays English."""

    def __init__(self, language: str, catalogue: dict[str, str]) -> None:
        super().__init__()
        self.language, self.catalogue = language, catalogue

    def gettext(self, message: str) -> str:
        """The text in this language."""
        return self.catalogue.get(message) or message

    def __call__(self, message: str, **values: Any) -> str:
        """The text in this language, with its values filled in."""
        return self.gettext(message) % values if values else self.gettext(message)


@cache
def languages() -> tuple[str, ...]:
    """The languages that there are, the source language first."""
    return (SOURCE_LANGUAGE, *sorted(path.parent.name for path in PAGE_LOCALE.glob("*/vedette.po")))


@cache
def load_translation(language: str, folders: tuple[Path, ...] = (PAGE_LOCALE,)) -> Translation:
    """The translation to a language; English if there is none.

    Args:
        language: its code
        folders: with `LANGUAGE/vedette.po`; the entries of a later one win
    """
    if language not in languages() or language == SOURCE_LANGUAGE:
        return Translation(SOURCE_LANGUAGE, {})
    catalogue: dict[str, str] = {}
    for path in (folder / language / "vedette.po" for folder in folders):
        if path.exists():
            catalogue |= read_catalogue(path.read_text(encoding="utf-8-sig"))
    return Translation(language, catalogue)


def choose_language(wanted: str, accepted: str) -> str:
    """The language of a request.

    Args:
        wanted: the user's choice; empty: none
        accepted: the header `Accept-Language`
    """
    if wanted in languages():
        return wanted
    weighted = []
    for part in accepted.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            weighted.append((-float(weight or 1), name.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    ordered = sorted(weighted, key=lambda each: each[0])
    return next((name for _, name in ordered if name in languages()), SOURCE_LANGUAGE)


def read_catalogue(text: str) -> dict[str, str]:
    """Translations by message of a .po file without plural forms and contexts. Fuzzy entries are left out."""
    found: dict[str, str] = {}
    entry: dict[str, str] = {}
    key, is_fuzzy = "", False
    for line in [*text.splitlines(), ""]:
        if line.startswith("#,") and "fuzzy" in line:
            is_fuzzy = True
        elif line.startswith(("msgid ", "msgstr ")):
            key, _, quoted = line.partition(" ")
            if key == "msgid":
                entry = {}
            entry[key] = ast.literal_eval(quoted)
        elif line.startswith('"') and key:
            entry[key] += ast.literal_eval(line)
        elif not line.strip():
            if entry.get("msgid") and entry.get("msgstr") and not is_fuzzy:
                found[entry["msgid"]] = entry["msgstr"]
            entry, key, is_fuzzy = {}, "", False
    return found
