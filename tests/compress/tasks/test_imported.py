"""Imported networks: reading, exact quantization, builds, verification, and refusal of unsupported networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from paths import SHARED
from shared_build import made_once

from vedette.compress.build import BuildRequest, build
from vedette.compress.evaluation.built_models import draft_manifest
from vedette.compress.evaluation.file_parity import max_output_difference
from vedette.compress.export import onnx2tf_fallback
from vedette.compress.export.tflite import write_tflite
from vedette.compress.export.tflite.operands import UnsupportedOperator
from vedette.compress.goal import goal_reader
from vedette.compress.goal.goal_tables import DataSettings, Goal, ModelTable
from vedette.compress.graph.importers import lowering, onnx_file
from vedette.compress.graph.importers.network_import import load_imported_network
from vedette.compress.quantization.quantize_imported import quantize_post_training as int8_of
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import ModelInput
from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.evaluation.bundle_verification import verify_bundle
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.backends.tflite import TfliteBackend

NETWORK = '''\
"""A small network of a user: its weights come from a seed."""
import torch
from torch import nn


class Shuffled(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        x = torch.cat([x, self.inner(x)], dim=1)
        n, c, h, w = x.shape
        return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


def block(inputs, outputs, act, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), act)


def network(end=None):
    torch.manual_seed(1)
    layers = [
        block(3, 8, nn.SiLU(), 2),
        nn.MaxPool2d(3, 2, 1),
        Shuffled(block(8, 8, nn.LeakyReLU(0.1))),
        Residual(block(16, 16, nn.Hardswish())),
        nn.AvgPool2d(2),
        block(16, 16, nn.ReLU(), 2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    ]
    made = nn.Sequential(*layers, *([end] if end else []))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.02, 0.2)
    return made.eval()


def probabilities():
    return network(nn.Softmax(dim=1))


def something():
    return 3
'''

GOAL = """\
name = "own"
task = "{task}"
[data]
{data}
[goal]
min_cosine = 0.5
[model]
{model}
"""
IMAGES, CLASSES = 'images = "kinds"', "classes = \"kinds\"\ngroup = '^(\\d+)'"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, class_images):
    """A folder with images, and the network as source, as TorchScript, and as ONNX with a dynamic batch."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(class_images / "kinds", folder / "kinds")
    (folder / "own_network.py").write_text(NETWORK)
    scope: dict = {}
    exec(NETWORK, scope)
    example = torch.zeros(1, 3, 64, 64)
    torch.jit.trace(scope["network"](), example).save(folder / "net.pt")
    dynamic = {"image": {0: "batch"}}
    torch.onnx.export(
        scope["probabilities"](), (example,), folder / "net.onnx", dynamo=False, opset_version=17,
        input_names=["image"], dynamic_axes=dynamic,
    )  # fmt: skip
    (folder / "labels.txt").write_text("good\nscratch\nspot\n")
    return folder


def write_goal(folder: Path, task: str, data: str, model: str) -> Path:
    path = folder / "goal.toml"
    path.write_text(GOAL.format(task=task, data=data, model=model))
    return path


SOURCES = ['onnx = "net.onnx"', 'torch = "net.pt"\ninput = 64', 'torch = "own_network:network"\ninput = 64']


@pytest.mark.parametrize("model", SOURCES)
def test_every_source_format_gives_the_same_outputs(model_folder, model):
    scope: dict = {}
    exec(NETWORK, scope)
    model += '\nmean = [10.0, 20.0, 30.0]\nstd = [50.0, 60.0, 70.0]\norder = "bgr"'
    settings = goal_reader.read_goal(write_goal(model_folder, "embed", IMAGES, model)).model
    made, spec = load_imported_network(model_folder, settings, "vector")
    assert (spec.width, spec.height, spec.mean, spec.std) == (64, 64, 0.0, 1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    (got,) = session.run(["vector"], {spec.name: pixels})
    swapped = (pixels[:, ::-1] - np.array([10, 20, 30])[:, None, None]) / np.array([50, 60, 70])[:, None, None]
    with torch.no_grad():
        expected = scope["network"]()(torch.from_numpy(swapped.astype(np.float32))).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_plain_preprocessing_adds_no_operator(model_folder):
    made, spec = load_imported_network(
        model_folder, ModelTable(onnx="net.onnx", mean=127.0, std=128.0, order="bgr"), "vector"
    )
    assert (spec.mean, spec.std) == (127.0, 128.0)
    first = made.graph.node[0]
    assert first.op_type == "Conv"
    assert "normalised" not in first.name


@pytest.fixture(scope="module")
def imported_build(model_folder, build_bundle, tmp_path_factory):
    goal = write_goal(model_folder, "classify", CLASSES, 'onnx = "net.onnx"\nlicence = "Apache-2.0"')
    return made_once(tmp_path_factory, "imported-build", lambda out: build_bundle(goal, out))


def test_build_measures_imported_classifier(imported_build, keyring):
    bundle = Bundle.open(imported_build.bundle, keyring)
    found = bundle.manifest.measured
    assert found["parity_max_steps"] <= 1
    assert found["cosine_int8_onnx"] > 0.98
    assert found["agreement_int8_tflite"] > 0.8
    assert 0 <= found["accuracy_fp32"] <= 1
    assert bundle.manifest.labels == ("good", "scratch", "spot", "unknown")
    assert bundle.manifest.temperature > 0
    assert bundle.manifest.weights[0].name == "net.onnx"
    assert imported_build.verdict.met
    report = verify_bundle(bundle)
    assert report.verified
    assert all(each.max_steps <= 1 for each in report.golden.values())


def test_imported_classifier_can_be_verified_and_run(
    imported_build, keyring, model_folder, key_folder, run_vedette, tmp_path
):
    found = verify_bundle(Bundle.open(imported_build.bundle, keyring), model_folder / "kinds")
    assert found.accuracy_int8_onnx == pytest.approx(found.accuracy_int8_tflite, abs=0.05)
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n[broker]\nurl = "stdout:"\n')
    spots = model_folder / "kinds" / "spot"
    (tmp_path / "cameras" / "door.toml").write_text(
        f'source = "file:{spots}?fps=0"\nbundle = "{imported_build.bundle}"\n[[rules]]\nuse = "presence"\n'
    )
    done = run_vedette("run", "door", "--config", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_embedding_is_built_verified_shown_and_refused_by_run(
    model_folder, key_folder, keyring, run_vedette, call_vedette, tmp_path
):
    goal = write_goal(
        model_folder, "embed", IMAGES, 'torch = "own_network:network"\ninput = 64\nmean = 127.0\nstd = 128.0'
    )
    done = call_vedette("build", goal, "--out", tmp_path / "out", "--key", key_folder / "vedette.key")
    assert done.returncode == 0, done.stderr
    assert "cosine" in done.stdout
    bundle = tmp_path / "out" / "own.vedette"
    manifest = Bundle.open(bundle, keyring).manifest
    assert manifest.output("vector").shape == (1, 3)
    assert manifest.measured["cosine_int8_onnx"] > 0.98
    assert "least like" in (tmp_path / "out" / "own.html").read_text().lower()
    for command in (("verify",), ("show",)):
        done = call_vedette(*command, bundle, "--keys", key_folder)
        assert done.returncode == 0, done.stderr
    done = call_vedette("verify", bundle, "--keys", key_folder, "--data", model_folder)
    assert done.returncode == 2
    assert "no accuracy" in done.stderr
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(f'[device]\nkeys = "{key_folder}"\n[broker]\nurl = "stdout:"\n')
    (tmp_path / "cameras" / "door.toml").write_text(
        f'source = "file:{model_folder / "kinds"}?fps=0"\nbundle = "{bundle}"\n[[rules]]\nuse = "presence"\n'
    )
    done = run_vedette("run", "door", "--config", tmp_path)
    assert done.returncode == 3
    assert "outputs embeddings" in done.stderr


@pytest.mark.slow
def test_without_labels_only_agreement_with_float_is_measured(model_folder, build_bundle, tmp_path):
    goal = write_goal(model_folder, "classify", IMAGES, 'torch = "net.pt"\ninput = 64\nlabels = "labels.txt"')
    goal.write_text(goal.read_text().replace("min_cosine", "min_accuracy = 0.5\nmin_cosine"))
    built = build_bundle(goal, tmp_path)
    found = built.manifest.measured
    assert found["accuracy_fp32"] is None
    assert found["agreement_int8_onnx"] > 0.8
    assert "no labels" in built.verdict.unproven[0]
    assert built.manifest.labels[:3] == ("good", "scratch", "spot")


@pytest.mark.parametrize(
    ("task", "data", "model", "said"),
    [
        ("embed", IMAGES, "", "no built-in model"),
        ("embed", CLASSES, 'onnx = "net.onnx"', "data.classes"),
        ("embed", "", 'onnx = "net.onnx"', "data.images is missing"),
        ("embed", IMAGES, 'onnx = "nothing.onnx"', "model.onnx: no file"),
        ("embed", IMAGES, 'torch = "nothing.pt"', "model.torch: no file"),
        ("embed", IMAGES, 'onnx = "net.onnx"\ntorch = "net.pt"', "exclude each other"),
        ("embed", IMAGES, 'onnx = "net.onnx"\nstd = 0.225', "255"),
        ("embed", IMAGES, 'onnx = "net.onnx"\nmean = 300.0', "model.mean"),
        ("embed", IMAGES, 'onnx = "net.onnx"\norder = "gbr"', "order"),
        ("embed", IMAGES, 'onnx = "net.onnx"\nsize = 3', "size"),
        ("embed", IMAGES, 'onnx = "net.onnx"\nlabels = "labels.txt"', "model.labels"),
        ("classify", CLASSES, 'onnx = "net.onnx"\nepochs = 9', "model.epochs"),
        ("classify", CLASSES, "mean = 3.0", "model.mean does not apply"),
        ("classify", IMAGES + "\n" + CLASSES, 'onnx = "net.onnx"', "exclude each other"),
    ],
)  # fmt: skip
def test_contradictory_goal_file_is_refused(model_folder, task, data, model, said):
    path = write_goal(model_folder, task, data, model)
    if task == "classify":
        path.write_text(path.read_text().replace("min_cosine = 0.5", ""))
    with pytest.raises(ConfigProblem) as problem:
        goal_reader.read_goal(path)
    assert said in problem.value.message + (problem.value.hint or "")
    assert problem.value.hint


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ('torch = "own_network:something"', "int, no module"),
        ('torch = "own_network:nothing"', "nothing"),
        ('torch = "no_such_module:network"', "no_such_module"),
        ('onnx = "labels.txt"', "ONNX file"),
        ('onnx = "net.onnx"\ninput = 96', "not that of model.input"),
    ],
)
def test_unreadable_network_is_refused(model_folder, model, said):
    settings = goal_reader.read_goal(write_goal(model_folder, "embed", IMAGES, model)).model
    with pytest.raises(ConfigProblem) as problem:
        load_imported_network(model_folder, settings, "vector")
    assert said in problem.value.message
    assert problem.value.hint


def test_external_weights_are_refused(model_folder, tmp_path):
    model = onnx.load(model_folder / "net.onnx")
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(ConfigProblem, match="other files"):
        onnx_file.read_onnx_file(tmp_path / "net.onnx")


@pytest.fixture
def goal_with_unsupported_operator(model_folder, tmp_path):
    """A goal for a network with one operator that has no integer equivalent in TFLite."""
    rng = np.random.default_rng(0)
    weights = {"weight": (128, 3, 3, 3), "last": (16, 128)}
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["features"], name="first", strides=[2, 2]),
        helper.make_node("Softplus", ["features"], ["softly"], name="the odd one"),
        helper.make_node("GlobalAveragePool", ["softly"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "last"], ["end"], transB=1),
    ]
    constants = [
        numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name) for name, shape in weights.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, ["n", 16])
    graph = helper.make_graph(nodes, "g", [image], [end], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "odd.onnx")
    shutil.copytree(model_folder / "kinds", tmp_path / "kinds")
    return write_goal(tmp_path, "embed", IMAGES, 'onnx = "odd.onnx"\nmean = [120, 110, 100]\nstd = [60, 61, 62]')


def test_unsupported_operator_is_named(goal_with_unsupported_operator, key_folder, tmp_path, monkeypatch):
    """The error states name, type and remedy; nothing is written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    key = keys.read_private_key(key_folder / "vedette.key")
    with pytest.raises(Problem, match="'the odd one' is a Softplus") as problem:
        build(BuildRequest(goal_with_unsupported_operator, tmp_path / "out", key))
    assert "pip install onnx2tf==" in problem.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.build
def test_error_of_the_converter_is_reported(goal_with_unsupported_operator, key_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (onnx2tf_fallback.environment_folder() / "bin").mkdir(parents=True)
    stub = onnx2tf_fallback.environment_folder() / "bin" / onnx2tf_fallback.PROGRAM
    stub.write_text("#!/bin/sh\necho it cannot be done >&2\nexit 1\n")
    stub.chmod(0o755)
    key = keys.read_private_key(key_folder / "vedette.key")
    with pytest.raises(Problem, match=r"'the odd one' is a Softplus.*it cannot be done"):
        build(BuildRequest(goal_with_unsupported_operator, tmp_path / "out", key))
    assert not (tmp_path / "out").exists()


def test_unsupported_operator_gives_a_float_tflite_file(
    goal_with_unsupported_operator, build_bundle, key_folder, keyring, run_vedette, tmp_path
):
    refused = UnsupportedOperator("no integer file")
    try:
        onnx2tf_fallback.find_onnx2tf(refused)
    except UnsupportedOperator as problem:
        pytest.skip(f"onnx2tf is not installed: {problem.hint}")
    heard = []
    built = build_bundle(goal_with_unsupported_operator, tmp_path / "out", log=heard.append)
    assert any("'the odd one' is a Softplus" in text for text in heard)
    bundle = Bundle.open(built.bundle, keyring)
    manifest = bundle.manifest
    assert "'the odd one'" in manifest.floats["tflite"]
    assert manifest.tools["onnx2tf"] == onnx2tf_fallback.read_onnx2tf_version(refused)
    assert manifest.measured["cosine_int8_tflite"] > 0.999
    assert manifest.measured["cosine_int8_onnx"] > 0.98
    assert not OnnxBackend(bundle.model("onnx"), manifest, threads=1).is_float
    assert TfliteBackend(bundle.model("tflite"), manifest, threads=1).is_float
    assert "computes in float" in (tmp_path / "out" / "own.html").read_text()
    found = verify_bundle(bundle)
    assert found.verified
    assert set(found.golden) == {"onnx", "tflite"}
    done = run_vedette("bench", built.bundle, "--keys", key_folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("domain", "kind"), [("somebody.else", "Special"), ("", "NonMaxSuppression")])
def test_network_that_onnx_runtime_refuses_is_refused(domain, kind, tmp_path):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node(kind, ["image"], ["end"], domain=domain)], "g", [image], [end])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "odd.onnx")
    with pytest.raises(ConfigProblem) as problem:
        load_imported_network(tmp_path, ModelTable(onnx="odd.onnx"), "vector")
    assert problem.value.hint


DETECTORS = {
    "fastestdet/FastestDet_352": (0.0, 255.0, 3),
    "nanodet/nanodet_m_320": (114.0, 57.0, 6),
    "yolox_nano/yolox_nano_416_coco": (0.0, 1.0, 9),
}


@pytest.mark.build
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (not each.startswith("fastestdet"))) for each in DETECTORS]
)
def test_both_files_of_a_detector_compute_the_same_integers(name):
    """On real images; the inputs of the last Concat become outputs."""
    if not SHARED.is_dir():
        pytest.skip("the development models and images are not beside the project")
    mean, std, outputs = DETECTORS[name]
    plain = onnx_file.canonicalize_graph(onnx_file.read_onnx_file(SHARED / "models" / f"{name}.onnx"), None, name)
    model = lowering.lower_graph(plain)
    assert len(model.graph.output) == outputs
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    spec = ModelInput(model.graph.input[0].name, side, side, mean, std, 1 / std, int(mean))
    paths = sorted((SHARED / "coco128" / "images").rglob("*.jpg"))
    pictures = [cv2.resize(cv2.imread(str(path)), (side, side))[None] for path in paths[::16]]
    int8 = int8_of(model, pictures[:4], spec)
    about = Goal(name="detector", task="embed", data=DataSettings(), model=ModelTable(onnx=f"{name}.onnx"))
    manifest = draft_manifest(about, int8)
    both = {
        "onnx": OnnxBackend(int8.SerializeToString(), manifest, threads=1),
        "tflite": TfliteBackend(write_tflite(int8), manifest, threads=1),
    }
    assert max(max_output_difference(both, picture) for picture in pictures) <= 1
