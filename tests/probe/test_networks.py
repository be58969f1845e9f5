"""What PyTorch was told to do.

PyTorch is too large for the machines on which these tests run: a small package with the same
attributes stands in for it. What the real 2.13 leaves in the log was compared by hand.
"""

from __future__ import annotations

import pytest

from tests.probe.fitting import Seen, prints_the_same

TORCH = {
    "__init__.py": """
from torch import backends, cuda, optim, random
from torch.random import initial_seed, manual_seed
_deterministic = False
def use_deterministic_algorithms(mode): global _deterministic; _deterministic = mode
def are_deterministic_algorithms_enabled(): return _deterministic
def is_deterministic_algorithms_warn_only_enabled(): return False
def get_float32_matmul_precision(): raise RuntimeError("names of two generations were mixed")
class dtype:
    def __str__(self): return "torch.float32"
def get_default_dtype(): return dtype()
def get_num_threads(): return 3
def get_num_interop_threads(): return 2
""",
    "random.py": """
import ctypes
import os
class _State:
    def __init__(self, number): self.data = ctypes.c_uint64(number)
    def data_ptr(self): return ctypes.addressof(self.data)
    def numel(self): return 8
class Generator:
    def __init__(self): self.seed, self.drawn = int.from_bytes(os.urandom(7), "big"), 0
    def get_state(self): return _State(self.seed + self.drawn)
default_generator = Generator()
def initial_seed(): return default_generator.seed
def manual_seed(seed):
    default_generator.seed, default_generator.drawn = seed, 0
    return default_generator
def draw(): default_generator.drawn += 1
""",
    "backends/__init__.py": "from torch.backends import cuda, cudnn\n",
    "backends/cudnn.py": "deterministic = False\nbenchmark = False\nallow_tf32 = True\n",
    "backends/cuda.py": "class matmul:\n    allow_tf32 = False\n",
    "cuda.py": """
started = False
def is_initialized(): return started
def device_count(): return 1
def get_device_name(number): return "GPU %d" % number
""",
    "optim.py": """
class Parameter:
    def __init__(self, size): self.size = size
    def numel(self): return self.size
class Optimizer:
    def __init__(self, params, defaults):
        self.defaults, self.param_groups = defaults, [{"params": list(params), **defaults}]
class SGD(Optimizer):
    def __init__(self, params, lr=0.001, momentum=0):
        super().__init__(params, {"lr": lr, "momentum": momentum})
""",
}


@pytest.fixture
def place(tmp_path):
    for path, text in TORCH.items():
        target = tmp_path / "site-packages" / "torch" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return tmp_path


def run(place, script: str) -> Seen:
    return prints_the_same(place, script, path=str(place / "site-packages"))


def test_a_training_is_told_with_its_optimizers_and_what_was_asked_for(place) -> None:
    seen = run(
        place,
        """
        import inspect, torch
        from torch.optim import Parameter
        torch.manual_seed(42)
        torch.backends.cudnn.benchmark = True
        torch.optim.SGD([Parameter(10), Parameter(2)], lr=0.1)
        torch.use_deterministic_algorithms(True)
        torch.cuda.started = True
        torch.random.draw()
        for _ in range(30):
            torch.optim.SGD([])
        print(inspect.signature(torch.optim.Optimizer.__init__))
        """,
    )

    (fit,) = seen.fits
    assert fit["call"] == "torch"
    assert fit["params"] == {
        "optimizer": "SGD",
        "lr": 0.1,
        "cudnn.benchmark": True,
        "deterministic_algorithms": "False → True",
    }
    resolved = fit["resolved"]
    assert resolved["initial_seed"] == 42
    assert resolved["default_dtype"] == "torch.float32"
    assert resolved["cuda.matmul"] is False
    assert "float32_matmul_precision" not in resolved
    assert resolved["devices"] == ["GPU 0"]
    assert resolved["optimizers"][0] == {
        "class": "SGD", "lr": 0.1, "momentum": 0, "parameters": 12, "groups": 1,
    }  # fmt: skip
    assert resolved["optimizers made"] == 31
    assert fit["threads"] == 3
    assert fit["entry"]["torch"] != fit["exit"]["torch"]
    assert [(one["name"], one["seed"]) for one in seen.seedings] == [("torch", "42")]


def test_without_a_seed_none_is_told_and_the_state_has_moved_since_the_import(place) -> None:
    seen = run(
        place,
        """
        import torch
        torch.random.draw()  # the first weights
        torch.optim.SGD([])
        print(torch.cuda.started)
        """,
    )

    (fit,) = seen.fits
    assert fit["resolved"]["initial_seed"] == "none was given"
    assert fit["resolved"]["devices"] == []
    assert fit["entry"]["torch"] != fit["exit"]["torch"]
    assert seen.seedings == []


def test_a_program_that_trains_nothing_leaves_no_record_but_its_seed(place) -> None:
    seen = run(place, "import torch\ntorch.manual_seed(5)\nprint(torch.initial_seed())\n")

    assert seen.fits == []
    assert [(one["name"], one["seed"]) for one in seen.seedings] == [("torch", "5")]


def test_forked_workers_of_a_loader_tell_nothing(place) -> None:
    seen = run(
        place,
        """
        import os, torch
        torch.manual_seed(5)
        torch.optim.SGD([])
        if os.fork() == 0:
            torch.manual_seed(6)
            os._exit(0)
        os.wait()
        print("done")
        """,
    )

    assert len(seen.fits) == 1
    assert [one["seed"] for one in seen.seedings] == ["5"]
