"""Make the PyTorch files of this folder; run once, with torch 2.13.0 (which the tests never import)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))


def trained(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = model(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        loss = net(torch.randn(16, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, optimizer


def kinds() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    x = torch.randn(6, 5)
    base = torch.arange(12.0)
    return {
        "f64": x.double(),
        "f16": x.half(),
        "bf16": x.bfloat16(),
        "f8": x.to(torch.float8_e4m3fn),
        "c64": torch.complex(x, -x),
        "i64": torch.arange(7),
        "u8": torch.arange(7, dtype=torch.uint8),
        "bool": x > 0,
        "transposed": x.t(),
        "view": base[2:8],
        "strided": base[::3],
        "whole": base,
        "expanded": torch.ones(1).expand(4),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "quantised": torch.quantize_per_tensor(x, 0.1, 3, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": nn.Parameter(x.clone()),
    }


def main() -> None:
    net, optimizer = trained(0)
    state = net.state_dict()
    torch.save(state, HERE / "state.pt")
    torch.save(state, HERE / "other-name.pt")
    other = copy.deepcopy(state)
    other["3.weight"][1, 2] += 0.5
    torch.save(other, HERE / "moved.pt")
    near = copy.deepcopy(state)
    near["0.weight"] *= 1 + 2e-7
    torch.save(near, HERE / "near.pt")
    checkpoint = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25}
    torch.save(checkpoint, HERE / "checkpoint.pt")
    torch.save(checkpoint | {"epoch": 4}, HERE / "later.pt")
    torch.save(state, HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(other, HERE / "legacy-moved.pt", _use_new_zipfile_serialization=False)
    torch.save(kinds(), HERE / "kinds.pt")
    laid = {k: v.contiguous() if k == "transposed" else v for k, v in kinds().items()}
    torch.save(laid, HERE / "contiguous.pt")
    torch.save(net, HERE / "whole.pt")
    small = {"w": torch.tensor([0.25, -1.5])}
    torch.save(small, HERE / "small.pt")
    torch.save(small, HERE / "small-legacy.pt", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(small, HERE / "small-nocrc.pt")
    torch.save(state, HERE / "nocrc.pt")
    torch.serialization.set_crc32_options(True)
    torch.jit.script(net).save(str(HERE / "script.pt"))
    net[3].weight.data[1, 2] += 0.5
    torch.jit.script(net).save(str(HERE / "script-moved.pt"))


if __name__ == "__main__":
    main()
