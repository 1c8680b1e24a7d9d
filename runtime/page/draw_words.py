"""The words of the view Draw that its script needs."""

from __future__ import annotations

from .change_views import words_of_changes
from .translation import Translation


def draw_texts(_: Translation) -> dict[str, str]:
    """The texts by the name that the script knows them by; %s stands for a name or a number."""
    return words_of_changes(_) | {
        "region": _("Region of interest"),
        "privacy": _("Privacy mask"),
        "polygon": _("Zone"),
        "zones": _("Zone"),
        "line": _("Line"),
        "way": _("Direction"),
        "points": _("Ground for the speed"),
        "new-zone": _("New rule: zone"),
        "new-crossing": _("New rule: line"),
        "new-wrong_way": _("New rule: direction"),
        "zone-of": _("Zone of the rule"),
        "new": _("new"),
        "point": _("Point"),
        "left": _("from the left"),
        "top": _("from the top"),
        "middle": _("Add a point here"),
        "remove": _("Remove"),
        "nothing": _("Nothing is drawn yet."),
        "no-picture": _("No picture. You can draw all the same."),
    }
