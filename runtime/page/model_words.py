"""Releases, installations and rollbacks in words: what is, and what would change."""

from __future__ import annotations

import msgspec

from ..installation.installation_preview import InstallationPreview
from ..installation.probation_record import SLOWER, Conditions
from .health_words import Level
from .installed_models import ListedModel, ListedRelease
from .translation import Translation


class ReleaseState(msgspec.Struct, frozen=True):
    """How a release is."""

    text: str
    level: Level
    reason: str = ""
    """Why it was left, as the device noted it, in English."""


def describe_state(model: ListedModel, release: ListedRelease, _: Translation) -> ReleaseState:
    """How a release of a product is."""
    probation = release.probation
    if probation is not None and probation.outcome == "rolled back":
        return ReleaseState(_("rolled back"), "bad", probation.reason)
    if release.number == model.current:
        if probation is not None and probation.outcome == "running":
            minutes = f"{probation.conditions.minutes:g}"
            return ReleaseState(_("current, on probation (%(minutes)s min)", minutes=minutes), "watch")
        if probation is not None:
            return ReleaseState(_("current; it kept to its probation"), "good")
        return ReleaseState(_("current"), "good")
    if release.number == model.previous:
        return ReleaseState(_("the release before; you can go back to it"), "off")
    return ReleaseState(_("left; the next installation deletes it"), "off")


def describe_installation(preview: InstallationPreview, _: Translation) -> list[str]:
    """The sentences that somebody confirms before an installation."""
    key = f"{preview.key_file} ({preview.signer})"
    lines = [
        _(
            "%(product)s, release %(release)s, signed by %(key)s.",
            product=preview.name,
            release=preview.release,
            key=key,
        )
    ]
    if preview.current is None:
        lines.append(_("No release of this product is installed yet."))
    elif preview.current == preview.release:
        lines.append(_("This release is current already; it is installed again."))
    else:
        lines.append(
            _(
                "Release %(current)s runs now; %(release)s replaces it.",
                current=preview.current,
                release=preview.release,
            )
        )
    lines.append(_cameras_that_change(preview.cameras, _))
    if preview.is_return:
        lines.append(_("It is the release before the one on probation: this goes back."))
    elif preview.previous is not None and preview.current != preview.release:
        lines.append(
            _(
                "It is on probation: the device goes back to release %(previous)s by itself if the new one crashes, "
                "decides differently on clearly more than %(band)s of the frames, or is too slow (%(limit)s).",
                previous=preview.previous,
                band=f"{Conditions().band:.0%}",
                limit=_describe_time_limit(preview, _),
            )
        )
    if preview.rolled_back:
        lines.append(_("Careful: the device left this release before: %(reason)s.", reason=preview.rolled_back))
    before = preview.threshold_before
    if before is not None and abs(preview.threshold - before) > 0.005 * before:  # not seen in three digits
        values = {"new": f"{preview.threshold:.4g}", "before": f"{before:.4g}"}
        lines.append(_("Its threshold is %(new)s; it was %(before)s. Rules with one of their own keep it.", **values))
    if preview.removed:
        removed = ", ".join(map(str, preview.removed))
        lines.append(_("Deleted from the device: release %(removed)s.", removed=removed))
    lines.append(_("Risk found by the security review of its build: %(review)s.", review=preview.review))
    return lines


def describe_rollback(model: ListedModel, _: Translation) -> list[str]:
    """The sentences that somebody confirms before a rollback."""
    lines = [
        _(
            "%(product)s goes back from release %(current)s to release %(previous)s.",
            product=model.name,
            current=model.current,
            previous=model.previous,
        ),
        _cameras_that_change(model.cameras, _),
    ]
    left = next((each for each in model.releases if each.number == model.current), None)
    if left is not None and left.probation is not None and left.probation.outcome == "running":
        lines.append(_("This ends the probation of release %(current)s.", current=model.current))
    lines.append(
        _(
            "There is no further step back. To go forward, install release %(current)s again.",
            current=model.current,
        )
    )
    return lines


def words_of_models(_: Translation) -> dict[str, str]:
    """The words that models.js needs."""
    return {
        "offline": _("The page does not answer. It tries again."),
        "sending": _("Sending the file …"),
        "checking": _("The device verifies the bundle …"),
        "installing": _("The device tries the models and installs them. This takes up to a few minutes."),
        "returning": _("The device goes back …"),
        "too-large": _("The file is too large: a bundle has at most %s MiB."),
        "choose": _("Choose a file first."),
        "install": _("Install"),
        "install-title": _("Install this bundle?"),
        "back": _("Go back"),
        "back-title": _("Go back to the release before?"),
        "late": _("The device still works on it. This list shows how it ends."),
    }


def _describe_time_limit(preview: InstallationPreview, _: Translation) -> str:
    if preview.max_ms is not None:
        limit = f"{preview.max_ms:g}"
        return _("95 of 100 frames take more than %(limit)s ms, and the one before is faster", limit=limit)
    return _("%(times)s times as long as the one before", times=f"{SLOWER:g}")


def _cameras_that_change(cameras: tuple[str, ...], _: Translation) -> str:
    if not cameras:
        return _("No camera runs this product. To let one run it: vedette install BUNDLE --camera NAME, on the device.")
    names = ", ".join(cameras)
    return _("These cameras change to it within seconds, with a short gap: %(cameras)s.", cameras=names)
