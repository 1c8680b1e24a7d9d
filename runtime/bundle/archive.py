"""The container of a bundle: a zip whose bytes follow from its members alone.

Members are stored, not compressed, in order of name, with a fixed date and mode. So the same members give the same file
on every machine, and the reader can demand that a file *is* what writing its members would give: nothing is prepended,
appended, hidden between entries, told differently in the local and the central header, linked, encrypted or inflated.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from ..errors import BundleProblem

MAX_BYTES = 512 << 20
MAX_MEMBERS = 64
_DATE = (1980, 1, 1, 0, 0, 0)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)?")


def pack(members: dict[str, bytes]) -> bytes:
    """The archive that holds `members`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """The members of the archive at `path`.

    Raises:
        BundleProblem: the file cannot be read, is larger than MAX_BYTES, or is not exactly what `pack` would write.
    """
    hint = "fetch the bundle again, or build it again"
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BundleProblem(f"{path}: {size} bytes, more than a bundle may have ({MAX_BYTES})", hint=hint)
        content = path.read_bytes()
    except OSError as error:
        raise BundleProblem(f"{path}: {error.strerror or error}", hint="check the path of the bundle") from None

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(entries) > MAX_MEMBERS or len(set(names)) != len(names):
                raise BundleProblem(f"{path}: too many members, or one of them twice", hint=hint)
            for entry in entries:
                if not _NAME.fullmatch(entry.orig_filename):
                    raise BundleProblem(f"{path}: a member may not be called {entry.orig_filename!r}", hint=hint)
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1 or entry.file_size > size:
                    raise BundleProblem(f"{path}: {entry.filename} is compressed, encrypted or too large", hint=hint)
            members = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError) as error:
        raise BundleProblem(f"{path}: not a bundle ({error})", hint=hint) from None
    if pack(members) != content:
        raise BundleProblem(f"{path}: holds bytes that no member accounts for", hint=hint)
    return members
