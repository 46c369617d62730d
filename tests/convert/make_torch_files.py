"""Made the files in tests/convert/files, and makes them again; no test runs it.

It is the only thing here that needs PyTorch:

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy safetensors
    /tmp/torch/bin/python tests/convert/make_torch_files.py

The files in the repository are of torch 2.13.0. test_torch_file.py knows their values: every
tensor counts up from 0.
"""

import argparse
import datetime
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

FILES = Path(__file__).parent / "files"


def count(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.arange(np.prod(shape, dtype=int)).reshape(shape).to(dtype)


def plain() -> OrderedDict:
    """A state dict with every layout and dtype that is understood."""
    shared = count(10)
    return OrderedDict(
        {
            "conv.weight": torch.nn.Parameter(count(2, 3, 2, 2)),
            "transposed": count(2, 3).t(),
            "every_other": count(8)[1::2],
            "tied.first": shared[:6].reshape(2, 3),
            "tied.second": shared[4:],
            "half": count(5, dtype=torch.float16),
            "brain": count(5, dtype=torch.bfloat16),
            "double": count(3, dtype=torch.float64),
            "batches": torch.tensor(7),
            "bytes": count(5, dtype=torch.uint8),
            "flags": torch.tensor([True, False, True]),
            "none": torch.zeros(0, 4),
        }
    )


def training() -> dict:
    """What a training script saves: the weights among everything else."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(count(*tensor.shape))
    return {
        "optimizer": optimizer.state_dict(),
        "step": torch.tensor(20),
        "rng": torch.arange(4, dtype=torch.uint8),
        "epoch": 3,
        "loss": np.float64(0.5),
        "history": np.arange(3.0),
        "options": argparse.Namespace(lr=0.1, out=Path("runs"), shape=torch.Size([2, 3])),
        "when": datetime.datetime(2020, 1, 2, 3, 4),
        "tags": {"a", "b"},
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "state_dict": torch.nn.DataParallel(network).state_dict(),
    }


def main() -> None:
    FILES.mkdir(exist_ok=True)
    for name, value in (("plain", plain()), ("training", training())):
        torch.save(value, FILES / f"{name}_zip.pth")
        torch.save(value, FILES / f"{name}_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Sequential(torch.nn.ReLU()), FILES / "module.pth")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), FILES / "script.pt")
    torch.save({"w": count(2, 2).to_sparse()}, FILES / "sparse.pth")
    torch.save(
        {"w": torch.quantize_per_tensor(count(4), 1, 0, torch.qint8)}, FILES / "quantised.pth"
    )
    torch.save({"w": torch.zeros(2, device="meta")}, FILES / "meta.pth")
    torch.save({"w": count(2, dtype=torch.complex64)}, FILES / "complex.pth")
    whole = {key: value.detach().clone().contiguous() for key, value in plain().items()}
    safetensors.torch.save_file(whole, FILES / "plain.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Script and quantised files are of yesterday.
    main()
