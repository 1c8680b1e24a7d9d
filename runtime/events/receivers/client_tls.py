"""TLS settings of a connection to a receiver."""

from __future__ import annotations

import ssl

from ...config.credentials import require_file
from ...config.sink_tables import AnySink
from ...errors import ConfigProblem


def make_client_context(sink: AnySink) -> ssl.SSLContext:
    """Makes the settings: the receiver's certificate must be valid, and for its host.

    Raises:
        ConfigProblem: the certificate authority cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=require_file(sink.ca_file) or None)
    except OSError as error:  # ssl.SSLError is one
        hint = "ca_file must be a PEM file that the daemon can read"
        raise ConfigProblem(f"the sink {sink.name}: {sink.ca_file}: {error}", hint=hint) from None
