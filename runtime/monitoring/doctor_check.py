"""The result of one check of `vedette doctor`."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one check."""

    what: str
    works: bool | None
    """None: a fact that is neither right nor wrong."""
    found: str
    remedy: str = ""
    signer: str = ""
    """ID of the key that signed the bundle, if that key is not trusted."""
