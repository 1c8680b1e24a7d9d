"""What a run of `vedette provision` remembers for the next: passwords and instances; `provision.json`, mode 0600."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from vedette.runtime.errors import UNREADABLE, ConfigProblem

from .mosquitto_password import hash_password, make_password

FILE_NAME = "provision.json"


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user of the broker."""

    password: str
    hash: str
    """As in mosquitto's password file."""

    @classmethod
    def make(cls) -> Login:
        """A login with a random password."""
        password = make_password()
        return cls(password, hash_password(password))


class ProvisionState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: Literal[1] = 1
    url: str = ""
    prefix: str = "vedette"
    instances: dict[str, str] = {}
    """Instance of each box that has a card."""
    logins: dict[str, Login] = {}
    """Logins of boxes and people, also of boxes that are gone."""

    @classmethod
    def read(cls, folder: Path) -> ProvisionState | None:
        """The state in `folder`; None if nothing was provisioned there.

        Raises:
            ConfigProblem: the file is damaged or cannot be read.
        """
        path = folder / FILE_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigProblem(f"{path}: {error.strerror}", hint="run it as the owner of the folder") from None
        except UNREADABLE as error:
            raise ConfigProblem(f"{path}: {error}", hint="restore it from the backup, or use another --out") from None

    def render(self) -> bytes:
        """The file's content."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"
