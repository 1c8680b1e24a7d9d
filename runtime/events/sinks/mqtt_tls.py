"""TLS settings of a broker connection: `mqtts://`."""

from __future__ import annotations

import ssl

from ...config.configuration import BrokerSettings
from ...config.credentials import require_file
from ...errors import ConfigProblem
from ...plugin_tables import split_url


def make_tls_context(broker: BrokerSettings) -> ssl.SSLContext | None:
    """The TLS settings; None for a plain connection.

    Raises:
        ConfigProblem: a certificate or a key cannot be read.
    """
    if split_url(broker.url, "broker.url").scheme != "mqtts":
        return None
    try:
        context = ssl.create_default_context(cafile=require_file(broker.ca_file) or None)
        if broker.cert_file:
            context.load_cert_chain(require_file(broker.cert_file), require_file(broker.key_file) or None)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(filter(None, (broker.ca_file, broker.cert_file, broker.key_file)))
        hint = "broker.ca_file, cert_file and key_file must be PEM files that the daemon can read"
        raise ConfigProblem(f"broker: {files}: {error}", hint=hint) from None
    return context
