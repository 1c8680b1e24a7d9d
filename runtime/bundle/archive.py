"""The archive of a bundle: a reproducible zip file.

Members are stored uncompressed, sorted by name, with a fixed date and mode, so equal members give equal bytes on every
machine. The reader packs the members again and requires identical bytes. That excludes data before, after or between
the entries, local headers that contradict the central directory, links, encryption and compression.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from ..config.installed_bundle import CURRENT_BUNDLE
from ..errors import BundleProblem

MAX_BYTES = 512 << 20
MAX_MEMBERS = 64
_DATE = (1980, 1, 1, 0, 0, 0)
_MEMBER_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)?")


def pack_archive(members: dict[str, bytes]) -> bytes:
    """Packs `members` (name -> content) into an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def unpack_archive(path: Path) -> dict[str, bytes]:
    """Reads the members (name -> content) of the archive at `path`.

    Raises:
        BundleProblem: the file cannot be read, is larger than MAX_BYTES, or differs from what `pack_archive` writes.
    """
    hint = "fetch the bundle again, or build it again"
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BundleProblem(f"{path}: {size} bytes exceed the limit of {MAX_BYTES}", hint=hint)
        content = path.read_bytes()
    except FileNotFoundError:
        if path.parts[-2:] == CURRENT_BUNDLE.parts:
            hint = "vedette models lists what is installed; vedette install BUNDLE installs"
            raise BundleProblem(f"{path}: {path.parts[-3]} is not installed", hint) from None
        raise BundleProblem(f"{path}: there is no such file", hint="check the path of the bundle") from None
    except OSError as error:
        raise BundleProblem(f"{path}: {error.strerror or error}", hint="check the path of the bundle") from None

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(entries) > MAX_MEMBERS or len(set(names)) != len(names):
                raise BundleProblem(f"{path}: too many members, or a duplicate member", hint=hint)
            for entry in entries:
                if not _MEMBER_NAME.fullmatch(entry.orig_filename):
                    raise BundleProblem(f"{path}: invalid member name {entry.orig_filename!r}", hint=hint)
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1 or entry.file_size > size:
                    raise BundleProblem(f"{path}: {entry.filename} is compressed, encrypted or too large", hint=hint)
            members = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError) as error:
        raise BundleProblem(f"{path}: not a bundle ({error})", hint=hint) from None
    if pack_archive(members) != content:
        raise BundleProblem(f"{path}: contains data outside its members", hint=hint)
    return members
