"""Values: parameters and data as short plain words and numbers; nothing of the user's is called."""

import math
import sys

_MOST = 32
_LONGEST = 200
_DEFAULTS = {}


def parameters(kind):
    """Return name → default of what a class is made with."""
    found = _DEFAULTS.get(kind)
    if found is None:
        from inspect import Parameter, signature

        try:
            given = signature(kind.__init__).parameters
        except (TypeError, ValueError):
            given = {}
        usual = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        found = {n: p.default for n, p in given.items() if n != "self" and p.kind in usual}
        if len(_DEFAULTS) < 1000:
            _DEFAULTS[kind] = found
    return found


def value(thing, depth=3):
    """Return what JSON can hold: small values themselves, of others their kind and size."""
    kind = thing.__class__
    if thing is None or kind is bool or kind is int:
        return thing
    if kind is float:
        return thing if math.isfinite(thing) else repr(thing)
    if kind is str:
        return thing if len(thing) <= _LONGEST else thing[: _LONGEST - 1] + "…"
    if depth == 0:
        return kind.__name__
    if kind in (list, tuple):
        if len(thing) > _MOST:
            return "%s of %d" % (kind.__name__, len(thing))
        return [value(one, depth - 1) for one in thing]
    if kind is dict:
        return {str(value(key)): value(one, depth - 1) for key, one in list(thing.items())[:_MOST]}
    if isinstance(thing, type) or hasattr(thing, "__qualname__"):
        return "%s.%s" % (getattr(thing, "__module__", ""), thing.__qualname__)
    return _object(thing, kind, depth)


def _object(thing, kind, depth):
    top = (kind.__module__ or "").partition(".")[0]
    if kind in (slice, range) or (top == "numpy" and "dtype" in kind.__name__.lower()):
        return str(thing)
    if top in ("numpy", "pandas", "scipy") and hasattr(thing, "shape"):
        if top == "numpy" and thing.dtype.kind in "biufUS" and thing.size <= _MOST:
            return value(thing.tolist(), depth - 1)
        return data(thing)
    name = kind.__name__
    if top == "scipy" and hasattr(thing, "dist"):  # a frozen distribution
        inside = [value(one, depth - 1) for one in (*thing.args, *thing.kwds.values())]
        return "%s(%s)" % (thing.dist.name, ", ".join(map(str, inside)))
    if top == "sklearn" and not hasattr(thing, "get_params"):
        inside = sorted(getattr(thing, "__dict__", {}).items())[:_MOST]
        words = ["%s=%s" % (n, value(v, depth - 1)) for n, v in inside if n[0] != "_"]
        return "%s(%s)" % (name, ", ".join(words))
    return name


def data(thing):
    """Return kind, shape and type of what a model learns from: ``DataFrame 7000 × 28 float64``."""
    name = thing.__class__.__name__
    shape = getattr(thing, "shape", None)
    if shape.__class__ is tuple:
        size = " × ".join(map(str, shape))
        parts = [name, size or "1", _types(thing)]
        if "scipy.sparse" in (thing.__class__.__module__ or ""):
            parts.append("with %d stored" % thing.nnz)
        return " ".join(filter(None, parts))
    if thing.__class__ in (list, tuple, dict, set):
        return "%s of %d" % (name, len(thing))
    return name


def _types(thing):
    if not hasattr(thing, "dtypes") or hasattr(thing, "dtype"):
        return str(getattr(thing, "dtype", ""))
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(thing, pandas.DataFrame):
        return ""
    found = list(dict.fromkeys(map(str, thing.dtypes.unique())))
    return ", ".join(found[:4] + ["…"] * (len(found) > 4))
