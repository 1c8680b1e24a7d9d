"""The security review of a compressed model: what compression added, and what attackers or a bad day do to it."""
