"""Events and reports in Frigate's form: the shape that its documentation gives, and what they mean."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from frigate_schemas import BY_TOPIC
from jsonschema import Draft202012Validator
from published import PERSON, make_context, make_event, make_manifest, make_report, publish

from vedette.runtime.events.event import Attachment, SubjectState
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.integrations.frigate import Frigate
from vedette.runtime.integrations.frigate_mapping import make_topic_level, scale_score

TABLE = '[frigate]\ntopic_prefix = "frigate"\n'


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path, TABLE)


def read(messages):
    """The payloads by topic below the prefix; JSON is held against the documented shape."""
    found = {}
    for message in messages:
        topic = message.topic.removeprefix("frigate/")
        body = message.payload
        if schema := BY_TOPIC.get(topic):
            body = json.loads(body)
            Draft202012Validator(schema).validate(body)
        found[topic] = body
    return found


def show(frigate, event):
    return read(frigate.messages_for_event(publish(event, frigate.context.topics)))


def test_event_from_new_to_end(context):
    frigate = Frigate(context)
    first = make_event()
    opened = show(frigate, first)
    changed = show(frigate, make_event("update", 5, first, top_score=0.9))
    closed = show(frigate, make_event("end", 9, first, top_score=0.9))
    after = opened["events"]["after"]
    assert [each["events"]["type"] for each in (opened, changed, closed)] == ["new", "update", "end"]
    assert (after["label"], after["score"], after["start_time"], after["end_time"]) == ("person", 0.75, 1e9, None)
    assert after["box"] == [320, 360, 640, 720]
    assert after["area"] == 320 * 360
    assert changed["events"]["before"] == after
    assert changed["events"]["after"]["top_score"] == 0.9
    assert closed["events"]["before"] == changed["events"]["after"]
    assert closed["events"]["after"]["end_time"] == 1e9 + 9
    assert len({each["events"]["after"]["id"] for each in (opened, changed, closed)}) == 1


def test_counts_follow_open_events_and_one_track_counts_once(context):
    frigate = Frigate(context)
    assert read(frigate.messages_on_connect())["door/all"] == b"0"
    one, again, other = make_event(track=7), make_event(track=7), make_event(predictions=(Prediction("car", 0.9),))
    assert show(frigate, one)["door/person"] == b"1"
    assert show(frigate, again)["door/person"] == b"1"
    counted = show(frigate, other)
    assert (counted["door/person"], counted["door/car"], counted["door/all"]) == (b"1", b"1", b"2")
    for event in (one, again):
        counted = show(frigate, make_event("end", 5, event, track=7))
    assert (counted["door/person"], counted["door/person/active"], counted["door/all"]) == (b"0", b"0", b"1")


def test_review_spans_overlapping_events(context):
    frigate = Frigate(context)
    one, two = make_event(), make_event(number=1, predictions=(Prediction("car", 0.9),))
    first, second = show(frigate, one), show(frigate, two)
    third, last = show(frigate, make_event("end", 2, one)), show(frigate, make_event("end", 3, two))
    assert first["reviews"]["type"] == "new"
    assert first["door/review_status"] == b"ALERT"
    assert second["reviews"]["type"] == "update"
    assert second["reviews"]["before"] == first["reviews"]["after"]
    assert second["reviews"]["after"]["data"]["objects"] == ["person", "car"]
    assert "reviews" not in third
    assert last["reviews"]["type"] == "end"
    assert last["reviews"]["after"]["end_time"] == 1e9 + 3
    assert last["reviews"]["after"]["data"]["detections"] == [each["events"]["after"]["id"] for each in (first, second)]
    assert last["door/review_status"] == b"NONE"
    assert show(frigate, make_event(number=9))["reviews"]["after"]["id"] != first["reviews"]["after"]["id"]


def test_zones_and_speed_come_from_the_state_after(context):
    state = SubjectState("person", 0.8, PERSON.box, zones=("yard",), entered_zones=("gate", "yard"), speed=12.5)
    after = show(Frigate(context), make_event(after=state, track=3))["events"]["after"]
    assert (after["current_zones"], after["entered_zones"]) == (["yard"], ["gate", "yard"])
    assert after["current_estimated_speed"] == 12.5


def test_event_of_the_whole_frame_without_predictions_has_the_rules_name(context):
    after = show(Frigate(context), make_event(predictions=()))["events"]["after"]
    assert (after["label"], after["box"]) == ("presence", [0, 0, 1280, 720])


def test_end_whose_beginning_was_not_seen_is_told_without_a_review(context):
    found = show(Frigate(context), make_event("end"))
    assert found["events"]["before"]["end_time"] is None
    assert "reviews" not in found
    assert found["door/all"] == b"0"


def test_events_whose_end_is_lost_are_forgotten_with_the_next_report(context):
    frigate = Frigate(context)
    show(frigate, make_event())
    waiting = read(frigate.messages_for_report(make_report(backlog=1)))
    assert (waiting["door/person"], "reviews" in waiting) == (b"1", False)
    found = read(frigate.messages_for_report(make_report()))
    assert (found["door/person"], found["reviews"]["type"]) == (b"0", "end")


def test_stats(context):
    stats = read(Frigate(context).messages_for_report(make_report()))["stats"]
    camera = stats["cameras"]["door"]
    assert (camera["camera_fps"], camera["process_fps"], camera["skipped_fps"]) == (5.0, 3.75, 1.25)
    assert stats["detectors"]["vedette"]["inference_speed"] == 40.0
    assert stats["service"]["temperatures"] == {"device": 51.5}
    empty = make_report(frames=0, frames_per_second=None, temperature=None, duty=None, inferences=0, skipped=0)
    assert read(Frigate(context).messages_for_report(empty))["stats"]["detection_fps"] == 0


def test_anomaly_scores_are_half_at_the_threshold():
    anomaly = make_manifest("anomaly", threshold=12.0)
    scores = [scale_score(score, anomaly) for score in (-1.0, 0.0, 6.0, 12.0, 1000.0)]
    assert scores[:4] == [0.0, 0.0, pytest.approx(1 / 3, abs=1e-6), 0.5]
    assert scores == sorted(scores)
    assert scores[-1] < 1
    assert scale_score(0.7, make_manifest()) == 0.7


def test_labels_are_levels_of_a_topic():
    assert make_topic_level("a/b+c#\x00 d") == "a_b_c__ d"


@pytest.mark.parametrize(
    ("keys", "kind", "sent"), [("snapshots = true", "jpeg", 1), ("", "jpeg", 0), ("snapshots = true", "webp", 0)]
)
def test_snapshot_only_if_pictures_may_leave(tmp_path, keys, kind, sent):
    context = make_context(tmp_path, f"{TABLE}{keys}\n", f'[evidence]\nthumbnail = "{kind}"\n')
    picture = b"\xff\xd8 a picture"
    event = make_event()
    folder = tmp_path / "state" / "door" / "evidence"
    folder.mkdir(parents=True)
    (folder / f"{event.id}.jpg").write_bytes(picture)
    link = f"file:///somewhere/{event.id}.jpg"
    event = msgspec.structs.replace(
        event, evidence=Attachment(hashlib.sha256(picture).hexdigest(), len(picture), "image/jpeg", link)
    )
    messages = Frigate(context).messages_for_event(publish(event, context.topics))
    pictures = [message for message in messages if message.topic.endswith("/snapshot")]
    assert [(each.topic, each.payload, each.retain) for each in pictures] == [
        ("frigate/door/person/snapshot", picture, True)
    ] * sent
    assert read(messages)["events"]["after"]["has_snapshot"]
    (folder / f"{event.id}.jpg").write_bytes(b"another file")
    assert not [m for m in Frigate(context).messages_for_event(publish(event, context.topics)) if m.payload == picture]


def test_available_is_offline_only_with_the_last_camera(tmp_path, context):
    assert read(Frigate(context).messages_on_connect())["available"] == b"online"
    assert read(Frigate(context).messages_on_stop())["available"] == b"offline"
    make_context(tmp_path, TABLE, name="yard")
    stopped = read(Frigate(context).messages_on_stop())
    assert "available" not in stopped
    assert stopped["door/status/detect"] == b"offline"
