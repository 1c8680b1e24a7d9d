"""Where the outputs go, in the options of an address: the line of a chip, or the node of a server."""

from __future__ import annotations

import msgspec


class SignalAddresses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signals that are on or off (`handshake_state.SIGNALS`), each with its address; empty: it has none."""

    trigger_ready: str = ""
    busy: str = ""
    results_ready: str = ""
    ok: str = ""
    ng: str = ""
    warn: str = ""
    error: str = ""
    heartbeat: str = ""

    def address_of(self, signal: str) -> str:
        """The address of a signal, or of another option that names one; empty: it has none."""
        return str(getattr(self, signal))
