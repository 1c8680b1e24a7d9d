"""What is drawn on the picture: the zones, lines and privacy masks of a camera's file, as shapes that can be changed.

region                                  the region of interest
[privacy] zones                         a mask
[[rules]] polygon, zones, line, way, points    of the rule with this number
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ..config.configuration import Name
from ..errors import ConfigProblem

MAX_SHAPES = 64
MAX_POINTS = 64
Key = Literal["region", "privacy", "polygon", "zones", "line", "way", "points"]
OF_CAMERA = ("region", "privacy")
"""Shapes that belong to no rule."""
RULE_KEYS = ("polygon", "zones", "line", "way", "points")
"""Keys of a `[[rules]]` table that a shape stands for."""
REQUIRED = {
    "zone": ("polygon", "zones"),
    "crossing": ("line",),
    "intrusion": ("polygon", "zones"),
    "tailgate": ("line",),
    "wrong_way": ("way",),
    "speed": ("points",),
}
"""Rules that are nothing without one of these keys."""
AREA_RULES = (
    "zone",
    "dwell",
    "crowd",
    "intrusion",
    "queue",
    "wrong_way",
    "speed",
    "running",
    "lying",
    "fall",
    "left_object",
    "removed_object",
)
"""Rules that take a part of the frame."""
NEW_RULES = {"zone": "zones", "crossing": "line", "wrong_way": "way"}
"""Rules that a shape can begin, by its key."""

Coordinate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the shapes."""

    key: Key
    points: Annotated[list[tuple[Coordinate, Coordinate]], msgspec.Meta(min_length=1, max_length=MAX_POINTS)]
    """[x, y], fractions 0…1 of the frame from the top left."""
    rule: Annotated[int, msgspec.Meta(ge=-1, le=1000)] = -1
    """Number of its rule in the file; -1: of a new rule, or of none."""
    use: str = ""
    """What the rule is."""
    name: str = ""
    """Of the zone, or of its rule."""


class DrawnRule(msgspec.Struct, frozen=True):
    """A rule that shapes may belong to."""

    rule: int
    use: str
    name: str
    has_area: bool
    """Whether it takes zones."""


Shapes = Annotated[list[Shape], msgspec.Meta(max_length=MAX_SHAPES)]


def list_rules(content: dict[str, Any]) -> list[DrawnRule]:
    """The rules of a camera's file."""
    rules = []
    for number, table in enumerate(content.get("rules", [])):
        use = str(table.get("use", ""))
        rules.append(DrawnRule(number, use, str(table.get("name", use)), use in AREA_RULES))
    return rules


def read_shapes(content: dict[str, Any]) -> list[Shape]:
    """The shapes of a camera's file.

    Raises:
        ConfigProblem: a point or a name in it is wrong.
    """
    found: list[dict[str, Any]] = [{"key": "region", "points": content["region"]}] if content.get("region") else []
    found += [{"key": "privacy", "points": points} for points in content.get("privacy", {}).get("zones", [])]
    for rule, table in zip(list_rules(content), content.get("rules", []), strict=True):
        values = {"rule": rule.rule, "use": rule.use}
        for key in RULE_KEYS:
            if key == "zones":
                zones = table.get(key, {})
                found += [values | {"key": key, "name": name, "points": points} for name, points in zones.items()]
            elif key in table:
                found.append(values | {"key": key, "name": rule.name, "points": table[key]})
    try:
        return msgspec.convert(found, Shapes)
    except msgspec.ValidationError as error:
        raise ConfigProblem(f"the camera's file has a shape that is none: {error}", "correct the file") from None


def apply_shapes(content: dict[str, Any], shapes: list[Shape]) -> dict[str, Any]:
    """The content of a camera's file with these shapes instead of its own. A rule that is nothing without its shapes
    goes with them.

    Raises:
        ConfigProblem: a shape fits no rule, two of a rule have the same name, or there are two regions of interest.
    """
    wanted = dict(content)
    regions = [_as_list(shape) for shape in shapes if shape.key == "region"]
    if len(regions) > 1:
        raise ConfigProblem("a camera has one region of interest", "remove the others")
    wanted.pop("region", None)
    if regions:
        wanted["region"] = regions[0]
    masks = [_as_list(shape) for shape in shapes if shape.key == "privacy"]
    if masks != content.get("privacy", {}).get("zones", []):
        wanted["privacy"] = content.get("privacy", {}) | {"zones": masks}
    rules: list[dict[str, Any]] = []
    for number, table in enumerate(content.get("rules", [])):
        drawn = _as_keys([shape for shape in shapes if shape.key not in OF_CAMERA and shape.rule == number])
        required = REQUIRED.get(str(table.get("use")), ())
        if required and not any(key in drawn for key in required):
            continue
        rules.append({key: value for key, value in table.items() if key not in RULE_KEYS} | drawn)
    names = {str(table.get("name", table.get("use"))) for table in rules}
    for shape in shapes:
        if shape.key not in OF_CAMERA and shape.rule == -1:
            rules.append(_make_rule(shape, names))
        elif shape.rule >= len(content.get("rules", [])):
            raise ConfigProblem(f"the file has no rule {shape.rule}", "load the page again")
    wanted["rules"] = rules
    return wanted


def _make_rule(shape: Shape, names: set[str]) -> dict[str, Any]:
    if NEW_RULES.get(shape.use) != shape.key:
        raise ConfigProblem(f"no rule {shape.use!r} begins with {shape.key}", "load the page again")
    name, number = shape.name or shape.use, 2
    while name in names:
        name, number = f"{shape.name or shape.use}-{number}", number + 1
    names.add(name)
    return {"use": shape.use, "name": name} | _as_keys([shape])


def _as_keys(shapes: list[Shape]) -> dict[str, Any]:
    """The keys of a rule for its shapes."""
    keys: dict[str, Any] = {}
    for shape in shapes:
        if shape.key != "zones":
            keys[shape.key] = _as_list(shape)
            continue
        zones = keys.setdefault("zones", {})
        try:
            name = msgspec.convert(shape.name, Name)
        except msgspec.ValidationError:
            hint = "use letters, digits, dots, dashes and _"
            raise ConfigProblem(f"{shape.name!r} is no name of a zone", hint) from None
        if name in zones:
            raise ConfigProblem(f"two zones of a rule are named {name!r}", "give each zone a name of its own")
        zones[name] = _as_list(shape)
    return keys


def _as_list(shape: Shape) -> list[list[float]]:
    return [list(point) for point in shape.points]
