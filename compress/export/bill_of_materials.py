"""The bill of materials of a bundle: CycloneDX 1.6, with the model card of the machine-learning extension (ML-BOM).

It names, with digests: the model files of the bundle, the float model that they were made from, the weights that the
build started from, the images (by licence), and the tools. The digest of a tool is that of the RECORD that its package
installs, which lists the digest of every file of it.

Written by hand: cyclonedx-python-lib 11.12 knows the component type `machine-learning-model`, but not model cards. The
tests validate it with that library's schema. It holds no time and no serial number, so equal builds give equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.bundle.manifest import Manifest, SourceAndLicence

from ..goal.goal_tables import ModelTable
from ..models import efficientnet_lite

MEMBER = "bom.cdx.json"
SPEC_VERSION = "1.6"
METRICS = ("auroc", "accuracy", "map50", "cosine")


def render_bill(manifest: Manifest, models: Mapping[str, bytes], weights: Iterable[Path]) -> bytes:
    """The bill of materials as JSON.

    Args:
        manifest: of the bundle, with its figures
        models: content of the model files: `fp32`, `int8_onnx` and `int8_tflite`
        weights: files of the weights that the build started from; empty if they were trained from nothing
    """
    name, release = manifest.name, str(manifest.release)
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": release,
        "licenses": [_licence(source.licence) for source in manifest.weights],
        "hashes": _hashes(models["int8_onnx"]),
        "modelCard": _model_card(manifest),
    }
    components = [
        *[_file(member, "the model", models[f"int8_{backend}"]) for backend, member in sorted(manifest.models.items())],
        _file(f"{name}.float.onnx", "the float model; it is not in the bundle", models["fp32"]),
        *_weights(manifest.weights, list(weights)),
        *[_data(source) for source in manifest.data],
        *[_tool(tool, version) for tool, version in sorted(manifest.tools.items())],
    ]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"component": model},
        "components": components,
        "dependencies": [{"ref": "model", "dependsOn": sorted(each["bom-ref"] for each in components)}],
    }
    return msgspec.json.format(msgspec.json.encode(bill), indent=2) + b"\n"


def find_weight_files(model: ModelTable, base: Path) -> list[Path]:
    """Files of the weights that a build starts from: the imported network's, or those of the backbone.

    Args:
        model: the table `[model]` of the goal file
        base: folder of the goal file
    """
    if not model.is_imported:
        return [efficientnet_lite.find_weights_file()]
    path = base / (model.onnx or model.tflite or model.torch or "")
    return [path] if path.is_file() else []


def _model_card(manifest: Manifest) -> dict[str, Any]:
    shape = f"1 x {manifest.input.height} x {manifest.input.width} x 3, unsigned integers of 8 bits"
    metrics = []
    for metric in METRICS:
        for model in ("fp32", "int8_onnx", "int8_tflite"):
            value, key = manifest.measured.get(f"{metric}_{model}"), f"{metric}_interval_{model}"
            if value is None:
                continue
            entry: dict[str, Any] = {"type": metric, "value": f"{value:.6g}", "slice": model}
            if (interval := manifest.measured.get(key)) is not None:
                entry["confidenceInterval"] = {"lowerBound": f"{interval[0]:.6g}", "upperBound": f"{interval[1]:.6g}"}
            metrics.append(entry)
    approach = {} if manifest.task == "anomaly" else {"approach": {"type": "supervised"}}
    datasets = [{"type": "dataset", "name": source.name} for source in manifest.data]
    return {
        "modelParameters": {
            **approach,
            "task": manifest.task,
            "datasets": datasets,
            "inputs": [{"format": shape}],
            "outputs": [{"format": f"{each.name}: {' x '.join(map(str, each.shape))}"} for each in manifest.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {
            "technicalLimitations": [
                "The review in report.json says how the model fails under noise, blur and the like.",
            ],
        },
    }


def _file(name: str, description: str, content: bytes) -> dict[str, Any]:
    hashes = _hashes(content)
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "description": description, "hashes": hashes}


def _weights(sources: Iterable[SourceAndLicence], files: list[Path]) -> list[dict[str, Any]]:
    components = []
    for number, source in enumerate(sources):
        component = {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{number}",
            "name": source.name,
            "description": source.origin,
            "licenses": [_licence(source.licence)],
        }
        if number < len(files):
            component["hashes"] = _hashes(files[number].read_bytes())
        components.append(component)
    return components


def _data(source: SourceAndLicence) -> dict[str, Any]:
    licences = [_licence(source.licence)]
    return {"type": "data", "bom-ref": f"data:{source.name}", "name": source.name, "licenses": licences}


def _tool(name: str, version: str) -> dict[str, Any]:
    component = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "purl": f"pkg:pypi/{name}@{version}".replace("+", "%2B"),
        "name": name,
        "version": version,
    }
    try:
        record = _read_record(distribution(name))
    except PackageNotFoundError:
        return component
    return component | {"hashes": _hashes(record)} if record else component


def _read_record(package: Distribution) -> bytes:
    """The RECORD of a package, without the lines that differ between equal installations (compiled files, scripts).

    Empty for an editable installation, whose RECORD names none of the package's files.
    """
    if '"editable": true' in (package.read_text("direct_url.json") or ""):
        return b""
    lines = (package.read_text("RECORD") or "").splitlines()
    stable = [line for line in lines if "__pycache__" not in line and not line.startswith("../")]
    return "\n".join(sorted(line for line in stable if "sha256=" in line and ".dist-info/" not in line)).encode()


def _licence(name: str) -> dict[str, Any]:
    return {"license": {"name": name or "not stated"}}


def _hashes(content: bytes) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
