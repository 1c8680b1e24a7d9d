"""What is private in stored pictures because of what the model found: heads, and vehicles with their plates."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import msgspec
import numpy as np
import pytest
from events import make_event

from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.camera_tables import PrivacySettings
from vedette.runtime.config.evidence_table import EvidenceSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evidence.private_boxes import PrivateBoxes, cover_boxes, open_private_boxes
from vedette.runtime.evidence.recorder import EvidenceRecorder
from vedette.runtime.inference.prediction import Box, Prediction

ROAD, PARTS = (SimpleNamespace(labels=labels, task="detect") for labels in (("dog", "Car"), ("scratch",)))
CAR, DOG = Box(0.25, 0.5, 0.5, 0.75), Box(0.7, 0.1, 0.9, 0.3)
NOISE = np.random.default_rng(3).integers(0, 256, (240, 320, 3)).astype(np.uint8)
PICTURE = cv2.resize(NOISE[:60, :80], (320, 240), interpolation=cv2.INTER_NEAREST)
CAR_PLACE, DOG_PLACE = ((slice(120, 180), slice(80, 160)), (slice(24, 72), slice(224, 288)))


def seen(label, box):
    return Prediction(label=label, score=0.9, box=box)


def settings_with(plates, tmp_path=None, **evidence):
    return SimpleNamespace(
        privacy=PrivacySettings(number_plates=plates),
        evidence=EvidenceSettings(**evidence),
        camera="gate",
        camera_file="gate.toml",
        state_folder=tmp_path,
        outbox=SimpleNamespace(min_free=0),
    )


def hide(prediction, size=(240, 320), **kinds):
    """Noise with what is hidden because of one prediction, and where it differs from the noise."""
    noise = np.random.default_rng(4).integers(0, 256, (*size, 3)).astype(np.uint8)
    hidden = cover_boxes(noise, PrivateBoxes(**kinds).find_in_frame([prediction], size))
    return hidden, (hidden != noise).any(axis=2)


def find(boxes, moment, predictions, size=NOISE.shape):
    """What is hidden in the next frame."""
    boxes.see(moment, predictions)
    return boxes.find(size)


def difference(picture, place):
    return np.abs(picture.astype(int)[place] - PICTURE.astype(int)[place]).mean()


@pytest.mark.parametrize(
    ("mode", "manifest", "hides"),
    [("auto", ROAD, True), ("auto", PARTS, False), ("hide", ROAD, True), ("show", ROAD, False), ("show", PARTS, False)],
)
def test_plates_are_hidden_by_default_where_the_bundle_knows_vehicles(mode, manifest, hides):
    assert open_private_boxes(settings_with(mode), [PARTS, manifest], hides_faces=False).hides_plates == hides


def test_plates_cannot_be_hidden_by_a_bundle_without_vehicles():
    with pytest.raises(ConfigProblem, match=r"gate\.toml: .*knows no vehicles") as caught:
        open_private_boxes(settings_with("hide"), [PARTS], hides_faces=False)
    assert "motorcycle" in caught.value.hint


def test_cells_of_a_vehicle_are_square_whatever_its_shape():
    hidden, changed = hide(seen("car", Box(0.1, 0.45, 0.9, 0.55)), hides_plates=True)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    inside = hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert inside.shape[1] > 8 * inside.shape[0]
    across, down = len(np.unique(inside[0], axis=0)), len(np.unique(inside[:, 0], axis=0))
    assert across == 12
    assert down == 1


@pytest.mark.parametrize("seen_part", [1.0, 0.6, 0.4])
def test_plate_of_a_car_that_is_partly_in_view_has_few_cells(seen_part):
    """The plate is 0.29 of the car's width of 300 pixels, as of one that is seen from the front."""
    size, left = (300, 600), 600 - round(300 * seen_part)
    left = 150 if seen_part == 1.0 else left
    box = Box(left / 600, 0.3, (left + 300 * seen_part) / 600, 0.6)
    (place,) = PrivateBoxes(hides_plates=True).find_in_frame([seen("car", box)], size)
    assert 0.29 * 300 / place.cell < 4.5


@pytest.mark.parametrize("label", ["License_Plate", "number-plate"])
def test_plate_that_the_model_knows_is_two_cells_wide(label):
    (place,) = PrivateBoxes(hides_plates=True).find_in_frame([seen(label, Box(0.4, 0.5, 0.6, 0.55))], NOISE.shape)
    assert place.cell >= 0.1 * 320


def test_time_that_goes_back_forgets_what_was_seen():
    boxes = PrivateBoxes(hides_plates=True)
    find(boxes, 10.0, [seen("car", CAR)])
    assert find(boxes, 2.0, []) == []


def test_nothing_is_hidden_without_a_vehicle():
    assert not hide(seen("dog", CAR), hides_plates=True)[1].any()
    assert cover_boxes(NOISE, []) is NOISE


@pytest.mark.parametrize(
    ("box", "head"),
    [
        (Box(0.4, 0.2, 0.6, 0.9), Box(0.4, 0.2, 0.6, 0.375)),  # stands
        (Box(0.2, 0.1, 0.8, 0.9), Box(0.2, 0.1, 0.8, 0.46)),  # portrait: the head takes half of the box
        (Box(-0.1, 0.95, 0.1, 1.2), Box(0.0, 0.95, 0.1, 1.0)),  # at the edge of the frame
    ],
)
def test_head_of_a_person_is_hidden_and_the_rest_is_unchanged(box, head):
    hidden, changed = hide(seen("person", box), (300, 300), hides_faces=True)
    place = (
        slice(round(head.top * 300), round(head.bottom * 300)),
        slice(round(head.left * 300), round(head.right * 300)),
    )
    assert changed[place].mean() > 0.95
    assert len(np.unique(hidden[place].reshape(-1, 3), axis=0)) <= 64
    assert changed.sum() < 1.6 * changed[place].sum()
    assert not hide(seen("person", box), hides_plates=True)[1].any()


def test_what_is_missed_for_a_moment_stays_hidden():
    boxes = PrivateBoxes(hides_plates=True)
    car = find(boxes, 10.0, [seen("car", CAR), seen("dog", DOG)])
    assert len(car) == 1
    assert find(boxes, 10.4, []) == car
    assert find(boxes, 10.6, []) == []


def test_frame_may_change_its_size():
    boxes = PrivateBoxes(hides_plates=True)
    find(boxes, 10.0, [seen("car", Box(0.7, 0.7, 1.0, 1.0))], (480, 640))
    small = NOISE[:120, :160]
    hidden = cover_boxes(small, find(boxes, 10.1, [], small.shape))
    assert (hidden != small)[90:, 120:].mean() > 0.9


def test_vehicle_without_a_box_hides_the_whole_frame():
    assert hide(seen("truck", None), hides_plates=True)[1].mean() > 0.99


@pytest.mark.parametrize("blur", ["", "people"])
def test_what_the_rules_do_not_see_is_hidden_too(blur, tmp_path):
    """A region of interest keeps it from the rules."""
    outside = (seen("car", CAR), seen("person", Box(0.6, 0.5, 0.9, 0.9)))
    config = settings_with("auto", tmp_path, thumbnail="jpeg", whole_frame=True, max_bytes=200_000, blur=blur)
    predictor = SimpleNamespace(found=outside, explain=lambda _: None)
    recorder = EvidenceRecorder(config, SimpleNamespace(put_system_event=lambda *_: None), [ROAD], predictor)
    recorder.start()
    event = msgspec.structs.replace(make_event(), predictions=(seen("dog", DOG),))
    recorder.add_frame(Frame("gate", event.frame, event.taken, PICTURE, 0.0), event.predictions)
    recorder.attach(event)
    recorder.keep_part("01890a5d-ac96-774b-bcce-b302099a8057", Frame("gate", 1, 1.0, PICTURE, 1.0), event.predictions)
    recorder.close()
    pictures = sorted(config.evidence.store_folder("gate", tmp_path).rglob("*.jpg"))
    assert len(pictures) == 2
    for path in pictures:
        picture = cv2.resize(cv2.imread(str(path)), (320, 240), interpolation=cv2.INTER_AREA)
        assert difference(picture, CAR_PLACE) > 40
        assert (difference(picture, (slice(130, 210), slice(200, 280))) > 40) == (blur == "people")
        assert difference(picture, DOG_PLACE) < 25


@pytest.mark.parametrize("blur", ["", "surroundings", "people"])
@pytest.mark.parametrize("subject", ["car", "dog"])
def test_stored_thumbnail_and_clip_show_no_plate(subject, blur, tmp_path):
    found = [seen("car", CAR), seen("dog", DOG)]
    config = settings_with(
        "auto", tmp_path, thumbnail="jpeg", whole_frame=True, max_bytes=200_000, clip_seconds=1.0, blur=blur
    )
    recorder = EvidenceRecorder(config, SimpleNamespace(put_system_event=lambda *_: None), [ROAD])
    recorder.start()
    for number in range(6):
        event = msgspec.structs.replace(
            make_event(number), predictions=tuple(each for each in found if each.label == subject)
        )
        recorder.add_frame(Frame("gate", event.frame, event.taken, PICTURE, number / 5), found)
        recorder.attach(event)
    recorder.close()
    folder = config.evidence.store_folder("gate", tmp_path)
    thumbnails, clips = sorted(folder.rglob("*.jpg")), sorted(folder.rglob("*.mp4"))
    assert len(thumbnails) == 6
    assert clips
    shown = [cv2.imread(str(thumbnails[0])), cv2.VideoCapture(str(clips[0])).read()[1]]
    for picture in (cv2.resize(each, (320, 240), interpolation=cv2.INTER_AREA) for each in shown):
        assert difference(picture, CAR_PLACE) > 40
        assert difference(picture, DOG_PLACE) < 25 or (blur == "surroundings" and subject == "car")
