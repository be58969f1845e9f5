"""Fits: record each call that trains a model: what was in effect, how it went, what it made.

A *describer* knows one library. Its two methods return plain dictionaries whose keys are the
fields of a fit's record; it asks the library, and never calls back, predicts or draws. Calls
inside another one, as those of a search, are counted in the outermost call of their thread.
"""

import os
import sys
from _thread import _local, get_ident  # `threading` takes a ms of each process's start
from time import perf_counter

MOST_DETAILED = 50
"""Fits of one process that are described in full; of later ones the long ones and a few more."""


def unseen(function):
    """Take the function's frame out of what `warnings` counts.

    A library that warns of its caller would name this file: the frames of `importlib` are skipped,
    and are known by these words in their file's name.
    """
    name = "<frozen importlib._bootstrap: mlrepro>"
    function.__code__ = function.__code__.replace(co_filename=name)
    return function


class Fits:
    """The fits of one process."""

    def __init__(self, log):
        from . import facts

        self.log = log
        self.ids = {}  # id of a model object → id of its fit, weak reference
        self.kept = None
        self._start()
        os.register_at_fork(after_in_child=self._start)
        facts.LAST.append(self.close)

    def _start(self):
        self.main = get_ident()  # the thread that started the interpreter, or the one that forked
        self.local = _local()
        self.searching = None  # calls inside the outermost one of that thread
        self.count = 0
        self.by_hand = {}  # id of a model object → its fit that has not ended
        if self.kept is not None:
            self.kept.start()

    def watch(self, call, function, describer):
        """Return `function`, recorded each time that it is called.

        Parameters
        ----------
        call : str or callable
            Its name in the record, or what makes one of the call's arguments.
        describer : object
            ``before(call, args, kwargs)`` returns what is known at the start as a dict; its
            ``"state"`` is handed on to ``after(state, result, args, kwargs, detailed)``, which
            returns a dict of the record's fields; there ``"text"`` is a callable that returns the
            trained model's canonical text (str, bytes or None), ``"objects"`` are the model
            objects by which `saved` knows it again, and ``"hold"`` is true where these may live
            on for a while, so that the text need not be made at once. A describer may have
            ``failed(state)``, which is called instead of `after` where the call has raised. The
            state is also `self.local.state` of the thread while the call lasts.
        """
        if getattr(function, "_mlrepro", False):
            return function
        from functools import wraps

        watched = _Watched(self, call, function, describer)

        @wraps(function)
        @unseen
        def fit(*args, **kwargs):
            return watched(args, kwargs)

        fit._mlrepro = True
        return fit

    @unseen
    def _each(self, call, function, describer, args, kwargs):
        local = self.local
        outer = getattr(local, "outer", None)
        if outer is None and get_ident() != self.main:
            outer = self.searching  # a thread of the search's, as joblib's
        if outer is None:
            return self._outermost(call, function, describer, args, kwargs)
        learner, before = _learner(call, args), getattr(local, "learner", None)
        own, local.outer = getattr(local, "outer", None), outer
        if learner is None or learner is not before:  # else it is `super().fit`
            name = _name(call, args, kwargs)
            outer[name] = outer.get(name, 0) + 1
        local.learner = learner
        try:
            return function(*args, **kwargs)
        finally:
            local.learner, local.outer = before, own

    @unseen
    def _outermost(self, call, function, describer, args, kwargs):
        local = self.local
        local.outer = inside = {}
        local.learner = _learner(call, args)
        if get_ident() == self.main:
            self.searching = inside
        self.count += 1
        one = _One(self.count, describer)
        self._before(one, _name(call, args, kwargs), args, kwargs)
        result = None
        began = perf_counter()
        try:
            result = function(*args, **kwargs)
            return result
        except BaseException as error:
            one.record["failed"] = error.__class__.__name__
            raise
        finally:
            one.record["seconds"] = round(perf_counter() - began, 6)
            local.outer = local.learner = local.state = None
            if self.searching is inside:
                self.searching = None
            one.record["inside"] = inside
            self._after(one, result, args, kwargs)

    def _before(self, one, name, args, kwargs):
        self.local.state = None
        self.local.detailed = one.number <= MOST_DETAILED
        one.record["call"] = name
        try:
            if self.local.detailed:
                from . import randomness

                one.record["entry"] = randomness.states()
            before = one.describer.before(name, args, kwargs)
            one.state = self.local.state = before.pop("state", None)
            one.record.update(before)
        except Exception as error:
            forget(error)

    def _after(self, one, result, args, kwargs):
        from . import models, randomness

        record = one.record
        detailed = models.is_told(one.number, record["seconds"], MOST_DETAILED)
        try:
            if "entry" in record:
                record["exit"] = randomness.states()
            if "failed" not in record:
                record.update(one.describer.after(one.state, result, args, kwargs, detailed))
            elif hasattr(one.describer, "failed"):
                record.update(one.describer.failed(one.state))
        except Exception as error:
            record["incomplete"] = error.__class__.__name__
            forget(error)
        self._write(one)

    def _write(self, one):
        record = one.record
        record["id"] = identity = one.identity
        text, objects = record.pop("text", None), record.pop("objects", ())
        hold = record.pop("hold", False)
        try:
            for model in objects:
                self.made(model, identity)
            if text is not None:
                record["model"] = self._models().keep(
                    identity, one.number, record["seconds"], text, hold
                )
        except Exception as error:
            forget(error)
        try:
            self.log.write(b"f", _json(record))
        except Exception as error:
            forget(error)

    def _models(self):
        if self.kept is None:
            from .models import Models

            self.kept = Models(self.log)
        return self.kept

    def made(self, model, identity):
        """Let `saved` know a model object again."""
        if len(self.ids) > _MOST_KNOWN:
            for key in [key for key, (_, reference) in self.ids.items() if reference() is None]:
                del self.ids[key]
        self.ids[id(model)] = identity, _reference(model)

    def saved(self, model):
        """Note that the program itself saved or serialised a model that a fit made."""
        if getattr(self.local, "outer", None) is not None:
            return  # the library does, to copy it
        identity, reference = self.ids.get(id(model), ("", None))
        if identity and reference() is model:
            del self.ids[id(model)]
            if self.kept is not None:
                self.kept.forget(identity)
            self.log.write(b"p", identity)

    def improved(self, call, model, describer, count=1):
        """Note that the program itself improved a model by `count` rounds, outside of any fit.

        The model is described when it goes, or when the process ends; `describer.gone(state,
        model)` does it, whose state is what ``describer.before(call, (model,), {})`` gave.
        """
        one = self.by_hand.get(id(model))
        if one is None:
            self.count += 1
            one = self.by_hand[id(model)] = _One(self.count, describer, _reference(model))
            one.began = perf_counter()
            self._before(one, call, (model,), {})
            self.local.state = None
            self.made(model, one.identity)
        one.seconds = perf_counter() - one.began
        return one.state

    def gone(self, model):
        """Write the fit of a model that the program improved itself, and that goes now."""
        one = self.by_hand.pop(id(model), None)
        if one is None or one.reference() not in (model, None):
            return
        one.record.update(seconds=round(one.seconds, 6), inside={})
        try:
            from . import randomness

            if "entry" in one.record:
                one.record["exit"] = randomness.states()
            one.record.update(one.describer.gone(one.state, model))
            if id(model) not in self.ids:  # the program has saved it
                one.record.pop("text", None)
        except Exception as error:
            forget(error)
        self._write(one)

    def close(self):
        """The process ends: write what waits."""
        for one in tuple(self.by_hand.values()):
            model = one.reference()
            if model is not None:
                self.gone(model)
        if self.kept is not None:
            self.kept.close()


_MOST_KNOWN = 1000


class _One:
    """A fit that goes on."""

    __slots__ = (
        "began",
        "describer",
        "identity",
        "number",
        "record",
        "reference",
        "seconds",
        "state",
    )

    def __init__(self, number, describer, reference=None):
        self.number = number
        self.identity = "%d-%d" % (os.getpid(), number)
        self.describer = describer
        self.record = {}
        self.reference = reference
        self.state = None


def forget(error):
    """Forget an error of ours or of a library that was asked; a signal handler's goes on."""
    signal = sys.modules.get("signal")
    if signal is None:
        return
    codes = {_code(signal.getsignal(number)) for number in range(1, signal.NSIG)}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            raise error
        trace = trace.tb_next


def _code(handler):
    if handler is None or handler.__class__.__name__ in ("Handlers", "builtin_function_or_method"):
        return None
    called = vars(type(handler)).get("__call__")
    for one in (handler, getattr(handler, "func", None), called):
        code = getattr(one, "__code__", None)
        if code is not None:
            return code
    return None


def _learner(call, args):
    """The object that learns, where the call is a method."""
    return args[0] if args and call.__class__ is not str else None


def _name(call, args, kwargs):
    if call.__class__ is str:
        return call
    try:
        return call(*args, **kwargs)
    except Exception as error:
        forget(error)
        return "fit"


def _json(record):
    import json

    try:
        return json.dumps(record, default=_word, skipkeys=True)
    except (ValueError, RecursionError):  # a value that holds itself
        short = {name: value for name, value in record.items() if name not in _OF_THE_PROGRAM}
        return json.dumps(short, default=_word, skipkeys=True)


_OF_THE_PROGRAM = ("params", "resolved")


def _word(value):
    """Write a value that JSON cannot hold; what says where it lies in memory is left out."""
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return name
    number = getattr(value, "item", None)
    if number is not None and getattr(value, "shape", None) == ():
        return number()
    return str(value)[:300].partition(" at 0x")[0]


def _reference(model):
    """Return a weak reference: the id of a model that is gone may be another object's."""
    from weakref import ref

    try:
        return ref(model)
    except TypeError:
        return lambda: model


class _Watched:
    """A function and its watcher; in a class that is pickled by its content, the function alone."""

    __slots__ = ("given", "watch")

    def __init__(self, fits, *given):
        self.watch = fits._each
        self.given = given

    @unseen
    def __call__(self, args, kwargs):
        return self.watch(*self.given, args, kwargs)

    def __reduce__(self):
        from functools import partial

        return partial, (_Plain(), self.given[1])


class _Plain:
    """Is a lambda where it arrives: nothing there needs this package."""

    def __reduce__(self):
        return eval, ("lambda function, args, kwargs: function(*args, **kwargs)",)
