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
        "zone-of": _("Zone for the rule"),
        "choose": _("Choose what to draw"),
        "about-privacy": _(
            "This part of the picture becomes black before the model sees it. A model that was built without this "
            "mask may take the black area for an anomaly."
        ),
        "about-region": _(
            "Only what is inside is reported, by all rules. What is outside raises no alarm, and is missed."
        ),
        "about-zone-of": _("This rule then reports only objects in its zones."),
        "about-zone": _(
            "Adds a rule that reports each object in the zone. It silences no other alarm: for that, draw the region "
            "of interest."
        ),
        "about-crossing": _("Adds a rule that reports each object that crosses the line."),
        "about-wrong_way": _("Adds a rule that reports each object that moves against the arrow."),
        "choose-first": _("First choose under Add what to draw. Then drag on the picture."),
        "drag": _("Now drag on the picture, or press Add."),
        "drag-farther": _("Drag from one corner to the opposite one."),
        "region-same": _("The region of interest is in use since %(time)s."),
        "region-other": _("The camera still runs with another region of interest than its file has."),
        "region-not-yet": _("The region of interest of the file is not in use yet."),
        "region-still": _("The camera still runs with a region of interest that its file has no more."),
        "new": _("new rule"),
        "point": _("Point"),
        "left": _("from the left"),
        "top": _("from the top"),
        "middle": _("Add a point here"),
        "remove": _("Remove"),
        "nothing": _("Nothing is drawn yet."),
        "no-picture": _("No picture. You can draw all the same."),
    }
