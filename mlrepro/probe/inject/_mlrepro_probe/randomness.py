"""Randomness: digests of the global generators' states, and who was given a seed.

The states are read, never advanced. A ``y`` record is a JSON text with ``name``, ``seed`` (null
where a generator starts anew each time), ``where`` (file, colon, line; of an unseeded one) and
``count``: how many of that name and kind the process had by then. The first `DETAILED` of a name
are told, then every doubling, and the last count at the end.

No class is replaced: Python's own go through `Random.seed`, and all of NumPy's that are made
without a seed ask ``numpy.random.bit_generator.randbits`` for entropy. A `RandomState` does so
even with a seed, which it takes afterwards; so of the classes only ``RandomState()``, written
without an argument, is known to have none.
"""

import os
import sys

from .log import swallow

DETAILED = 10
_PACKAGES = ("/site-packages/", "/dist-packages/")


def states():
    """Return generator → digest of its state, 16 hex digits, of those that are loaded.

    It takes 60 µs: 12 for Python's, 45 for NumPy's, which copies its 624 words one by one.
    """
    found = {}
    for name, read in _STATES:
        try:
            digest = read(sys.modules.get)
            if digest:
                found[name] = digest
        except Exception as error:
            swallow(error)
    return found


def _python(loaded):
    module = loaded("random")
    if module is None:
        return None
    _, words, gauss = module.getstate()
    # Of numbers alone, the hash is the same in all processes; of None it is not.
    return "%016x" % (hash((words, -1 if gauss is None else gauss)) & 0xFFFFFFFFFFFFFFFF)


def _numpy(loaded):
    module = loaded("numpy.random.mtrand")
    if module is None:
        return None
    from hashlib import blake2b

    state = module._rand.get_state(legacy=False)
    digest = blake2b(digest_size=8)
    inner = state.pop("state")
    for value in (*inner.values(), *state.values()):
        digest.update(value if hasattr(value, "dtype") else repr(value).encode())
    return digest.hexdigest()


def _torch(loaded):
    module = loaded("torch.random")
    if module is None:
        return None
    from ctypes import string_at
    from hashlib import blake2b

    state = module.default_generator.get_state()
    data = string_at(state.data_ptr(), state.numel())
    return blake2b(data, digest_size=8).hexdigest()


_STATES = (("python", _python), ("numpy", _numpy), ("torch", _torch))


def patch(module, log):
    """Note who seeds the generators of a module, and who makes one without a seed."""
    notes = _notes(log)
    if module.__name__ == "random":
        _patch_random(module, notes)
    else:
        _patch_numpy(module, notes)


def watch_seed(function, name, log):
    """Return `function`, which seeds the global generator `name` with its first argument."""
    from functools import wraps

    notes = _notes(log)

    @wraps(function)
    def seed(*args, **kwargs):
        result = function(*args, **kwargs)
        try:
            value = args[0] if args else next(iter(kwargs.values()), None)
            if value is not None:
                notes.add(name, value)
        except Exception as error:
            swallow(error)
        return result

    seed._mlrepro = True
    _OWN.add(seed.__code__)
    return seed


def note(name, seed, log):
    """Note that the global generator `name` was given a seed."""
    _notes(log).add(name, seed)


def _patch_random(module, notes):
    original, shared = module.Random.seed, module._inst
    if hasattr(original, "_mlrepro"):
        return
    from functools import wraps

    @wraps(original)
    def seed(self, a=None, version=2):
        result = original(self, a, version)
        try:
            if self is shared:
                notes.add("python", a)
            elif a is None and _is_called_with_nothing(sys._getframe(2)):  # not by `pickle`
                notes.add("python Random", None)
        except Exception as error:
            swallow(error)
        return result

    seed._mlrepro = True
    module.Random.seed = seed
    module.seed = shared.seed  # a bound method, as it was


def _patch_numpy(module, notes):
    inner, maker = module.mtrand, module.bit_generator
    if hasattr(module.seed, "_mlrepro"):
        return
    module.seed = inner.seed = watch_seed(module.seed, "numpy", notes.log)
    module.default_rng = module._generator.default_rng = _like(module.default_rng)
    original = maker.randbits

    def randbits(k):
        try:
            frame = sys._getframe(1)  # compiled code has no frame
            name = _MAKERS.get(frame.f_code.co_name, "") if frame.f_code in _OWN else ""
            if name or _is_called_with_nothing(frame):
                notes.add(name or "numpy generator", None)
        except Exception as error:
            swallow(error)
        return original(k)

    maker.randbits = randbits


_OWN = set()
_MAKERS = {"seed": "numpy", "default_rng": "numpy default_rng"}


def _like(function):
    """Return a function that calls another one, and shows by its frame that it was called."""
    from functools import wraps

    @wraps(function)
    def default_rng(*args, **kwargs):
        return function(*args, **kwargs)

    _OWN.add(default_rng.__code__)
    return default_rng


def _is_called_with_nothing(frame):
    """Whether the call that a frame is in was written ``f()``."""
    from opcode import opname

    module = frame.f_globals.get("__name__")
    if module == "numpy.random._pickle":
        return False  # a copy, which gets the other's state
    if module == "optuna.samplers._lazy_random_state" and _is_seeded_next(frame):
        return False
    code, at = frame.f_code.co_code, frame.f_lasti
    names = ("CALL", "CALL_FUNCTION", "CALL_METHOD", "PRECALL")
    return opname[code[at]] in names and code[at + 1] == 0


def _is_seeded_next(frame):
    """Whether Optuna makes a random state in order to seed it: only then at once."""
    for _ in range(3):
        if frame is not None and frame.f_code.co_name == "__init__":
            return True
        frame = frame and frame.f_back
    return False


_NOTES = []


def _notes(log):
    if not _NOTES:
        _NOTES.append(_Notes(log))
    return _NOTES[0]


class _Notes:
    """What was told of this process, and the counts of what was not."""

    def __init__(self, log):
        import atexit

        self.log = log
        self.library = ()
        self._start()
        os.register_at_fork(after_in_child=self._start)
        atexit.register(self._end)

    def _start(self):
        self.counts = {}
        self.untold = {}

    def add(self, name, value):
        """Count a seeding, or the making of an unseeded generator; 1 µs once it is known."""
        key = name, value is not None
        count = self.counts.get(key, 0) + 1
        self.counts[key] = count
        if count > DETAILED and count & (count - 1):
            self.untold[key] = count
            return
        where = self._where(name) if value is None else _seeder()
        if where is None:
            self.counts[key] = count - 1
            return
        self._tell(name, _text(value), where, count)
        self.untold.pop(key, None)

    def _tell(self, name, seed, where, count):
        import json

        record = {"name": name, "seed": seed, "where": where, "count": count}
        self.log.write(b"y", json.dumps(record))

    def _end(self):
        try:
            for (name, seeded), count in list(self.untold.items()):
                self._tell(name, "" if seeded else None, "", count)
            self.untold.clear()
        except Exception:  # the program is over; nobody is left to hear of it
            pass

    def _where(self, name):
        """Return the first line of the user's on the way here; None for what a library is about.

        Libraries make generators for jitter and temporary names with Python's own class, and
        some when they are imported.
        """
        if not self.library:
            from .environment import _library

            self.library = (*_library(), os.__file__.rpartition("/")[0] + "/random.py")
        frame = sys._getframe(2)
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith("<frozen importlib"):
                return None
            if path != __file__ and not path.startswith(self.library):
                if not any(packages in path for packages in _PACKAGES):
                    return "%s:%d" % (path, frame.f_lineno)
                if name == "python Random":
                    return None
            elif name == "python Random" and path != __file__ and not path.endswith("/random.py"):
                return None
            frame = frame.f_back
        return ""


def _seeder():
    """Return nothing to be told of a seeding, or None: workers of PyTorch's loaders seed all."""
    frame = sys._getframe(2)
    for _ in range(4):
        if frame is None:
            break
        if frame.f_globals.get("__name__") == "torch.utils.data._utils.worker":
            return None
        frame = frame.f_back
    return ""


def _text(value):
    """Return a seed as text; nothing of the user's is called."""
    if value is None or value.__class__ in (int, str, float, bytes, bool):
        return None if value is None else str(value)[:80]
    if value.__class__.__module__ == "numpy" and not getattr(value, "shape", 1):
        return str(value)[:80]
    if value.__class__ in (list, tuple) and len(value) <= 16:
        return "[%s]" % ", ".join([_text(one) or "None" for one in value])[:80]
    return value.__class__.__name__
