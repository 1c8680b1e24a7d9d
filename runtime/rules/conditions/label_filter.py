"""Which labels a rule is about."""

from __future__ import annotations

from ...errors import ConfigProblem
from .. import Context


def wanted(named: tuple[str, ...] | None, context: Context, key: str = "labels") -> frozenset[str]:
    """The labels that count: those `named`, or all that the bundle does not call quiet.

    Raises:
        ConfigProblem: there are none, or the bundle has no such label; `key` is where they were written.
    """
    known = ", ".join(context.labels)
    if named is None:
        named = tuple(each for each in context.labels if each not in context.quiet)
    if not named:
        hint = f"name some in labels; the bundle's are {known}"
        raise ConfigProblem("no label counts, so nothing would ever be sent", hint=hint)
    for each in named:
        if each not in context.labels:
            raise ConfigProblem(f"{key}: unknown {each!r}", hint=f"the bundle's labels are {known}")
    return frozenset(named)
