"""Back ends of accelerators: what is missing is named, the processor never stands in unseen, golden outputs decide."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from altered_bundles import sign_altered, stored_bundle
from onnx import helper
from stand_ins import compile_for_edgetpu, install_hailo_platform

from vedette.runtime.bundle.binary_formats import ModelFileError
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.compiled_model import CompiledModel, check_compiled_file
from vedette.runtime.bundle.manifest import encode_manifest
from vedette.runtime.errors import BundleProblem, MachineProblem
from vedette.runtime.evaluation.present_backends import find_present_backends
from vedette.runtime.inference import golden_outputs, self_test
from vedette.runtime.inference.backends import gpu, load_backend
from vedette.runtime.inference.golden_outputs import select_backend

NVIDIA = ("cuda", "tensorrt")
LIMIT = 64 << 20


@pytest.fixture
def compiled(tmp_path, key_folder, keyring):
    """Signs the stored bundle with a compiled model, and opens it."""

    def make(backend, content):
        entry = CompiledModel(file="compiled.bin", target="any", tool="a compiler 1.0", source="0" * 64)
        path = tmp_path / f"{backend}.vedette"
        path = sign_altered(path, key_folder, {"compiled.bin": content}, compiled={backend: entry})
        return Bundle.open(path, keyring)

    return make


def hailo_executable(error=0):
    bundle = stored_bundle()
    spec, outputs = bundle.manifest.input, bundle.manifest.outputs
    facts = {
        "error": error,
        "input": {"name": spec.name, "shape": (spec.height, spec.width, 3), "scale": spec.scale}
        | {"zero_point": spec.zero_point},
        "outputs": {
            each.name: {"shape": each.shape, "scale": each.scale, "zero_point": each.zero_point} for each in outputs
        },
    }
    text = json.dumps(facts).encode()
    return b"\x01HEF" + len(text).to_bytes(4, "big") + text + bundle.model("onnx")


def context_model(**attributes):
    node = helper.make_node("EPContext", ["image"], ["score"], domain="com.microsoft", **attributes)
    values = [helper.make_tensor_value_info(name, 2, [1, 8]) for name in ("image", "score")]
    graph = helper.make_graph([node], "compiled", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="ONNX Runtime has CUDA here"
)
@pytest.mark.parametrize("name", NVIDIA)
def test_an_onnx_runtime_without_the_provider_is_told(name):
    with pytest.raises(MachineProblem, match="built without it") as caught:
        select_backend(stored_bundle(), name, 1)
    assert "onnxruntime-gpu" in caught.value.hint


@pytest.mark.parametrize("name", NVIDIA)
def test_a_session_on_the_processor_is_no_acceleration(name, monkeypatch):
    """The real ONNX Runtime leaves a provider out that it lacks, and runs everything on the processor."""
    kind = {"cuda": gpu.CudaBackend, "tensorrt": gpu.TensorrtBackend}[name]
    if kind.providers[0][0] in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the provider")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [kind.providers[0][0]])
    bundle = stored_bundle()
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(MachineProblem) as caught:
        kind(bundle.model("onnx"), bundle.manifest, 1)
    assert "on the processor instead" in caught.value.message


class Session:
    """A session of which `slow` operators of `total` run on the processor."""

    slow, total = 0, 10

    def __init__(self, *_, providers, **__):
        self.provider = providers[0][0]

    def get_providers(self):
        return [self.provider, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self):
        counts = {self.provider: self.total - self.slow, "CPUExecutionProvider": self.slow}
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: [0] * nodes)
            for name, nodes in counts.items()
            if nodes
        ]


@pytest.mark.parametrize(("slow", "said"), [(0, "CUDA"), (3, "3 of 10 operators on the processor"), (10, None)])
def test_operators_on_the_processor_are_told(monkeypatch, slow, said):
    monkeypatch.setattr(Session, "slow", slow)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    if said is None:
        with pytest.raises(MachineProblem, match="took none of the model's 10 operators"):
            gpu.CudaBackend(b"", stored_bundle().manifest, 1)
    else:
        assert gpu.CudaBackend(b"", stored_bundle().manifest, 1).version.endswith(said)


def test_a_missing_driver_library_is_told(compiled):
    bundle = compiled("edgetpu", compile_for_edgetpu(stored_bundle().model("tflite")))
    result = self_test.test_models(bundle, ("edgetpu",), 1)["edgetpu"]
    if result.runs:
        pytest.skip("an Edge TPU is here")
    with pytest.raises(MachineProblem, match=r"libedgetpu\.so\.1") as caught:
        select_backend(bundle, "edgetpu", 1)
    assert "libedgetpu1-std" in caught.value.hint


def test_a_missing_hailort_is_told(compiled):
    with pytest.raises(MachineProblem, match="HailoRT"):
        select_backend(compiled("hailo", hailo_executable()), "hailo", 1)


@pytest.mark.parametrize("name", ["edgetpu", "hailo"])
def test_a_bundle_without_a_compiled_model_says_how_to_get_one(name):
    with pytest.raises(BundleProblem, match=f"no model for {name}") as caught:
        select_backend(stored_bundle(), name, 1)
    assert f"vedette build --for {name}" in caught.value.hint


# With a stand-in of HailoRT, the whole way: bundle, limited process, golden outputs


def test_an_accelerator_that_reproduces_the_golden_outputs_runs(compiled, monkeypatch, tmp_path):
    install_hailo_platform(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = compiled("hailo", hailo_executable())
    backend = select_backend(bundle, "hailo", 1)
    assert backend.version == "hailort 4.23.0"
    assert golden_outputs.max_step_difference(bundle, backend) == 0
    with pytest.raises(ValueError, match="shape"):
        backend.run(np.zeros((1, 8, 8, 3), np.uint8))
    backend.close()
    backend.close()
    present, skipped = find_present_backends(bundle, 1)
    assert present == ("onnx", "tflite", "hailo")
    assert set(skipped) == {"cuda", "tensorrt", "edgetpu"}


def test_an_accelerator_that_differs_is_refused_and_not_chosen(compiled, monkeypatch, tmp_path, caplog):
    install_hailo_platform(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bundle = compiled("hailo", hailo_executable(error=40))
    with pytest.raises(BundleProblem, match="not reproduced by hailort"):
        select_backend(bundle, "hailo", 1)
    with caplog.at_level(logging.WARNING, "vedette"):
        assert not select_backend(bundle, "auto", 1).version.startswith("hailort")
    assert "hailort 4.23.0 is not used: it differs from the golden outputs by 40 steps" in caplog.text
    assert "40 steps; 12 are allowed" in find_present_backends(bundle, 1)[1]["hailo"]


def test_auto_takes_the_fastest_that_is_correct(monkeypatch):
    results = {
        "onnx": self_test.ModelResult("onnx", "onnxruntime 1", seconds=0.003),
        "tflite": self_test.ModelResult("tflite", "ai-edge-litert 2", seconds=0.002),
        "cuda": self_test.ModelResult("cuda", "onnxruntime-gpu 1 CUDA", seconds=0.001),
    }
    monkeypatch.setattr(golden_outputs, "test_models", lambda *_: results)
    monkeypatch.setattr(golden_outputs.backends, "open_backend", lambda name, *_: SimpleNamespace(version=name))
    assert select_backend(stored_bundle(), "auto", 1).version == "cuda"
    results["cuda"] = msgspec.structs.replace(results["cuda"], steps=3)
    assert select_backend(stored_bundle(), "auto", 1).version == "tflite"


def test_a_single_back_end_is_timed_beside_an_accelerator(compiled, monkeypatch, tmp_path):
    """Or it would win, or lose, without a measurement."""
    install_hailo_platform(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results = self_test.test_models(compiled("hailo", hailo_executable()), ("onnx", "hailo"), 1)
    assert all(result.seconds > 0 for result in results.values())


def test_float_products_between_the_quantizers_are_within_the_tolerance():
    """What CUDA's kernels compute, on the processor: the reason for a tolerance as narrow as the other back ends'."""
    bundle = stored_bundle()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(bundle.model("onnx"), options, providers=["CPUExecutionProvider"])
    images, names = bundle.golden("image"), [output.name for output in bundle.manifest.outputs]
    for index in range(len(images)):
        arrays = session.run(names, {bundle.manifest.input.name: images[index : index + 1]})
        for name, array in zip(names, arrays, strict=True):
            expected = bundle.golden(name)[index].astype(int).reshape(array.shape)
            assert np.abs(array.astype(int) - expected).max() <= golden_outputs.step_tolerance("onnxruntime-gpu 1 CUDA")


# Files


def test_manifests_without_compiled_models_do_not_have_the_key(compiled):
    assert b"compiled" not in encode_manifest(stored_bundle().manifest)
    assert b"compiled" in encode_manifest(compiled("hailo", b"x").manifest)


@pytest.mark.parametrize(
    ("backend", "content", "word"),
    [
        ("hailo", b"\x01HE?" + bytes(100), "not a Hailo executable"),
        ("edgetpu", stored_bundle().model("tflite"), "no operator was compiled"),
        ("edgetpu", compile_for_edgetpu(stored_bundle().model("tflite"), b"evil"), "not the Edge TPU's"),
        ("edgetpu", b"", "not a TFLite file"),
        ("tensorrt", stored_bundle().model("onnx"), "no part of it is compiled"),
        ("tensorrt", context_model(embed_mode=0, ep_cache_context="/etc/passwd"), "another file"),
        ("tensorrt", context_model(ep_cache_context=b"engine"), "another file"),
    ],
)
def test_files_that_are_no_compiled_models_are_refused(backend, content, word):
    with pytest.raises(ModelFileError, match=word):
        check_compiled_file(backend, content, LIMIT)


def test_compiled_models_pass():
    check_compiled_file("tensorrt", context_model(embed_mode=1, ep_cache_context=b"engine"), LIMIT)
    check_compiled_file("edgetpu", compile_for_edgetpu(stored_bundle().model("tflite")), LIMIT)
    check_compiled_file("hailo", hailo_executable(), LIMIT)


def test_a_compiled_part_is_no_part_of_the_plain_onnx_file(compiled, tmp_path, key_folder, keyring):
    assert onnx.load_from_string(context_model(embed_mode=1)).graph.node[0].op_type == "EPContext"
    path = sign_altered(tmp_path / "x.vedette", key_folder, {"model.onnx": context_model(embed_mode=1)})
    with pytest.raises(BundleProblem, match="domain"):
        load_backend("onnx", Bundle.open(path, keyring))


def test_an_unknown_accelerator_makes_the_bundle_invalid(compiled):
    with pytest.raises(BundleProblem, match="compiled is for none of"):
        compiled("npu", b"x")
