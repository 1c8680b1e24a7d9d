"""`vedette build --for`: a compiled model becomes a signed member, with a stand-in for the vendor's compiler."""

from __future__ import annotations

import hashlib
import os
import shutil

import msgspec
import numpy as np
import pytest
from altered_bundles import STORED, stored_bundle
from stand_ins import install_edgetpu_compiler

from vedette.compress.commands.accelerators import add_accelerators
from vedette.compress.export.compiled_bundle import add_compiled_models
from vedette.compress.export.compilers import COMPILERS, CompilerInput, load_compiler
from vedette.compress.review.graph_checks import check_graphs
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import read_private_key
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.progress import no_log


@pytest.fixture
def path_folder(tmp_path, monkeypatch):
    """A folder at the front of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def given():
    bundle = stored_bundle()
    models = bundle.model("onnx"), bundle.model("tflite"), b"float"
    return CompilerInput(bundle.manifest, *models, calibration=lambda: np.zeros((2, 64, 64, 3), np.uint8))


def copy_stored(tmp_path):
    return shutil.copy(STORED / "weave.vedette", tmp_path / "weave.vedette")


def test_a_compiled_model_is_signed_shown_and_reviewed(path_folder, given, tmp_path, key_folder, keyring, call_vedette):
    install_edgetpu_compiler(path_folder)
    path, key = copy_stored(tmp_path), read_private_key(key_folder / "vedette.key")
    made = add_compiled_models(path, given, dict([load_compiler("edgetpu")]), key, None, no_log)
    bundle = Bundle.open(path, keyring)
    assert bundle.manifest == made
    entry = bundle.manifest.compiled["edgetpu"]
    assert (entry.file, entry.target) == ("model-edgetpu.tflite", "edgetpu")
    assert entry.tool == "Edge TPU Compiler version 16.0.384591198"
    assert entry.source == hashlib.sha256(given.tflite).hexdigest()
    assert bundle.manifest.files[entry.file].bytes == len(bundle.model("edgetpu"))
    assert bundle.members["model.onnx"] == given.onnx, "the models that were judged stay"
    shown = call_vedette("show", path, "--keys", key_folder).stdout
    assert "compiled   for edgetpu: model-edgetpu.tflite, for edgetpu, by Edge TPU Compiler" in shown
    findings = list(check_graphs(bundle.manifest, bundle.members))
    assert [each.severity for each in findings] == ["info"]
    assert "model-edgetpu.tflite" in findings[0].what
    verified = call_vedette("verify", path, "--keys", key_folder)
    assert verified.returncode == 0, "an accelerator that is not here is no fault of the bundle"
    assert "edgetpu not run here: Edge TPU: libedgetpu.so.1" in verified.stdout


def test_its_size_counts_for_the_goal(path_folder, given, tmp_path, key_folder):
    install_edgetpu_compiler(path_folder)
    path, key = copy_stored(tmp_path), read_private_key(key_folder / "vedette.key")
    made = add_compiled_models(path, given, dict([load_compiler("edgetpu")]), key, 1000, no_log)
    assert not made.goal_met
    assert "max_bytes: model-edgetpu.tflite" in made.missed[-1]


def test_a_compiler_that_fails_leaves_the_bundle_as_it_was(path_folder, given, tmp_path, key_folder):
    fails = install_edgetpu_compiler(path_folder)
    compilers = dict([load_compiler("edgetpu")])
    fails.touch()
    path = copy_stored(tmp_path)
    with pytest.raises(MachineProblem, match="Internal compiler error"):
        add_compiled_models(path, given, compilers, read_private_key(key_folder / "vedette.key"), None, no_log)
    assert path.read_bytes() == (STORED / "weave.vedette").read_bytes()


def test_what_a_compiler_left_to_the_processor_is_refused(path_folder, given, tmp_path, key_folder):
    install_edgetpu_compiler(path_folder)
    script = path_folder / "edgetpu_compiler"
    script.write_text(script.read_text().replace("compile_for_edgetpu(content)", "content"))
    with pytest.raises(MachineProblem, match="no operator was compiled"):
        add_compiled_models(
            copy_stored(tmp_path),
            given,
            dict([load_compiler("edgetpu")]),
            read_private_key(key_folder / "vedette.key"),
            None,
            no_log,
        )


@pytest.mark.parametrize("target", COMPILERS)
def test_a_missing_compiler_is_told_before_any_work(target, monkeypatch, tmp_path, call_vedette):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineProblem, match=f"--for {target}") as caught:
        load_compiler(target)
    assert "install" in caught.value.hint
    (tmp_path / "good").mkdir()
    (tmp_path / "goal.toml").write_text('name = "x"\ntask = "anomaly"\n[data]\ngood = "good"\n')
    done = call_vedette("build", tmp_path / "goal.toml", "--out", tmp_path / "out", "--for", target)
    assert done.returncode == 4
    assert f"--for {target}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_accelerator_is_a_wrong_option(path_folder):
    with pytest.raises(ConfigProblem, match="--for"):
        load_compiler("npu")
    install_edgetpu_compiler(path_folder)
    with pytest.raises(ConfigProblem, match="one Edge TPU"):
        load_compiler("edgetpu:two")


@pytest.mark.build
def test_a_finished_build_gets_compiled_models(path_folder, anomaly_build, tmp_path, key_folder, keyring, monkeypatch):
    """The calibration images of the build go to the compiler, as the model sees them."""
    (path_folder / "hailo").write_text(HAILO_COMPILER.replace("test -s calibration.npy", "cp calibration.npy $OUT"))
    (path_folder / "hailo").chmod(0o755)
    monkeypatch.setenv("OUT", str(tmp_path))
    source = anomaly_build.bundle
    for file in (source, source.with_suffix(".float.onnx")):
        shutil.copy(file, tmp_path)
    copy = msgspec.structs.replace(anomaly_build, bundle=tmp_path / source.name)
    result = add_accelerators(
        copy, dict([load_compiler("hailo:hailo8")]), read_private_key(key_folder / "vedette.key"), None, no_log
    )
    spec, images = result.manifest.input, np.load(tmp_path / "calibration.npy")
    assert images.shape == (len(anomaly_build.split.calibrate), spec.height, spec.width, 3)
    assert images.dtype == np.float32
    float_model = source.with_suffix(".float.onnx").read_bytes()
    assert Bundle.open(copy.bundle, keyring).model("hailo") == b"\x01HEF" + float_model


HAILO_COMPILER = """#!/bin/sh
case "$1" in
--version) echo "Hailo Dataflow Compiler v3.33.0" ;;
parser) test "$2 $3 $4 $5 $6 $7" = "onnx model.onnx --har-path model.har --hw-arch hailo8" && cp model.onnx model.har ;;
optimize) test -s calibration.npy && test "$2" = model.har && cp model.har quantized.har ;;
compiler) test "$2" = quantized.har && { printf '\\001HEF'; cat quantized.har; } > "$4/model.hef" ;;
*) exit 1 ;;
esac
"""


def test_the_hailo_compiler_gets_the_float_model_and_images(path_folder, given, tmp_path, key_folder, keyring):
    (path_folder / "hailo").write_text(HAILO_COMPILER)
    (path_folder / "hailo").chmod(0o755)
    path, key = copy_stored(tmp_path), read_private_key(key_folder / "vedette.key")
    add_compiled_models(path, given, dict([load_compiler("hailo:hailo8")]), key, None, no_log)
    bundle = Bundle.open(path, keyring)
    entry = bundle.manifest.compiled["hailo"]
    assert (entry.target, entry.tool) == ("hailo8", "Hailo Dataflow Compiler v3.33.0")
    assert entry.source == hashlib.sha256(b"float").hexdigest()
    assert bundle.model("hailo") == b"\x01HEFfloat"
