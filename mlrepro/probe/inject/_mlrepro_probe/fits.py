"""Fits: record each call that trains a model: what was in effect, how it went, what it made.

A *describer* knows one library. Its two methods return plain dictionaries whose keys are the
fields of a fit's record; it asks the library, and never calls back, predicts or draws. Calls
inside another one, as those of a search, are counted in the outermost call of their thread.
"""

import os
from _thread import _local, get_ident  # `threading` takes a ms of each process's start
from time import perf_counter

from .log import swallow

LARGEST_MODEL = 8 * 2**20
"""Models whose canonical text is longer, in bytes, are not kept."""

MOST_MODELS = 64
"""Models that one process keeps; a search trains thousands."""

MOST_DETAILED = 50
"""Fits of one process that are described in full; of later ones only what costs nothing."""


class Fits:
    """The fits of one process."""

    def __init__(self, log):
        self.log = log
        self.local = _local()
        self.searching = None  # calls inside the outermost one of that thread
        self.ids = {}  # id of a model object → id of its fit, weak reference
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self):
        self.main = get_ident()  # the thread that started the interpreter, or the one that forked
        self.count = 0
        self.models = 0

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
            trained model's canonical text (str, bytes or None), and ``"objects"`` are the model
            objects by which `saved` knows it again.
        """
        if getattr(function, "_mlrepro", False):
            return function
        from functools import wraps

        watched = _Watched(self, call, function, describer)

        @wraps(function)
        def fit(*args, **kwargs):
            return watched(args, kwargs)

        fit._mlrepro = True
        return fit

    def _each(self, call, function, describer, args, kwargs):
        outer = getattr(self.local, "outer", None)
        if outer is None and get_ident() != self.main:
            outer = self.searching  # a thread of the search's, as joblib's
        if outer is not None:
            name = call if call.__class__ is str else _name(call, args, kwargs)
            outer[name] = outer.get(name, 0) + 1
            return function(*args, **kwargs)
        return self._outermost(call, function, describer, args, kwargs)

    def _outermost(self, call, function, describer, args, kwargs):
        from . import randomness

        self.local.outer = inside = {}
        if get_ident() == self.main:
            self.searching = inside
        record, state = {}, None
        detailed = self.count < MOST_DETAILED
        self.count += 1
        try:
            record["call"] = call if call.__class__ is str else call(*args, **kwargs)
            if detailed:
                record["entry"] = randomness.states()
            before = describer.before(record["call"], args, kwargs)
            state = before.pop("state", None)
            record.update(before)
        except Exception as error:
            swallow(error)
        began = perf_counter()
        result = None
        try:
            result = function(*args, **kwargs)
            return result
        except BaseException as error:
            record["failed"] = error.__class__.__name__
            raise
        finally:
            record["seconds"] = round(perf_counter() - began, 6)
            self.local.outer = None
            if self.searching is inside:
                self.searching = None
            try:
                if detailed:
                    record["exit"] = randomness.states()
                record["inside"] = inside
                if "failed" not in record:
                    record.update(describer.after(state, result, args, kwargs, detailed))
                self._write(record, describer)
            except Exception as error:
                swallow(error)

    def _write(self, record, describer):
        identity = "%d-%d" % (os.getpid(), self.count)
        text, objects = record.pop("text", None), record.pop("objects", ())
        record["id"] = identity
        if text is not None and self.models < MOST_MODELS:
            record["model"] = self._keep(text, identity)
            for one in objects:
                self.ids[id(one)] = identity, _reference(one)
        import json

        self.log.write(b"f", json.dumps(record, default=str, skipkeys=True))

    def _keep(self, text, identity):
        """Write a model's text into the log's folder, and return the file's name."""
        text = text()
        if text is None:
            return ""
        data = text if text.__class__ is bytes else text.encode("utf-8", "surrogatepass")
        if len(data) > LARGEST_MODEL:
            return ""
        self.models += 1
        name = "model-" + identity
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self.log.folder + "/" + name, flags, 0o600)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        return name

    def saved(self, model):
        """Note that the program itself saved or serialised a model that a fit made."""
        identity, reference = self.ids.pop(id(model), ("", None))
        if identity and reference() is model:
            self.log.write(b"p", identity)


class _Watched:
    """A function and its watcher; in a class that is pickled by its content, the function alone."""

    __slots__ = ("given", "watch")

    def __init__(self, fits, *given):
        self.watch = fits._each
        self.given = given

    def __call__(self, args, kwargs):
        return self.watch(*self.given, args, kwargs)

    def __reduce__(self):
        from functools import partial

        return partial, (_Plain(), self.given[1])


class _Plain:
    """Is a lambda where it arrives: nothing there needs this package."""

    def __reduce__(self):
        return eval, ("lambda function, args, kwargs: function(*args, **kwargs)",)


def _reference(model):
    """Return a weak reference: the id of a model that is gone may be another object's."""
    from weakref import ref

    try:
        return ref(model)
    except TypeError:
        return lambda: model


def _name(call, args, kwargs):
    try:
        return call(*args, **kwargs)
    except Exception as error:
        swallow(error)
        return "fit"
