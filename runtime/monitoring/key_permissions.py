"""Whether the service's user may read the trusted keys, when somebody else asks.

root reads everything, so `vedette doctor` as root would find keys in order that the daemon cannot read.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

SERVICE_USER = "vedette"
"""The user that the systemd unit names."""


def closed_to_user(folders: Sequence[Path], name: str) -> list[Path]:
    """Folders of keys and `.pub` files in them that a user may not read, by owner, group and mode.

    Folders in somebody's home are left out: the service does not look there. Empty also if there is no such user, or if
    this process is not root's.

    Args:
        folders: folders of keys
        name: the user
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return []
    if os.geteuid() != 0:
        return []
    groups = {user.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)}
    home = Path.home()
    closed = []
    for folder in folders:
        if folder.is_relative_to(home) or not folder.is_dir():
            continue
        if not all(_may(parent, user.pw_uid, groups, 1) for parent in folder.parents) or not _may(
            folder, user.pw_uid, groups, 5
        ):
            closed.append(folder)
            continue
        closed += [path for path in sorted(folder.glob("*.pub")) if not _may(path, user.pw_uid, groups, 4)]
    return closed


def _may(path: Path, user: int, groups: set[int], bits: int) -> bool:
    """Whether the mode allows `bits` (4 read, 1 pass) to a user who is not root."""
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    shift = 6 if found.st_uid == user else 3 if found.st_gid in groups else 0
    return (mode >> shift) & bits == bits
