"""Events about the device itself are told as sentences; what a change left to do is told as that."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from page_client import PageClient, make_app
from page_site import make_status

from vedette.deploy.setup import request_applier
from vedette.deploy.setup.request_applier import RequestApplier
from vedette.runtime.calibration.drift import DriftFigures
from vedette.runtime.events.event import SystemEvent
from vedette.runtime.events.system_events import SYSTEM_EVENTS
from vedette.runtime.installation.configuration.change_requests import request_change
from vedette.runtime.page.health_views import mention_rollback
from vedette.runtime.page.health_words import describe_report
from vedette.runtime.page.notice_words import describe_notice, level_of
from vedette.runtime.page.translation import load_translation

ENGLISH = load_translation("en")
CAMERA = 'source = "file:none"\nbundle = "installed:weave"\n[[rules]]\nuse = "presence"\n'
WITH_EACH = {"part.verdict", "evidence.clip"}


def make_notice(kind: str, age: float = 0.0, **facts: object) -> SystemEvent:
    rule, _, name = kind.partition(".")
    return SystemEvent("id", "belt", rule, name, time.time() - age, dict(facts))


@pytest.mark.parametrize("kind", sorted(SYSTEM_EVENTS.keys() - WITH_EACH))
def test_every_kind_is_a_sentence(kind: str) -> None:
    text = describe_notice(make_notice(kind, seconds=3.0), ENGLISH)
    assert text[0].isupper()
    assert text.endswith(".")
    assert "None" not in describe_notice(make_notice(kind, seconds=3.0, release=1, left=2, count=3), ENGLISH)


def test_reasons_are_told_and_other_kinds_do_no_harm() -> None:
    told = describe_notice(make_notice("model.rolled_back", release=1, left=2, reason="76 ms"), ENGLISH)
    assert told == "Release 2 did not keep to its probation; release 1 runs again. 76 ms"
    assert describe_notice(make_notice("later.kind"), ENGLISH) == "later kind"
    assert level_of(make_notice("model.drift", drifted=True)) == "watch"
    assert level_of(make_notice("model.drift", drifted=False)) == "good"


def test_a_release_that_was_left_needs_attention_for_a_day() -> None:
    health = describe_report(make_status("belt"), ENGLISH)
    left = make_notice("model.rolled_back", 60.0, release=1, left=2, reason="too slow")
    told = mention_rollback(health, [left], ENGLISH)
    assert (told.level, told.facts[0].level) == ("watch", "watch")
    assert "too slow" in told.facts[0].value
    assert mention_rollback(health, [make_notice("model.accepted"), left], ENGLISH) == health, (
        "a later one was accepted"
    )
    assert mention_rollback(health, [msgspec.structs.replace(left, taken=time.time() - 90_000)], ENGLISH) == health
    assert mention_rollback(health, [msgspec.structs.replace(left, camera="door")], ENGLISH) == health


def test_few_scores_prove_nothing() -> None:
    few, many = (DriftFigures(samples, 1.0, 0.0, 0.2) for samples in (12, 500))
    facts = [describe_report(make_status("belt", drift=each), ENGLISH).facts for each in (few, many)]
    texts = [next(fact.value for fact in each if fact.name == "Scores of good parts") for each in facts]
    assert texts[0] == "no drift is proven; only 12 scores so far, too few to say"
    assert texts[1].startswith("no drift is proven; 100% above and 0% below")
    assert texts[1].endswith("of the last 200 scores")


def test_a_change_that_is_not_in_use_is_not_called_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "vedette.toml").write_text('[device]\nname = "box"\n[page]\nlisten = "127.0.0.1:8080"\n')
    (tmp_path / "cameras" / "door.toml").write_text(CAMERA)
    monkeypatch.setattr(request_applier, "_check_as_service", lambda *_: None)
    client = PageClient(make_app(tmp_path))
    answers = []
    for number, left in enumerate(([], ["systemctl restart vedette@door"])):
        text = f"{CAMERA}debounce = {2 + number}\n"
        identity = request_change(tmp_path / "state", "door", text, "page", "somebody", folder=tmp_path)
        RequestApplier(tmp_path, 0, lambda *_, left=left: left).apply_all()
        answers.append(msgspec.json.decode(client.get(f"/changes/door/{identity}").body))
    applied, waiting = answers
    assert (applied["message"], applied["level"], applied["commands"]) == (
        "Applied. The camera runs with it.",
        "good",
        [],
    )
    assert (waiting["outcome"], waiting["level"]) == ("applied", "watch")
    assert waiting["message"].startswith("Saved, but not in use yet")
    assert waiting["commands"] == ["systemctl restart vedette@door"]
