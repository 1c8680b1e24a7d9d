"""The tables of a goal file as typed structures. goal_reader.py reads and checks a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from vedette.runtime.config.configuration import Name
from vedette.runtime.config.polygon import Polygon, describe_polygon_error

from . import duration
from .augmentation_settings import AugmentationSettings
from .inspection_settings import InspectionSettings
from .recipe import load_recipe

_Fraction = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Side = Annotated[int, msgspec.Meta(ge=64, le=1024, multiple_of=32)]
# No tuple[_Side, _Side]: msgspec 0.22 corrupts memory if an element of a tuple of fixed length is wrong.
_HeightAndWidth = Annotated[tuple[_Side, ...], msgspec.Meta(min_length=2, max_length=2)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]


class _StrictStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class DataSettings(_StrictStruct, frozen=True, kw_only=True):
    """`[data]`: folders, relative to the goal file."""

    good: str = ""
    """A folder of images of good parts; required unless `classes` is set."""
    defect: str | None = None
    """A folder of images of defective parts. They only measure an anomaly model; no fit uses them."""
    test: str | None = None
    """For `anomaly`: a folder with the subfolders `good` and, optionally, `defect`. Its images are the test images, and
    the other parts come from `good` alone."""
    known: str | None = None
    """For `anomaly`: a folder of images of known defects. They are never test images; they help to choose the design,
    and the report gives the share of them that the threshold detects."""
    classes: str | None = None
    """A folder with one subfolder of images for each class."""
    images: str | None = None
    """A folder of unlabeled images, for an imported network. For `detect`: the images that `labels` describes."""
    labels: str | None = None
    """For `detect`: a folder of YOLO files, or a COCO file."""
    footage: str | None = None
    """A folder of recordings of normal behavior, for `behaviour`."""
    abnormal: str | None = None
    """A folder of recordings of abnormal behavior. They only measure a model; no fit uses them."""
    normal: tuple[str, ...] | None = None
    """Classes that count as normal; None: the class `good`, if there is one."""
    mask: str | None = None
    """A folder of masks of the defective images: equal file stem, black where the part is good."""
    list: str | None = None
    """The keep list: a CSV file of the images to use (column file, optionally group). `vedette audit --fix` writes
    it."""
    group: str | None = None
    """The rule that assigns images to groups for the split: `folder`, a CSV file (columns file and group), or a regular
    expression on the path below the folder. Its first capture group (or whole match) names the group."""
    corrections: str | None = None
    """For `anomaly`: a folder that `vedette feedback pull` wrote. False alarms join the good images, right and missed
    alarms the known defects; some days are kept aside to compare releases."""
    score_log: str | None = None
    """For `anomaly`: a CSV file of scores of good parts from the box, which sets the threshold. They must be scores of
    the model that this goal gives."""
    privacy: tuple[Polygon, ...] = ()
    """Privacy zones of the camera, black in every image: polygons of [x, y], fractions 0…1 from the top left."""
    pictures: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0
    """For `anomaly`: so many small pictures of good parts travel in the bundle, and the device shows the most similar
    one beside a reject."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    name: str = ""
    """Name of the data set, for the manifest."""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        for number, zone in enumerate(self.privacy):
            if error := describe_polygon_error(zone):
                raise ValueError(f"privacy[{number}]: {error}")


class DeviceTable(_StrictStruct, frozen=True):
    """`[device]`"""

    profile: str = "host"


class Targets(_StrictStruct, frozen=True):
    """`[goal]`: optional targets. A build checks the targets that are set."""

    min_auroc: _Fraction | None = None
    min_accuracy: _Fraction | None = None
    """Fraction of the test images with a correct most likely class, at any confidence."""
    min_cosine: _Fraction | None = None
    """Cosine similarity of the outputs of an imported network, int8 against float, mean over the test images."""
    min_map50: _Fraction | None = None
    """Mean average precision at IoU 0.5 on the test images."""
    max_drop: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """Largest loss of AUROC, accuracy or mAP50 of the int8 models against the float model, on the test images."""
    max_ms: _Positive | None = None
    """95th percentile of the milliseconds per frame, preprocessing included."""
    max_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    """Largest size of each int8 file in bytes."""
    min_speedup: _Positive | None = None
    """Cost per frame of the unpruned float model, divided by the cost per frame of this model."""
    false_alarm_rate: _Fraction | None = None
    """Largest fraction of good parts that raise an event."""
    min_detection_rate: _Fraction | None = None
    """Smallest fraction of defective parts that raise an event at the chosen threshold."""
    error_rate: _Fraction | None = None
    """Largest fraction of wrong predictions. `unknown` does not count as a prediction."""
    max_review_severity: Literal["info", "low", "medium", "high"] | None = None
    """Most severe finding that the review of the model may have."""
    max_false_alarm_shift: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """Largest rise of the false-alarm rate of the int8 model under any corruption that the review tries."""


class BoxesTable(_StrictStruct, frozen=True):
    """`[model.boxes]`: how the numbers of a cell become a box, for a detector of no known family.

    `runtime/bundle/box_decoding.py` explains `form`, `unit`, `point` and `activation`.
    """

    outputs: tuple[Literal["box", "class", "objectness"], ...] = ("class", "box")
    """What the last convolutions of a level compute, in the order in which the network's outputs use them."""
    joined: bool = False
    """Whether one convolution computes all of it, in this order."""
    form: Literal["distances", "distribution", "center"] = "distances"
    bins: Annotated[int, msgspec.Meta(ge=2, le=64)] = 8
    """Of each side, for `distribution`."""
    unit: Literal["cells", "pixels"] = "cells"
    point: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """None: 0 for `center`, else 0.5."""
    activation: Literal["none", "relu", "exp"] = "none"
    strides: tuple[Annotated[int, msgspec.Meta(ge=1, le=1024)], ...] = ()
    """Input pixels per cell of each level, finest first. Empty: from the sizes."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    """How an image is brought to the size of the input."""
    iou: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.6
    """Of boxes of one class that overlap by more, the one with the highest score stays."""


class ModelTable(_StrictStruct, frozen=True):
    """`[model]`"""

    detector: str = "auto"
    """Name of the anomaly model; `auto`: the build selects the best model for the good images."""
    input: _Side | _HeightAndWidth | Literal["auto"] | None = None
    """Side of the input in pixels; images are scaled to this square. For `anomaly` and `detect` also height and width.
    For `anomaly` also `auto`: the aspect ratio of the images is kept. None: 224, or the result of a search."""
    blocks: tuple[Annotated[int, msgspec.Meta(ge=1, le=15)], ...] | None = None
    """Blocks of the backbone that provide features; None: the build selects the best blocks for the good images."""
    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """For PaDiM: number of feature directions; the model uses those in which good parts vary least. None: all, or the
    result of a search."""
    references: Annotated[tuple[str, ...], msgspec.Meta(max_length=8)] = ()
    """For the golden sample: the good images to compare with, below `data.good`. Empty: the build selects them."""
    spacing: Annotated[float, msgspec.Meta(gt=0, le=5)] = 0.2
    """Seconds between the frames of a difference image, for `behaviour`."""
    epochs: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    """Epochs of fine-tuning of a classifier; 0: the backbone stays frozen and only the head is trained. None: 4 for
    images, 0 for clips."""
    onnx: str | None = None
    """An imported float network, as an ONNX file. This key and the following keys are for imported networks."""
    torch: str | None = None
    """An imported PyTorch network: `module:function`, or a TorchScript file."""
    tflite: str | None = None
    """An imported quantized network of the family `ssd`, as a TFLite file."""
    family: (
        Literal["yolox", "nanodet", "nanodet-plus", "picodet", "rtmdet", "fastestdet", "ssd", "yolov8", "generic"]
        | None
    ) = None
    """For `detect`: the object-detector family. It defines how the outputs are decoded to boxes."""
    boxes: BoxesTable | None = None
    """Describes a detector of the family `generic`."""
    labels: str | None = None
    """A file with the class name of each score, one per line."""
    mean: float | tuple[float, float, float] = 0.0
    """Mean of pixels p of 0…255, for all channels or per channel in the model's order. The input is (p - mean) /
    std."""
    std: float | tuple[float, float, float] = 255.0
    order: Literal["rgb", "bgr"] = "rgb"
    licence: str = "not stated"

    @property
    def side(self) -> int | None:
        """`input` of a task that takes squares only."""
        return self.input if isinstance(self.input, int) else None

    @property
    def is_imported(self) -> bool:
        """Whether the goal names an imported network."""
        return self.onnx is not None or self.torch is not None or self.tflite is not None


class Goal(_StrictStruct, frozen=True, kw_only=True):
    """The content of a goal file."""

    name: Name
    task: Literal["anomaly", "behaviour", "classify", "detect", "embed"]
    data: DataSettings
    release: Annotated[int, msgspec.Meta(ge=1)] = 1
    device: DeviceTable = DeviceTable()
    goal: Targets = Targets()
    model: ModelTable = ModelTable()
    recipe: tuple[dict[str, Any], ...] = ()
    """Techniques and their settings; recipe.py reads them. An omitted technique uses its defaults."""
    inspect: InspectionSettings = InspectionSettings()
    """Which part of an image the model sees, for `anomaly`."""
    augment: AugmentationSettings | None = None
    """Augmentation. None: another lamp alone for `anomaly`, the defaults of `AugmentationSettings` for `classify`."""

    @property
    def search_seconds(self) -> float | None:
        """Time limit of the search for the best design, in seconds; None if the recipe has no search."""
        search = load_recipe(self.recipe).get("search")
        return None if search is None else duration.parse_duration(search.time)
