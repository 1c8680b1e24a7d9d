"""The words about a change of a camera's file that its script needs."""

from __future__ import annotations

from .translation import Translation


def change_texts(_: Translation) -> dict[str, str]:
    """The texts by the name that the script knows them by."""
    return {
        "offline": _("The page does not answer. It tries again."),
        "waiting": _("The device checks the change and tries it …"),
        "late": _("No result yet. The health view shows what becomes of it."),
        "same": _("This is what the file says already."),
    }
