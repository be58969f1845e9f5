"""Fits: record each call that trains a model: what was in effect, how it went, what it made.

A *describer* knows one library. Its two methods return plain dictionaries whose keys are the
fields of a fit's record; it asks the library, and never calls back, predicts or draws. Calls
inside another one, as those of a search, are counted in the outermost call of their thread.
"""

import json
import os
import threading
from functools import wraps
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
        self.local = threading.local()
        self.ids = {}  # id of a model object → id of its fit
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self):
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

        @wraps(function)
        def fit(*args, **kwargs):
            outer = getattr(self.local, "outer", None)
            if outer is not None:
                name = call if call.__class__ is str else _name(call, args, kwargs)
                outer[name] = outer.get(name, 0) + 1
                return function(*args, **kwargs)
            return self._outermost(call, function, describer, args, kwargs)

        fit._mlrepro = True
        return fit

    def _outermost(self, call, function, describer, args, kwargs):
        from . import randomness

        self.local.outer = inside = {}
        record, state = {}, None
        detailed = self.count < MOST_DETAILED
        self.count += 1
        try:
            record["call"] = call if call.__class__ is str else call(*args, **kwargs)
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
            try:
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
                self.ids[id(one)] = identity
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
        identity = self.ids.pop(id(model), None)
        if identity is not None:
            self.log.write(b"p", identity)


def _name(call, args, kwargs):
    try:
        return call(*args, **kwargs)
    except Exception as error:
        swallow(error)
        return "fit"
