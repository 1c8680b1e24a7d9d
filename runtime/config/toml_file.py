"""Reading a TOML file into a struct, in which every key is known and typed."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import UNREADABLE, ConfigProblem

_StructT = TypeVar("_StructT")


def read_toml(path: Path, struct_type: type[_StructT], docs: str = "docs/config.md") -> _StructT:
    """Reads a TOML file into a struct, in which every key is known and typed.

    Args:
        path: the file
        struct_type: the struct
        docs: page that lists the keys, for the error message

    Raises:
        ConfigProblem: the file cannot be read, is not TOML, or does not fit the struct.
    """
    try:
        return msgspec.toml.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8), type=struct_type)
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint=f"check the path; {docs} shows an example") from None
    except msgspec.ValidationError as error:
        unknown, known = ("unknown field", "missing required field"), ", ".join(_known_keys(struct_type))
        hint = f"known keys: {known}" if any(each in str(error) for each in unknown) else f"{docs} lists the values"
        raise ConfigProblem(f"{path}: {error}", hint=hint) from None
    except UNREADABLE as error:
        raise ConfigProblem(f"{path}: not TOML: {error}", hint="correct the file; it must be TOML in UTF-8") from None


def _known_keys(struct_type: Any, prefix: str = "") -> list[str]:
    keys = []
    for field in msgspec.structs.fields(struct_type):
        nested = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        keys += _known_keys(field.type, f"{prefix}{field.name}.") if nested else [prefix + field.name]
    return keys
