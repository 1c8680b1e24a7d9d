"""The labels that a rule applies to."""

from __future__ import annotations

from ...errors import ConfigProblem
from .. import RuleContext


def select_labels(names: tuple[str, ...] | None, context: RuleContext, key: str = "labels") -> frozenset[str]:
    """The `names` that a rule lists; without names, all labels of the bundle but the normal ones.

    Raises:
        ConfigProblem: there are none, or the bundle has no such label; the message names `key`.
    """
    known = ", ".join(context.labels)
    if names is None:
        names = tuple(each for each in context.labels if each not in context.normal_labels)
    if not names:
        hint = f"name some in labels; the bundle's are {known}"
        raise ConfigProblem("no label counts, so nothing would ever be sent", hint=hint)
    for each in names:
        if each not in context.labels:
            raise ConfigProblem(f"{key}: unknown {each!r}", hint=f"the bundle's labels are {known}")
    return frozenset(names)
