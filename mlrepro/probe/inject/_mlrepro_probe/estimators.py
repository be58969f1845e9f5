"""Estimators: scikit-learn's fits: parameters, rounds, scores, data, and what was learned.

Since version 1.3 all of them pass through the decorator ``sklearn.base._fit_context``, and so do
those of packages that build on it; older versions are not watched. Nothing of an estimator is
called but `get_params`, which scikit-learn itself calls for each copy.
"""

import sys

from . import learning
from .values import data, parameters, value

_MOST = 400
_MOST_LATEST = 256
_LARGEST = 8 * 2**20
_SMALL = 32
_PRIVATE = ("_alpha", "_gamma", "_max_samples", "_n_init", "_n_samples_bootstrap")
"""Values that took the place of ``auto`` and ``scale``."""

_COPIES = ("copy", "joblib.hashing", "multiprocessing.", "joblib.externals.loky")


def patch(module, fits):
    """Watch each fit method that is decorated from now on."""
    if module.__name__ == "sklearn.utils.validation":
        if fits.evaluations is not None:
            fits.evaluations.watch_metrics(module)
        return
    original = getattr(module, "_fit_context", None)
    if original is None or hasattr(original, "_mlrepro"):
        return
    from functools import wraps

    describer = _Describer(fits)

    @wraps(original)
    def _fit_context(*args, **kwargs):
        decorate = original(*args, **kwargs)

        def decorator(fit_method):
            return fits.watch(_namer(fit_method), decorate(fit_method), describer)

        return decorator

    _fit_context._mlrepro = True
    module._fit_context = _fit_context
    _watch_pickling(module.BaseEstimator, fits)


def _namer(method):
    last = "." + getattr(method, "__name__", "fit")

    def name(estimator, *args, **kwargs):
        kind = estimator.__class__
        return "%s %s%s" % (kind.__module__.partition(".")[0], kind.__name__, last)

    return name


def _watch_pickling(base, fits):
    """Learn which models the program pickles: each is asked for its state."""
    original = base.__getstate__
    if hasattr(original, "_mlrepro"):
        return
    from functools import wraps

    from .asking import forget, unseen

    @wraps(original)
    @unseen
    def __getstate__(self):
        try:
            if _is_known(self, fits) and not _is_copied():
                fits.saved(self)
        except Exception as error:
            forget(error)
        return original(self)

    __getstate__._mlrepro = True
    base.__getstate__ = __getstate__


def _is_known(model, fits):
    if id(model) in fits.ids:
        return True
    held = fits.kept.held if fits.kept is not None else ()
    return any(one is model for _, _, objects in held for one in objects)


def _is_copied():
    """Whether a state is asked for by `copy`, to be hashed, or to be sent to a worker."""
    frame, steps = sys._getframe(2), 0
    while frame is not None and steps < 50:
        if frame.f_globals.get("__name__", "").startswith(_COPIES):
            return True
        frame, steps = frame.f_back, steps + 1
    return False


class _Describer:
    """Says what is known of a fit before it and after it."""

    def __init__(self, fits):
        self.fits = fits
        self.latest = {}  # id of a model → number of its latest fit

    def concerns(self, args):
        """Whether the program trains something, or scikit-learn a tool for its own ends.

        `log_loss` fits a `LabelBinarizer`; what cross validation fits can predict.
        """
        model = args[0]
        if hasattr(model.__class__, "predict"):
            return True
        frame = sys._getframe(1)
        while frame is not None and (
            frame.f_globals.get("__package__") == __package__ or frame.f_locals.get("self") is model
        ):
            frame = frame.f_back
        return frame is None or not frame.f_globals.get("__name__", "").startswith("sklearn.")

    def before(self, call, args, kwargs):
        """Note what was passed, where it is known already that it will be told."""
        told = _passed(call, args, kwargs) if self.fits.local.detailed else {}
        return {"state": (call, dict(told.get("resolved", ()))), **told}

    def rows(self, call, args, kwargs):
        """Return what the model learns from, where it predicts at all; see `evaluations`."""
        from . import evaluations

        named = dict(zip(("X", "y"), args[1:3]), **kwargs)  # noqa: B905  Python 3.8
        return evaluations.estimator_rows(args[0], lambda name, _position=99: named.get(name))

    def failed(self, state, args, kwargs):
        """Say what was passed to a fit that raised."""
        call, resolved = state
        return {} if resolved else _passed(call, args, kwargs)

    def after(self, state, result, args, kwargs, detailed):
        """Say what the estimator became."""
        model, (call, resolved) = args[0], state
        self._note(model)
        if not detailed:
            return {"text": self._later(model), "objects": (model,), "hold": True}
        found = {"resolved": resolved} if resolved else _passed(call, args, kwargs)
        _fitted(model, "", found["resolved"])
        found["rounds"] = learning.rounds(model, call)
        found["history"] = history = learning.history(model)
        found["scores"] = learning.scores(model, history)
        found["threads"] = learning.threads(model)
        best = getattr(model, "__dict__", {}).get("best_estimator_")
        found["objects"] = (model,) if best is None else (model, best)
        try:
            content = _content(model)
            found["text"], found["hold"] = content.data, content.left > _LARGEST - 2**20
        except Exception as error:
            found["text_left_out"] = str(error) or error.__class__.__name__
        return found

    def _note(self, model):
        self.latest.pop(id(model), None)
        self.latest[id(model)] = self.fits.count
        if len(self.latest) > _MOST_LATEST:
            del self.latest[next(iter(self.latest))]

    def _later(self, model):
        """Let the model of a short fit wait; by then it may have been trained anew."""
        number = self.fits.count

        def text():
            if self.latest.get(id(model)) != number:
                return None
            try:
                return _content(model).data()
            except Exception:
                return None

        return text


def _passed(call, args, kwargs):
    passed, resolved = {}, {}
    if args:
        _parameters(args[0], "", passed, resolved)
    return {"params": passed, "resolved": resolved, "data": _data(call, args, kwargs)}


def _content(model):
    from .archives import Content

    content = Content(_LARGEST)
    content.estimator("", model)
    return content


def _parameters(model, start, passed, resolved, depth=4):
    """Collect all parameters, and those that are not what the class would take by itself."""
    defaults = parameters(model.__class__)
    for name, thing in sorted(model.get_params(deep=False).items()):
        if len(resolved) >= _MOST:
            return
        full = start + name
        resolved[full] = short = value(thing)
        if name not in defaults or not _same(thing, defaults[name]):
            passed[full] = short
        for inner, one in _models_in(name, thing):
            if depth:
                _parameters(one, start + inner + "__", passed, resolved, depth - 1)


def _models_in(name, thing):
    """Yield the estimators that a parameter holds, and their names in `get_params`."""
    if thing.__class__ in (list, tuple):
        for one in thing[:_SMALL]:
            if one.__class__ in (list, tuple) and len(one) > 1 and one[0].__class__ is str:
                if _is_model(one[1]):
                    yield one[0], one[1]
    elif _is_model(thing):
        yield name, thing


def _is_model(thing):
    return hasattr(thing, "get_params") and not isinstance(thing, type)


def _same(thing, default):
    if thing is default:
        return True
    kinds = (bool, int, float, str, tuple)
    if thing.__class__ is not default.__class__ or thing.__class__ not in kinds:
        return False
    return thing == default or (thing != thing and default != default)


def _data(call, args, kwargs):
    names = ("X", "y", "sample_weight")
    if call.endswith(".partial_fit"):
        names = ("X", "y", "classes", "sample_weight")
    found = dict(zip(names, args[1:]))  # noqa: B905  Python 3.8
    found.update((name, kwargs[name]) for name in ("X", "y", "sample_weight") if name in kwargs)
    return [
        "%s: %s" % (name, data(thing))
        for name, thing in found.items()
        if thing is not None and name != "classes"
    ]


def _fitted(model, start, resolved, depth=4):
    """Add the small values that the estimator has learned, as ``n_iter_``."""
    for name, thing in sorted(getattr(model, "__dict__", {}).items()):
        public = name.endswith("_") and name[0] != "_" and "time" not in name
        if (public or name in _PRIVATE) and len(resolved) < _MOST and _is_small(thing):
            resolved[start + name] = value(thing)
    for inner, one in _models_in("", getattr(model, "__dict__", {}).get("steps")):
        if depth:
            _fitted(one, start + inner + "__", resolved, depth - 1)


def _is_small(thing):
    kind = thing.__class__
    if thing is None or kind in (bool, int, float, str):
        return True
    if kind in (list, tuple, dict):
        inside = thing.values() if kind is dict else thing
        return len(thing) <= _SMALL and all(
            one is None or one.__class__ in (bool, int, float, str) for one in inside
        )
    return kind.__module__ == "numpy" and getattr(thing, "size", _SMALL + 1) <= _SMALL
