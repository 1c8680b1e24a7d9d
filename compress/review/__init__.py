"""The security review of a compressed model: what compression added, and what an attacker or a bad day can do with it."""
