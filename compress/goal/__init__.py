"""The goal file: its tables, and the checks that run before any heavy library is loaded."""
