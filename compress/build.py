"""A build: images and a goal become a signed bundle. Read from top to bottom, this is the product.

goal         accuracy, milliseconds, bytes and false alarms to reach, and on which device
task         the kind of answer; compress/tasks does the steps that depend on it
split        images are audited and split by purpose: fit, calibrate, threshold, test. Groups stay whole
train        a float model, the reference for every figure, and the same model in int8
models       float ONNX, int8 ONNX, and int8 TFLite with the same integers
parity       both int8 files give the same integers on every test image, or nothing is judged by them
threshold    the decision threshold, chosen on held-out images, with the error rate that they prove
evaluate     all three models on the test images, through the code that runs on the device
costs        instructions, milliseconds and bytes on the device
review       what compression added, and what the model does under noise, triggers and an attack
verdict      results, costs and review compared with the goal
bundle       models, golden outputs and report, with digests and a signature
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette import devices
from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.errors import locate_errors
from vedette.runtime.progress import Log, Progress, no_log, no_progress

from . import tasks
from .cost import remote_benchmark
from .cost.device_costs import DeviceCosts
from .cost.model_costs import measure_costs
from .data import privacy_zones
from .data.privacy_zones import with_black_zones
from .data.split import Split, model_inputs
from .data.stratified_split import StratifiedSplit
from .evaluation import bundle_members
from .evaluation.built_models import FLOAT, BuiltModels
from .evaluation.file_parity import measure_parity
from .evaluation.model_runners import measure_speed
from .evaluation.previous_release import open_previous
from .evaluation.release_comparison import ReleaseComparison
from .evaluation.results import Results
from .export import bill_of_materials, bundle_writer
from .goal import goal_reader
from .goal.goal_tables import DeviceTable, Goal
from .quantization.layer_errors import MAX_IMAGES, LayerErrors, measure_layer_errors
from .report.compression_steps import list_compression_steps
from .report.html_report import Report, render_html, render_json
from .report.verdict import Verdict, judge
from .review.finding import Review
from .review.review import review_models, review_subject
from .search import search_setup
from .shared_steps import SharedSteps
from .tasks.previous_comparison import compare_with_previous
from .tasks.review_images import make_subject
from .tasks.task import images_by_purpose
from .training.float_and_int8_model import FloatAndInt8Model


class BuildRequest(msgspec.Struct, frozen=True):
    """What to build, and where."""

    goal_file: Path
    out: Path
    """Folder for the bundle and the report."""
    key: Ed25519PrivateKey
    """Signs the bundle."""
    search_seconds: float | None = None
    """Time for a search for the best design; None: as in the recipe, and without a search there, none."""
    study_url: str | None = None
    """Database of the search; None: a file in the work folder."""
    profile: DeviceProfile | None = None
    """The target device, as measured there; None: the profile that the goal file names."""
    remote_url: str | None = None
    """`ssh://user@host` of a device that measures the finished models; None: no device measures them."""
    work_folder: Path | None = None
    """Folder for the state of a search and of long training; None: `NAME.work` in `out`."""
    previous: Path | None = None
    """Bundle of the release before, which the new one is compared with; None: there is none."""


class BuildResult(msgspec.Struct, frozen=True):
    """Files and figures of a build."""

    bundle: Path
    report: Path
    split: Split | StratifiedSplit
    manifest: Manifest
    results: Results
    costs: DeviceCosts
    verdict: Verdict
    review: Review
    comparison: ReleaseComparison | None = None

    @property
    def goal_met(self) -> bool:
        return self.manifest.goal_met  # unlike the verdict it knows whether compiled models are too large

    def to_json(self) -> dict[str, Any]:
        """What `vedette build --json` prints."""
        return {
            "bundle": str(self.bundle),
            "report": str(self.report),
            "verdict": self.verdict.outcome,
            "goal_met": self.goal_met,
            "missed": self.manifest.missed,
            "unproven": self.verdict.unproven,
            **({} if self.comparison is None else {"comparison": self.comparison.to_json()}),
            **self.manifest.measured,
        }


@with_black_zones
def build(
    request: BuildRequest, progress: Progress = no_progress, log: Log = no_log, steps: SharedSteps | None = None
) -> BuildResult:
    """Build `OUT/NAME.vedette`, signed, and beside it the report and the float model.

    Args:
        request: what to build
        progress: shows the progress of long loops
        log: receives a line for each step
        steps: results for other devices, from the same images and goal; None: there are none

    Raises:
        ConfigProblem: the goal file, the images or the folder `out` are not usable; nothing was written.
        BundleProblem: the previous release cannot be used; nothing was written.
        MachineProblem: the remote device cannot be reached, or cannot measure; nothing was written.
    """
    goal, device = read_goal(request.goal_file, request.profile)
    previous, goal = open_previous(request.previous, request.key, goal)
    base, work_folder = request.goal_file.parent, request.work_folder or request.out / f"{goal.name}.work"
    steps = steps or SharedSteps()
    steps.begin(device.name, log)
    if request.remote_url is not None:
        remote_benchmark.check_device(request.remote_url)
    bundle_writer.check_output_folder(request.out)
    with locate_errors(request.goal_file):
        setup = search_setup.set_up(goal, request.search_seconds, request.study_url, work_folder, device)
        task = tasks.load(goal, device)
        data = steps.run(None, "reading the images", task.split, base, progress, log)
    images = images_by_purpose(task.purposes, data.images)
    test_images = [*images["test"], *images.get("defect", [])]
    timed_images = test_images or images["fit"]

    trained_for = device.name if task.trains_for_device else None
    training = steps.run(
        trained_for,
        f"training {task.description} on {len(images['fit'])} images",
        task.train,
        data,
        setup,
        work_folder,
        progress,
        log,
    )
    trained = training.model
    models = BuiltModels(goal, trained.float_model, trained.int8_model, trained.manifest_fields, trained.inspector)

    parity = steps.run(
        models.digest, "comparing the two int8 files", measure_parity, models, progress(timed_images, "parity")
    )
    if not parity.holds:
        log(f"THE TWO INT8 FILES ARE NOT THE SAME MODEL: {parity.reason}")

    choosing = f"choosing the threshold on {len(images['threshold'])} images"
    thresholds = steps.run(models.digest, choosing, task.choose_threshold, models, data)
    predictions = steps.run(
        models.digest, f"evaluating on {len(test_images)} test images", task.predict, models.runners, data, progress
    )
    metrics = task.compute_metrics(predictions, data, training, thresholds)
    compared = compare_with_previous(previous, goal.release, models, data, thresholds, predictions, base, log)
    results = Results(
        metrics=metrics,
        timings=steps.run(models.digest, "timing the models here", measure_speed, models.runners, timed_images[0]),
        sizes=models.sizes,
        parity=parity,
    )

    members = bundle_members.list_members(models, task.golden_inputs(data), images["fit"], goal.data.pictures)
    if request.remote_url is not None:
        log(f"measuring on {request.remote_url}")
    costs = measure_costs(models, device, results.timings, members, request.key, request.remote_url)
    measured = results.to_manifest() | costs.to_manifest() | models.float_digest | privacy_zones.manifest_fields(goal)
    fields = task.manifest_fields(data, thresholds) | bundle_members.list_pictures(members)
    described = msgspec.structs.replace(models.manifest, **fields, measured=measured)
    members[bill_of_materials.MEMBER] = bill_of_materials.render_bill(
        described, models.files, bill_of_materials.find_weight_files(goal.model, base)
    )
    subject = make_subject(models, described, members, data, device)
    reviewed = steps.run(models.digest, "reviewing the security of the model", review_models, subject)
    review = review_subject(subject, goal.name, reviewed)
    verdict = judge(goal, results, costs, review)

    layer_errors = steps.run(
        models.digest, "measuring the error of each layer", _explain_loss, models, trained, images["calibrate"]
    )

    log("writing the report and signing the bundle")
    manifest = msgspec.structs.replace(
        described, goal_met=verdict.met, missed=verdict.missed, unproven=verdict.unproven
    )
    context = task.report_context(predictions, data, training, thresholds)
    report = Report(
        manifest=manifest,
        verdict=verdict,
        results=results,
        costs=costs,
        compression_steps=list_compression_steps(context.earlier_steps, results, costs, trained.float_model),
        quantization_steps=trained.steps,
        layer_errors=layer_errors,
        review=review,
        context=context,
        comparison=compared,
    )
    members["report.html"] = render_html(report)
    members["report.json"] = render_json(report, images, data.images.audit, base)
    manifest, content = bundle_writer.sign_bundle(manifest, members, request.key)
    bundle, page = bundle_writer.write_build(request.out, goal.name, models.files[FLOAT], members, content)
    return BuildResult(bundle, page, data.images, manifest, results, costs, verdict, review, compared)


def read_goal(goal_file: Path, profile: DeviceProfile | None = None) -> tuple[Goal, DeviceProfile]:
    """The goal and its target device; `profile` replaces the device that the goal file names.

    Raises:
        ConfigProblem: the goal file is not usable.
    """
    goal = goal_reader.read_goal(goal_file)
    if profile is None:
        return goal, devices.load_profile(goal.device.profile)
    return msgspec.structs.replace(goal, device=DeviceTable(profile.name)), profile


def _explain_loss(models: BuiltModels, trained: FloatAndInt8Model, calibrate: Sequence[Path]) -> LayerErrors:
    """Quantization error of each layer, on a few calibration images."""
    images = list(model_inputs(calibrate[:MAX_IMAGES], models.manifest.input, models.inspector))
    return measure_layer_errors(trained.float_reference, trained.int8_model, images, models.manifest)
