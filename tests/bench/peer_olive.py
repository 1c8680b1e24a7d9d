"""Olive's pass OnnxStaticQuantization, through its workflow, for a processor.

static    u8 activations, s8 weights with a scale per channel; what else it decides is its default
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import job
from olive.data.registry import Registry
from olive.workflows import run
from torch.utils.data import Dataset

DATA = "calibration"
told: dict[str, Any] = {}


class Images(Dataset):
    """Pairs of an input and a label that nothing looks at, which is what Olive's data loader takes."""

    def __init__(self) -> None:
        self.images = job.images(told)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[dict[str, Any], int]:
        return {told["input"]: self.images[place][0]}, 0


@Registry.register_dataset(DATA)
def calibration(**_: Any) -> Dataset:
    return Images()


def quantise(given: dict[str, Any]) -> None:
    told.update(given)
    same = {"type": "skip_pre_process"}
    data = {"name": DATA, "type": "DataContainer", "load_dataset_config": {"type": DATA}}
    data |= {"pre_process_data_config": same, "post_process_data_config": {"type": "skip_post_process"}}
    data |= {"dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1}}}
    static = {"type": "OnnxStaticQuantization", "data_config": DATA, "per_channel": True}
    static |= {"activation_type": "uint8", "precision": "int8"}
    with tempfile.TemporaryDirectory() as folder:
        accelerator = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
        system = {"type": "LocalSystem", "accelerators": [accelerator]}
        config = {
            "input_model": {"type": "ONNXModel", "model_path": told["float"]},
            "systems": {"here": system},
            "target": "here",
            "data_configs": [data],
            "passes": {"static": static},
            "output_dir": f"{folder}/out",
            "cache_dir": f"{folder}/cache",
        }
        run(config)
        (made,) = Path(folder, "out").rglob("*.onnx")
        shutil.copy(made, f"{told['out']}.onnx")


if __name__ == "__main__":
    job.run(quantise, "olive-ai", "onnxruntime", "onnx")
