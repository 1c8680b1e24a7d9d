"""What differs between two texts of a camera's file, and what became of a change, in words."""

from __future__ import annotations

from typing import Any

from ..installation.configuration.change_requests import ConfigurationResult
from ..installation.configuration.permitted_changes import read_text
from .drawn_shapes import RULE_KEYS
from .health_words import Level
from .page_undo import PageUndo
from .plain_number import format_plain
from .translation import Translation

_UNNAMED = ("region", "privacy", "rules", "trigger", "products")


def list_changes(before: dict[str, Any], after: dict[str, Any], _: Translation) -> list[str]:
    """The changes from one content of a camera's file to another, one phrase each."""
    found = _list_region(before.get("region"), after.get("region"), _)
    masks = [content.get("privacy", {}).get("zones", []) for content in (before, after)]
    if masks[0] != masks[1]:
        if len(masks[0]) == len(masks[1]):
            found.append(_("privacy masks changed"))
        else:
            found.append(_("privacy masks: %(before)s → %(after)s", before=len(masks[0]), after=len(masks[1])))
    old, new = _by_name(before), _by_name(after)
    found += [_("rule %(name)s removed", name=name) for name in old if name not in new]
    for name, table in new.items():
        if name in old:
            found += _list_rule(name, old[name], table, _)
        else:
            found.append(_("rule %(name)s added", name=name))
    found += _list_parts(before, after, _)
    keys = [key for key in {**before, **after} if key not in _UNNAMED and before.get(key) != after.get(key)]
    if keys:
        found.append(_("changed: %(keys)s", keys=", ".join(keys)))
    return found


def describe_undo(undo: PageUndo | None, name: str, _: Translation) -> str:
    """The text of the button that takes the page's last change back; empty: there is none.

    Args:
        undo: that change
        name: of the file, for messages
        _: the reader's language

    Raises:
        ConfigProblem: a text is not TOML.
    """
    if undo is None:
        return ""
    changes = list_changes(read_text(undo.before, name), read_text(undo.present, name), _)
    return _("Undo: %(changes)s", changes="; ".join(changes) or undo.time)


def describe_result(result: ConfigurationResult, _: Translation) -> tuple[str, Level]:
    """What became of a change, in a sentence or two, and how good that is."""
    if result.left:
        text = _("Saved, but not in use yet: the camera still runs as before. On the device, somebody has to do this:")
        return text, "watch"
    said: dict[str, tuple[str, Level]] = {
        "applied": (_("Applied. The camera runs with it."), "good"),
        "refused": (_("Refused; nothing was changed."), "bad"),
        "rolled_back": (_("Taken back: the camera did not do well with it."), "bad"),
    }
    text, level = said[result.outcome]
    if result.outcome == "applied" and result.reason:
        text, level = _("Saved, but the camera does not do well with it."), "bad"
    return f"{text} {result.reason}".strip(), level


def _list_region(before: Any, after: Any, _: Translation) -> list[str]:
    if before == after:
        return []
    if not before:
        return [_("region of interest added")]
    return [_("region of interest changed") if after else _("region of interest removed")]


def _list_parts(before: dict[str, Any], after: dict[str, Any], _: Translation) -> list[str]:
    """Thresholds of parts; what else changed in these tables is named by the table alone."""
    found, old, new = [], _line_tables(before), _line_tables(after)
    for name in {**old, **new}:
        one, other = old.get(name, {}), new.get(name, {})
        if one.get("threshold") != other.get("threshold"):
            values = _describe_thresholds(one, other, _)
            if name:
                text = _("threshold of the product %(name)s: %(before)s → %(after)s", name=name, **values)
            else:
                text = _("threshold of the parts: %(before)s → %(after)s", **values)
            found.append(text)
        if {**one, "threshold": None} != {**other, "threshold": None}:
            found.append(_("changed: %(keys)s", keys=f"products, {name}" if name else "trigger"))
    return found


def _line_tables(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a line that may have a threshold: `[trigger]` without a name, and each product."""
    return {"": content.get("trigger", {})} | {str(each.get("name")): each for each in content.get("products", [])}


def _describe_thresholds(before: dict[str, Any], after: dict[str, Any], _: Translation) -> dict[str, str]:
    values = [
        format_plain(float(table["threshold"]), 6) if "threshold" in table else _("the model's own")
        for table in (before, after)
    ]
    return {"before": values[0], "after": values[1]}


def _by_name(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(table.get("name", table.get("use"))): table for table in content.get("rules", [])}


def _list_rule(name: str, before: dict[str, Any], after: dict[str, Any], _: Translation) -> list[str]:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    found = []
    if "threshold" in keys:
        values = _describe_thresholds(before, after, _)
        found.append(_("threshold of the rule %(name)s: %(before)s → %(after)s", name=name, **values))
    if any(key in RULE_KEYS for key in keys):
        found.append(_("shape of the rule %(name)s changed", name=name))
    others = [key for key in keys if key != "threshold" and key not in RULE_KEYS]
    if others:
        found.append(_("rule %(name)s changed: %(keys)s", name=name, keys=", ".join(others)))
    return found
