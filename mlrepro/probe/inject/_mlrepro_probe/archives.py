"""Archives: a trained model as an npz of its numbers, which can be compared one by one.

What a model has learned is walked through by the names of its attributes. Arrays of one name, as
those of a forest's trees, are joined; single numbers of one kind stand together in the structured
array ``numbers``; class names, parameters and other words in ``words.json``. Times are left out,
and so is all that says where something lies in memory. The same model gives the same bytes.
Copying the arrays takes a hundredth of the time of writing numbers as text.
"""

import json
import math
import struct
from zlib import crc32

from .values import parameters, value

_DEEPEST = 40
_MOST_STEPS = 200_000
_TIMES = ("refit_time_", "fit_time", "score_time", "_stop_words_id")
"""Times, and where something lies in memory."""


class NoFormError(Exception):
    """Something has no canonical form; the words say what."""


class Content:
    """Numbers and words of a model by their places in it."""

    def __init__(self, largest):
        self.left = largest
        self.steps = 0
        self.arrays = {}
        self.numbers = {}
        self.words = {}

    def add(self, path, thing, depth=0):
        """Take in one attribute and what it consists of."""
        self.steps += 1
        if depth > _DEEPEST or self.steps > _MOST_STEPS:
            raise NoFormError("it is too deep or has too many parts")
        kind = thing.__class__
        if kind is float or kind is int or kind is bool:
            self._number(path, thing)
        elif thing is None or kind is str:
            self.words.setdefault(path, []).append(thing)
        elif kind in _WALKS:
            _WALKS[kind](self, path, thing, depth + 1)
        else:
            self._other(path, thing, depth + 1)

    def _number(self, path, number):
        if number.__class__ is int and not -(2**63) <= number < 2**63:
            self.words.setdefault(path, []).append(str(number))
        else:
            self.numbers.setdefault(path, []).append(number)

    def _sequence(self, path, things, depth):
        for one in things:
            self.add(path, one, depth)

    def _mapping(self, path, things, depth):
        for key in sorted(things, key=_key):
            name = _key(key)
            if not any(word in name for word in _TIMES):
                self.add("%s.%s" % (path, name), things[key], depth)

    def _set(self, path, things, depth):
        self._sequence(path, sorted(things, key=_key), depth)

    def _words(self, path, thing, depth):
        self.words.setdefault(path, []).append(value(thing))

    def _other(self, path, thing, depth):
        module = thing.__class__.__module__.partition(".")[0]
        if module == "numpy" and hasattr(thing, "dtype") and hasattr(thing, "shape"):
            self._array(path, thing, depth)
        elif module == "numpy" and "dtype" in thing.__class__.__name__.lower():
            self._words(path, thing, depth)
        elif isinstance(thing, tuple):
            self._sequence(path, thing, depth)
        elif isinstance(thing, dict):
            self._mapping(path, thing, depth)
        elif callable(thing) and hasattr(thing, "__qualname__"):
            self._words(path, thing, depth)
        elif hasattr(thing, "get_params"):
            self.estimator(path, thing, depth)
        elif module == "pandas":
            self._table(path, thing, depth)
        elif module in ("numpy", "scipy", "sklearn"):
            self._object(path, thing, depth)
        else:
            raise NoFormError("%s is of the class %s" % (path, thing.__class__.__name__))

    def _array(self, path, array, depth):
        if array.dtype.names:
            for name in array.dtype.names:
                self._array("%s.%s" % (path, name), array[name], depth)
        elif array.dtype.hasobject:
            self._sequence(path, array.ravel().tolist(), depth)
        elif not array.shape:
            self.add(path, array.item(), depth)
        else:
            self.left -= array.nbytes
            if self.left < 0:
                raise NoFormError("it is too large")
            self.arrays.setdefault(path, []).append((array.dtype.str, array.shape, array.tobytes()))

    def _table(self, path, table, depth):
        if hasattr(table, "columns"):
            self._sequence(path + ".columns", list(table.columns), depth)
            for name in table.columns:
                self.add("%s.%s" % (path, name), table[name].to_numpy(), depth)
        else:
            self.add(path, table.to_numpy(), depth)

    def estimator(self, path, model, depth=0):
        """Take in an estimator: its class, its parameters, what it has learned."""
        start = path + "." if path else ""
        self.words.setdefault(start + "class", []).append(value(model.__class__))
        given = parameters(model.__class__)
        for name in sorted(vars(model)):
            thing = vars(model)[name]
            if name in given:
                if hasattr(thing, "get_params") and not isinstance(thing, type):
                    continue  # as it was before it was trained; what was learned is elsewhere
                if not _holds_models(thing):
                    self.words.setdefault(start + name, []).append(value(thing))
                    continue
            if not any(word in name for word in _TIMES):
                self.add(start + name, thing, depth + 1)

    def _object(self, path, thing, depth):
        """An object of a library's: by its attributes, or else by what it is pickled as."""
        self.words.setdefault(path + ".class", []).append(value(thing.__class__))
        if thing.__class__.__name__ in ("RandomState", "Generator"):
            return  # how far it was advanced is no part of what was learned
        if hasattr(thing, "__dict__") and not hasattr(thing.__class__, "__getstate__"):
            state = vars(thing)
        elif "__getstate__" in vars(thing.__class__):
            state = thing.__getstate__()
        else:
            state = _reduced(path, thing)
        self.add(path, state, depth)

    def data(self):
        """Return the bytes of the archive."""
        arrays, words = dict(self.arrays), dict(self.words)
        fields = []
        for path in sorted(self.numbers):
            numbers = self.numbers[path]
            descr, form = _form(numbers)
            if len(numbers) == 1:
                fields.append((path, descr, struct.pack("<" + form, *numbers)))
            else:
                data = struct.pack("<%d%s" % (len(numbers), form), *numbers)
                arrays.setdefault(path + ".number", []).append((descr, (len(numbers),), data))
        members = []
        if fields:
            descr = repr([(path, descr) for path, descr, _ in fields])
            members.append(("numbers.npy", _npy(descr, (1,), b"".join([f[2] for f in fields]))))
        for path in sorted(arrays):
            members += _joined(path, arrays[path])
        text = json.dumps(words, sort_keys=True, indent=0, default=str)
        members.append(("words.json", text.encode("ascii")))
        return _zip(members)


def _key(key):
    return key if key.__class__ is str else repr(key)[:200]


def _holds_models(thing):
    """Whether a parameter is a list of named estimators, as the steps of a pipeline."""
    if thing.__class__ not in (list, tuple):
        return False
    parts = [part for one in thing if one.__class__ is tuple for part in one]
    return any(hasattr(part, "get_params") for part in parts)


def _reduced(path, thing):
    try:
        made = thing.__reduce_ex__(2)
    except TypeError:
        made = None
    if made.__class__ is not tuple:
        raise NoFormError("%s is of the class %s" % (path, thing.__class__.__name__))
    arguments = [one for one in made[1] if one is not thing.__class__]
    return {"arguments": arguments, "state": made[2] if len(made) > 2 else None}


_WALKS = {
    list: Content._sequence,
    tuple: Content._sequence,
    set: Content._set,
    frozenset: Content._set,
    dict: Content._mapping,
    slice: Content._words,
    range: Content._words,
}


def _form(numbers):
    kinds = {number.__class__ for number in numbers}
    if kinds == {bool}:
        return "|b1", "?"
    return ("<f8", "d") if float in kinds else ("<i8", "q")


def _joined(path, parts):
    """Return the members for the arrays of one path; of several, their sizes too."""
    kinds = sorted({part[0] for part in parts})
    members = []
    for kind in kinds:
        mine = [part for part in parts if part[0] == kind]
        name = path if len(kinds) == 1 else "%s %s" % (path, kind)
        if len(mine) == 1:
            members.append((name + ".npy", _npy(repr(kind), mine[0][1], mine[0][2])))
            continue
        sizes = [math.prod(part[1]) for part in mine]
        members.append(
            (name + ".npy", _npy(repr(kind), (sum(sizes),), b"".join([p[2] for p in mine])))
        )
        data = struct.pack("<%dq" % len(sizes), *sizes)
        members.append((name + ".sizes.npy", _npy("'<i8'", (len(sizes),), data)))
    return members


def _npy(descr, shape, data):
    """Return an array in NumPy's format, version 1.0, or 2.0 for a long header (NEP 1)."""
    header = "{'descr': %s, 'fortran_order': False, 'shape': %r, }" % (descr, tuple(shape))
    head = header.encode("ascii", "backslashreplace")
    wide = len(head) > 65000
    fixed = 12 if wide else 10
    head += b" " * (-(fixed + len(head) + 1) % 64) + b"\n"
    size = struct.pack("<I" if wide else "<H", len(head))
    return b"\x93NUMPY" + (b"\x02\x00" if wide else b"\x01\x00") + size + head + data


def _zip(members):
    """Return an archive of stored members, all of the first day that the format knows."""
    parts, central, offset = [], [], 0
    for name, data in members:
        name = name.encode("utf-8", "surrogatepass")
        facts = struct.pack(
            "<5H3L2H", 20, 0x800, 0, 0, 33, crc32(data), len(data), len(data), len(name), 0
        )
        parts += [b"PK\3\4", facts, name, data]
        central += [
            b"PK\1\2\x14\x03",
            facts,
            struct.pack("<3H2L", 0, 0, 0, 0o600 << 16, offset),
            name,
        ]
        offset += 4 + len(facts) + len(name) + len(data)
    listing = b"".join(central)
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(listing), offset, 0
    )
    return b"".join([*parts, listing, end])
