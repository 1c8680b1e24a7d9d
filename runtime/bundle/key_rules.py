"""What a trusted key may do: rules in its `.pub` file, and the list of revoked keys of a keyring.

A line `Products: cells, tiles` before the key in its `.pub` file limits it to bundles with these names. PEM readers,
older releases of Vedette among them, ignore the line. A file without it is not limited, as before.

The file `revoked` in a keyring holds a line for each revoked key: its ID, the time, and the reason. A key stays revoked
if its `.pub` file comes back, or lies in another keyring that is read together with this one.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec

from ..atomic_file import write_atomically
from ..errors import BundleProblem, ConfigProblem

REVOKED_FILE = "revoked"
_PRODUCTS_LINE = re.compile(rb"^Products:[ \t]*([^\r\n]*)\r?$", re.MULTILINE)
_PEM_START = b"-----BEGIN"
_PRODUCT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_HINT = "run it as the owner of that folder"


class Revocation(msgspec.Struct, frozen=True):
    """A revoked key."""

    key: str
    """ID of the key."""
    when: str
    """UTC, RFC 3339."""
    reason: str


def read_products(path: Path) -> tuple[str, ...]:
    """The names of products that the key in a `.pub` file is limited to; empty: it is not limited.

    Raises:
        ConfigProblem: the file cannot be read, or the line names no product.
    """
    try:
        head = path.read_bytes().partition(_PEM_START)[0]
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="make it readable for this user") from None
    lines = _PRODUCTS_LINE.findall(head)
    names = tuple(name.strip() for line in lines for name in line.decode(errors="replace").split(","))
    if any(not _PRODUCT.fullmatch(name) for name in names):
        hint = "write it like Products: cells, tiles; or leave the line out if the key is not limited"
        raise ConfigProblem(f"{path}: the line Products names no product", hint=hint)
    return names


def limit_to_products(pem: bytes, products: tuple[str, ...]) -> bytes:
    """The content of a `.pub` file, limited to these products; empty: not limited.

    Raises:
        ConfigProblem: one of them is no name of a product.
    """
    if wrong := [name for name in products if not _PRODUCT.fullmatch(name)]:
        raise ConfigProblem(f"{wrong[0]!r} is no name of a product", hint="give the name of the bundle's goal file")
    line = f"Products: {', '.join(products)}\n".encode() if products else b""
    return line + pem[pem.index(_PEM_START) :]


def check_product(products: tuple[str, ...], key: str, name: str) -> None:
    """Checks that a key may sign bundles of the product `name`.

    Raises:
        BundleProblem: it is limited to others.
    """
    if products and name not in products:
        hint = f"sign it with a key of that product, or widen the key: vedette keys trust FILE.pub --product {name}"
        raise BundleProblem(f"the key {key} may sign {', '.join(products)}, not {name}", hint=hint)


def read_revocations(folder: Path) -> dict[str, Revocation]:
    """The revoked keys of a keyring, by ID; empty if it has no such file.

    Raises:
        ConfigProblem: the file cannot be read, or has a line without the ID of a key.
    """
    path = folder / REVOKED_FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{path}: {error}", hint="make it readable for this user") from None
    revoked = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, when, reason = (*line.split(maxsplit=2), "", "")[:3]
        if line.startswith("#"):
            continue
        if not _KEY_ID.fullmatch(key):
            hint = "each line is the ID of a key, the time and the reason; vedette keys revoke writes it"
            raise ConfigProblem(f"{path}: {key[:40]!r} is not the ID of a key", hint=hint)
        revoked[key] = Revocation(key, when, reason)
    return revoked


def revoke(folder: Path, key: str, reason: str) -> Path:
    """Adds a key to the revoked keys of a keyring; returns the file.

    Raises:
        ConfigProblem: `key` is not the ID of a key, or the file cannot be read.
        MachineProblem: the file cannot be written.
    """
    if not _KEY_ID.fullmatch(key):
        hint = "vedette keys list shows the IDs; or name the .pub file"
        raise ConfigProblem(f"{key!r} is not the ID of a key", hint=hint)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    revoked = {key: Revocation(key, now, " ".join(reason.split()))} | read_revocations(folder)
    lines = (f"{each.key} {each.when} {each.reason}".rstrip() for each in revoked.values())
    path = folder / REVOKED_FILE
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode(), _HINT)
    path.chmod(0o644)
    return path
