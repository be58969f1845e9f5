"""Forcing: give library calls what a rebuild changes on purpose; asleep without ``MLREPRO_FORCE``.

The variable holds JSON (`cleanroom/factors.py` writes it): ``lightgbm`` and ``xgboost`` are merged
over the parameters of each training, ``sklearn`` is set on the estimators that have the parameter
at their outermost fit, ``seed`` goes to the generators that the program does not seed by itself.

The functions are wrapped before anybody watches them, so a watch tells what the program passed and
what took effect. Children inherit the variable, and with it all of this.
"""

import os
import sys

from .log import swallow


def start(text):
    """Return what is to be done with each module that has just been executed; None for nothing."""
    import json

    try:
        wanted = json.loads(text)
        forced = {name: dict(wanted.get(name) or {}) for name in ("lightgbm", "xgboost", "sklearn")}
        seed = wanted.get("seed")
        return _Forcing(forced, _Seeds(seed) if seed.__class__ is int else None).force
    except Exception as error:
        swallow(error)
        return None


class _Forcing:
    def __init__(self, forced, seeds):
        self.lightgbm, self.xgboost, self.sklearn = (
            forced[name] for name in ("lightgbm", "xgboost", "sklearn")
        )
        self.seeds = seeds

    def force(self, module):
        """Wrap what a module has, where something is to be given to it."""
        verb = _VERBS.get(module.__name__)
        if verb is None or getattr(module, "_mlrepro_forced", False):
            return
        try:
            module._mlrepro_forced = True
            verb(self, module)
        except Exception as error:
            swallow(error)

    def _lightgbm_engine(self, module):
        for name in ("train", "cv") if self.lightgbm else ():
            setattr(module, name, _passing(getattr(module, name), self._of_lightgbm))

    def _lightgbm_basic(self, module):
        if self.lightgbm:  # loops over `update`; `train` makes its boosters by it, too
            kind = module.Booster
            kind.__init__ = _passing(kind.__init__, self._of_lightgbm, method=True)

    def _of_lightgbm(self, params, data):
        """Return the parameters of a training; None where the call is none."""
        if not hasattr(data, "set_categorical_feature"):
            return None
        mains = _aliases(sys.modules["lightgbm.basic"])
        forced = dict(self.lightgbm)
        made = getattr(data, "_handle", getattr(data, "handle", None)) is not None
        if made and "seed" in forced:
            # Of a data set that was constructed, this one cannot be changed any more.
            forced.setdefault("data_random_seed", _made_with(data, mains))
        return _merged(params, forced, mains)

    def _xgboost_training(self, module):
        for name in ("train", "cv") if self.xgboost else ():
            setattr(module, name, _passing(getattr(module, name), self._of_xgboost))

    def _xgboost_core(self, module):
        if self.xgboost:
            kind = module.Booster
            kind.__init__ = _passing(kind.__init__, self._of_xgboost, method=True)

    def _of_xgboost(self, params, data):
        if not data:  # a booster that is loaded from a file
            return None
        if params.__class__ is list:  # pairs; one name may stand there twice
            names = {_XGBOOST.get(name, name) for name in self.xgboost}
            left = [one for one in params if _XGBOOST.get(one[0], one[0]) not in names]
            return left + list(self.xgboost.items())
        return _merged(params, self.xgboost, _XGBOOST)

    def _sklearn(self, module):
        original = getattr(module, "_fit_context", None)
        if original is None or not self.sklearn:
            return
        from functools import wraps

        @wraps(original)
        def _fit_context(*args, **kwargs):
            decorate = original(*args, **kwargs)
            return lambda method: self._fitting(decorate(method))

        module._fit_context = _fit_context

    def _fitting(self, method):
        from functools import wraps

        @wraps(method)
        def fit(estimator, *args, **kwargs):
            try:
                if _is_outermost(sys._getframe(1)):
                    self._set(estimator)
            except Exception as error:
                swallow(error)
            return method(estimator, *args, **kwargs)

        _FITTING.add(fit.__code__)
        return fit

    def _set(self, estimator):
        known = estimator.get_params(deep=True)
        given = {
            name: self.sklearn[name.rpartition("__")[2]]
            for name in known
            if name.rpartition("__")[2] in self.sklearn
        }
        if given:
            estimator.set_params(**given)

    def _random(self, module):
        if self.seeds:
            self.seeds.python(module)

    def _numpy(self, module):
        if self.seeds:
            self.seeds.numpy(module)

    def _torch(self, module):
        if self.seeds:
            module.manual_seed(self.seeds.seed)


_VERBS = {
    "lightgbm.basic": _Forcing._lightgbm_basic,
    "lightgbm.engine": _Forcing._lightgbm_engine,
    "numpy.random": _Forcing._numpy,
    "random": _Forcing._random,
    "sklearn.base": _Forcing._sklearn,
    "torch": _Forcing._torch,
    "xgboost.core": _Forcing._xgboost_core,
    "xgboost.training": _Forcing._xgboost_training,
}
# Of the parameters that are forced at all; as in `xgboosts`.
_XGBOOST = {
    "alpha": "reg_alpha",
    "eta": "learning_rate",
    "gamma": "min_split_loss",
    "lambda": "reg_lambda",
    "n_jobs": "nthread",
    "random_state": "seed",
}


def _passing(function, change, method=False):
    """Return a function whose first two arguments, parameters and data, are changed on the way."""
    from functools import wraps

    from .asking import unseen

    first = 1 if method else 0

    @wraps(function)
    @unseen
    def call(*args, **kwargs):
        try:
            args, kwargs = _changed(change, first, args, kwargs)
        except Exception as error:
            swallow(error)
        return function(*args, **kwargs)

    return call


_DATA = ("train_set", "dtrain", "cache")


def _changed(change, first, args, kwargs):
    by_place = len(args) > first
    params = args[first] if by_place else kwargs.get("params")
    data = args[first + 1] if len(args) > first + 1 else None
    if data is None:
        data = next((kwargs[name] for name in _DATA if kwargs.get(name) is not None), None)
    if data is None:
        return args, kwargs
    found = change(params, data)
    if found is None:
        return args, kwargs
    if by_place:
        return (*args[:first], found, *args[first + 1 :]), kwargs
    return args, {**kwargs, "params": found}


def _merged(params, forced, mains):
    """Return parameters with others over them, whatever other name a parameter was passed by."""
    names = {mains.get(name, name) for name in forced}
    left = {k: v for k, v in dict(params or {}).items() if mains.get(k, k) not in names}
    left.update((mains.get(name, name), value) for name, value in forced.items())
    return left


def _aliases(basic):
    from .lightgbms import _Library

    if not _KNOWN:
        _KNOWN.append(_Library(basic))
    return _KNOWN[0].mains()


_KNOWN = []


def _made_with(data, mains):
    given = getattr(data, "params", None) or {}
    named = {mains.get(name, name): value for name, value in given.items()}
    return named.get("data_random_seed", 1)  # the library's own


def _is_outermost(frame):
    """Whether no other estimator is being fitted, in this thread or where a worker's task began.

    The trees of a forest get their states from the forest's. What cross validation fits is the
    program's own.
    """
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        inside = name.startswith("sklearn.") and not name.startswith(_SPREADING)
        if inside or frame.f_code in _FITTING:
            return False
        frame = frame.f_back
    return True


_FITTING = set()
_SPREADING = ("sklearn.base", "sklearn.model_selection.", "sklearn.utils.")


class _Seeds:
    """What the generators get that the program does not seed; each time another, in order."""

    def __init__(self, seed):
        self.seed = seed
        self.count = 0
        self.forks = 0
        self.path = ()
        os.register_at_fork(before=self._before, after_in_child=self._start)

    def _before(self):
        self.forks += 1

    def _start(self):
        """A child that was forked draws its own, as it would have done."""
        self.path += (self.forks,)
        self.count = self.forks = 0

    def number(self, bits):
        """Return the next seed."""
        from hashlib import sha512

        self.count += 1
        found, block = b"", 0
        while 8 * len(found) < bits:
            found += sha512(repr((self.seed, self.path, self.count, block)).encode()).digest()
            block += 1
        return int.from_bytes(found, "big") >> (8 * len(found) - bits)

    def python(self, module):
        """Seed `random`, and each ``random.Random()`` from now on but those for names of files."""
        original = module.Random.seed
        from functools import wraps

        @wraps(original)
        def seed(generator, a=None, version=2):
            if a is None and not _names_files(sys._getframe(1)):
                a = self.number(64)
            return original(generator, a, version)

        original(module._inst, self.seed)
        # In a child, its own handler, which was there before, asks the system.
        os.register_at_fork(after_in_child=lambda: original(module._inst, self.number(64)))
        module.Random.seed = seed
        module.seed = module._inst.seed

    def numpy(self, module):
        """Seed `numpy.random`, and be what gives entropy to all generators made without a seed."""
        module.bit_generator.randbits = self.number
        module.seed(self.seed % 2**32)


def _names_files(frame):
    for _ in range(4):
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "tempfile":
            return True
        frame = frame.f_back
    return False
