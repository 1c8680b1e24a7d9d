"""ExecuTorch: PT2E quantization for its XNNPACK back end, of the subjects that are a torch module of ours.

float        no quantization
per-tensor   symmetric weights with one scale
per-channel  symmetric weights with a scale per channel, asymmetric activations: what its manual recommends
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import job
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


def quantise(told: dict[str, Any]) -> None:
    images = [torch.from_numpy(each) for each in job.images(told)]
    module = torch.load(told["module"], weights_only=False).eval()
    if told["way"] != "float":
        config = get_symmetric_quantization_config(is_per_channel=told["way"] == "per-channel")
        observed = prepare_pt2e(
            torch.export.export(module, (images[0],)).module(), XNNPACKQuantizer().set_global(config)
        )
        for each in images:
            observed(each)
        module = convert_pt2e(observed)
    program = torch.export.export(module, (images[0],))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    Path(f"{told['out']}.pte").write_bytes(lowered.to_executorch().buffer)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        job.run(quantise, "executorch", "torchao", "torch")
