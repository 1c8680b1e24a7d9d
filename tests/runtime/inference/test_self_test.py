"""A model that is damaged, hangs, aborts its library or fills the memory ends in one sentence; the other one runs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from altered_bundles import sign_altered, stored_bundle
from onnx import TensorProto, helper
from waiting import patience

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.errors import BundleProblem, ConfigProblem, MachineProblem
from vedette.runtime.inference import backends, self_test
from vedette.runtime.inference.golden_outputs import select_backend

BACKENDS = ("onnx", "tflite")
GARBAGE = b"\x08\x09garbage" * 100


def graph_with(*nodes):
    """The stored model with more nodes, whose results nothing uses."""
    model = onnx.load_model_from_string(stored_bundle().model("onnx"))
    model.graph.node.extend(nodes)
    return model


def endless_loop():
    text = TensorProto.INT64, []
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"])],
        "body",
        [helper.make_tensor_value_info("i", *text), helper.make_tensor_value_info("on", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, [])],
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    model = graph_with(helper.make_node("Loop", ["", "yes"], [], body=body))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["yes"], value=true))
    return model


def memory_filler():
    """A sum over 2^40 ones, which are made when the model runs or loads."""
    model = graph_with()
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["many"]))
    model.graph.node.insert(1, helper.make_node("ReduceSum", ["many"], ["sum"]))
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, None))
    return model


def with_external_weights():
    model = graph_with()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model


def of_a_foreign_domain():
    model = graph_with(helper.make_node("Foreign", ["image"], ["x"], domain="org.example"))
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    return model


def with_nameless_outputs():
    model = graph_with()
    model.graph.output[0].name = "other"
    return model


@pytest.fixture
def opened(tmp_path, key_folder, keyring):
    """Signs the stored bundle with other models, and opens it."""

    def make(**models):
        members = {f"model.{name}": content for name, content in models.items()}
        return Bundle.open(sign_altered(tmp_path / "altered.vedette", key_folder, members), keyring)

    return make


def test_both_models_pass(opened):
    results = self_test.test_models(opened(), BACKENDS, 1)
    assert all(result.runs and result.steps <= 1 and result.seconds > 0 for result in results.values())


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (GARBAGE, "field|wire type|graphs"),
        (endless_loop().SerializeToString(), "Loop"),
        (memory_filler().SerializeToString(), "memory|Exception|alloc|[Ff]ail"),
        (with_external_weights().SerializeToString(), "other files"),
        (of_a_foreign_domain().SerializeToString(), "domain"),
        (with_nameless_outputs().SerializeToString(), "invalid model"),
    ],
    ids=["garbage", "loop", "memory", "external", "domain", "outputs"],
)
def test_auto_falls_back_when_the_onnx_model_is_faulty(opened, caplog, model, word):
    bundle = opened(onnx=model)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "vedette"):
        assert select_backend(bundle, "auto", 1).version.startswith(("ai-edge-litert", "tflite-runtime"))
    assert len(caplog.records) == 1
    assert "model.onnx" in caplog.text
    with pytest.raises(BundleProblem, match=word) as caught:
        select_backend(bundle, "onnx", 1)
    assert "\n" not in caught.value.message
    assert time.monotonic() - started < 20 * patience()


def test_auto_falls_back_when_the_tflite_model_is_faulty(opened):
    bundle = opened(tflite=b"\0" * 4 + b"TFL3" + bytes(100))
    assert select_backend(bundle, "auto", 1).version.startswith("onnxruntime")
    with pytest.raises(BundleProblem, match=r"model\.tflite"):
        backends.load_backend("tflite", bundle)


def test_a_bundle_whose_models_are_all_faulty_is_a_bundle_problem(opened):
    bundle = opened(onnx=GARBAGE, tflite=GARBAGE)
    for load in (lambda: select_backend(bundle, "auto", 1), lambda: backends.available_backends(bundle)):
        with pytest.raises(BundleProblem, match=r"model\.onnx.*model\.tflite"):
            load()


def test_verify_says_exit_3_and_one_sentence(opened, key_folder, call_vedette):
    path = opened(onnx=GARBAGE).path
    done = call_vedette("verify", path, "--keys", key_folder)
    assert done.returncode == 3, done.stderr
    assert "model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_back_end_is_a_wrong_configuration(opened):
    with pytest.raises(ConfigProblem, match="backend"):
        select_backend(opened(), "torch", 1)


def test_a_back_end_without_a_model_is_a_bundle_problem(opened, tmp_path, key_folder, keyring):
    path = sign_altered(tmp_path / "one.vedette", key_folder, models={"onnx": "model.onnx"})
    with pytest.raises(BundleProblem, match="no model for tflite"):
        select_backend(Bundle.open(path, keyring), "tflite", 1)


def fake_process(monkeypatch, tmp_path, code):
    """The process runs `code` instead of the self-test, with the functions `report` and `task`."""
    script = tmp_path / "process.py"
    script.write_text(
        "import json, os, resource, signal, sys, time\n"
        "task, pipe = map(int, sys.argv[1:3])\n"
        "def report(**fields): os.write(pipe, json.dumps(fields).encode() + b'\\n')\n" + code
    )
    popen = subprocess.Popen
    monkeypatch.setattr(
        self_test.subprocess,
        "Popen",
        lambda command, **options: popen([sys.executable, str(script), *command[-2:]], **options),
    )


def test_a_library_that_aborts_is_at_fault_alone(opened, monkeypatch, tmp_path):
    """The first process dies at the first model; the second one tests the model that is left."""
    flag = tmp_path / "flag"
    code = (
        f"if not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w'); os.abort()\n"
        "report(backend='tflite', version='ai-edge-litert 0', steps=0)\n"
    )
    fake_process(monkeypatch, tmp_path, code)
    results = self_test.test_models(opened(), BACKENDS, 1)
    assert "SIGABRT" in results["onnx"].fault
    assert results["tflite"].runs


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("time.sleep(600)", "longer than"),
        ("os.close(pipe); time.sleep(600)", "longer than"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "processor time"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "memory"),
        ("sys.exit(7)", "exit code 7"),
        ("os.write(pipe, b'[' * 5000); os.write(pipe, b'\\n')", "exit code 0"),
        ("os.write(pipe, b'\\xff\\xfe\\n')", "exit code 0"),
        ("report(backend='other', version='x')", "exit code 0"),
        ("[os.write(pipe, b'x' * 4096) for _ in iter(int, 1)]", "longer than"),
    ],
)
def test_whatever_the_process_does_is_one_sentence(opened, monkeypatch, tmp_path, code, word):
    monkeypatch.setattr(self_test, "WALL_SECONDS", 2.0 * patience())
    fake_process(monkeypatch, tmp_path, code)
    with pytest.raises(BundleProblem, match=word):
        backends.load_backend("onnx", opened())


def test_missing_libraries_are_the_machine_s_problem(opened, monkeypatch, tmp_path):
    fake_process(
        monkeypatch, tmp_path, "[report(backend=name, missing='not installed') for name in ('onnx', 'tflite')]"
    )
    with pytest.raises(MachineProblem, match="not installed"):
        select_backend(opened(), "auto", 1)


def test_no_process_is_left_behind(opened):
    self_test.test_models(opened(), BACKENDS, 1)
    mine = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False
    )
    assert self_test._PROCESS not in mine.stdout


def test_only_the_library_of_the_chosen_back_end_is_loaded(key_folder, tmp_path):
    """Memory is scarce: the other library never gets into the daemon."""
    path = sign_altered(tmp_path / "same.vedette", key_folder)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from vedette.runtime.bundle.bundle import Bundle\nfrom vedette.runtime.bundle.keys import Keyring\n"
        "from vedette.runtime.inference.golden_outputs import select_backend\n"
        f"select_backend(Bundle.open(Path({str(path)!r}), Keyring.read(Path({str(key_folder)!r}))), 'auto', 1)\n"
        "print(('onnxruntime' in sys.modules) + ('ai_edge_litert.interpreter' in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr
    assert "XNNPACK" not in done.stderr


def test_litert_notes_are_left_out_and_warnings_pass(capfd):
    from vedette.runtime.inference.backends import tflite

    with tflite.notes_left_out():
        os.write(2, b"INFO: Created something.\nWARNING: beware\n")
    assert capfd.readouterr().err == "WARNING: beware\n"


def test_outputs_are_those_of_the_golden_images(opened):
    bundle = opened()
    backend = select_backend(bundle, "onnx", 1)
    steps = backend.run(bundle.golden("image")[:1])["score"].astype(int) - bundle.golden("score")[0].astype(int)
    assert np.abs(steps).max() <= 1
