"""Signed orders that arrive at `cmd/install`: a box installs a release, or leaves one, and answers how it went."""
