"""Networks: what PyTorch was told to do: seeds, determinism, precision, threads, optimizers.

A training loop of PyTorch is the program's own, so there is one record for a process that has made
an optimizer: what was in effect when the first was made, and what had changed at the end. Nothing
of PyTorch is replaced but the constructor of `Optimizer`: whether `manual_seed` was called is
known by the seed of its generator, which starts as a random one.
"""

import os
import sys
from time import perf_counter

from .asking import as_json, forget, unseen
from .values import value

_MOST_OPTIMIZERS = 20

# What it is called in the record: how to ask for it. Newer versions refuse some of the older names.
_FACTS = (
    ("initial_seed", ("initial_seed()",)),
    ("deterministic_algorithms", ("are_deterministic_algorithms_enabled()",)),
    ("deterministic_warn_only", ("is_deterministic_algorithms_warn_only_enabled()",)),
    ("cudnn.deterministic", ("backends.cudnn.deterministic",)),
    ("cudnn.benchmark", ("backends.cudnn.benchmark",)),
    ("cudnn.tf32", ("backends.cudnn.allow_tf32",)),
    ("cuda.matmul", ("backends.cuda.matmul.fp32_precision", "backends.cuda.matmul.allow_tf32")),
    ("float32_matmul_precision", ("get_float32_matmul_precision()",)),
    ("default_dtype", ("get_default_dtype()",)),
    ("threads", ("get_num_threads()",)),
    ("interop_threads", ("get_num_interop_threads()",)),
)
_USUAL = {
    "deterministic_algorithms": False,
    "deterministic_warn_only": False,
    "cudnn.deterministic": False,
    "cudnn.benchmark": False,
    "cudnn.tf32": True,
    "cuda.matmul": ("none", False),
    "float32_matmul_precision": "highest",
    "default_dtype": "torch.float32",
}
"""What PyTorch does by itself; the rest was asked for."""


def patch(module, fits):
    """Watch the making of optimizers, and write what is known when the process ends."""
    from . import facts

    base = module.optim.Optimizer
    if hasattr(base.__init__, "_mlrepro"):
        return
    network = _Network(module, fits)
    base.__init__ = _constructor(base.__init__, network)
    facts.LAST.append(network.close)
    os.register_at_fork(after_in_child=network.start)


def _constructor(original, network):
    from functools import wraps

    @wraps(original)
    @unseen
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        try:
            network.made(self)
        except Exception as error:
            forget(error)

    __init__._mlrepro = True
    return __init__


class _Network:
    """PyTorch in one process."""

    def __init__(self, torch, fits):
        self.torch = torch
        self.fits = fits
        self.seed = self.random = torch.initial_seed()
        self.start()
        self.forked = False
        from . import randomness

        self.imported = randomness.states().get("torch", "")

    def start(self):
        """Begin anew, also in a forked child, which the parent's optimizers do not concern."""
        self.forked = True
        self.first = None
        self.optimizers = []
        self.count = 0

    def made(self, optimizer):
        """Note an optimizer; with the first one, what is in effect."""
        self.count += 1
        if self.count > _MOST_OPTIMIZERS:
            return
        if self.first is None:
            from . import randomness

            self._seeded()
            self.began = perf_counter()
            self.first = _found(self.torch)
            self.entry = randomness.states()
            if self.seed == self.random:  # never seeded: the first weights were drawn before
                self.entry["torch"] = self.imported
        self.optimizers.append(_optimizer(optimizer))

    def _seeded(self):
        """Tell the seed of PyTorch's generator where it is not the one of before."""
        seed = self.torch.initial_seed()
        if seed != self.seed:
            from . import randomness

            self.seed = seed
            randomness.note("torch", seed, self.fits.log)

    def close(self):
        """Write the record; the process ends."""
        try:
            if self.first is not None or not self.forked:  # loaders seed their forked workers
                self._seeded()
            if self.first is not None:
                self._write()
        except Exception as error:
            forget(error)

    def _write(self):
        from . import randomness

        now = _found(self.torch)
        resolved = {name: _change(self.first.get(name), now[name]) for name in now}
        if now.get("initial_seed") == self.random:
            resolved["initial_seed"] = "none was given"
        resolved["devices"] = _devices(self.torch)
        resolved["optimizers"] = self.optimizers
        resolved["optimizers made"] = self.count
        record = {
            "call": "torch",
            "id": "%d-torch" % os.getpid(),
            "params": _asked(resolved, self.optimizers[0]),
            "resolved": resolved,
            "threads": now.get("threads"),
            "entry": self.entry,
            "exit": randomness.states(),
            "seconds": round(perf_counter() - self.began, 6),
            "inside": {},
        }
        self.fits.log.write(b"f", as_json(record))


def _found(torch):
    """Ask for everything that is known of it; nothing of a GPU that was not used is woken."""
    found = {}
    for name, ways in _FACTS:
        for way in ways:
            try:
                found[name] = _ask(torch, way)
                break
            except Exception:  # another version, or names of two generations were mixed
                continue
    return found


def _ask(torch, way):
    thing = torch
    for part in way.rstrip("()").split("."):
        thing = getattr(thing, part)
    thing = thing() if way.endswith("()") else thing
    return thing if thing.__class__ in (bool, int, str) else str(thing)


def _change(first, last):
    return last if first == last or first is None else "%s → %s" % (first, last)


def _asked(resolved, optimizer):
    """Return what is not as it is by itself, and the first optimizer."""
    found = {"optimizer": optimizer["class"]}
    found.update((name, one) for name, one in optimizer.items() if name in ("lr", "weight_decay"))
    for name, usual in _USUAL.items():
        one = resolved.get(name, usual)
        if one != usual and (usual.__class__ is not tuple or one not in usual):
            found[name] = one
    return found


def _optimizer(optimizer):
    found = {"class": optimizer.__class__.__name__}
    defaults = getattr(optimizer, "defaults", {})
    found.update((name, value(one)) for name, one in list(defaults.items())[:30])
    groups = optimizer.param_groups
    found["parameters"] = sum(one.numel() for group in groups for one in group["params"])
    found["groups"] = len(groups)
    return found


def _devices(torch):
    cuda = sys.modules.get("torch.cuda")
    if cuda is None or not cuda.is_initialized():
        return []
    return [cuda.get_device_name(number) for number in range(cuda.device_count())]
