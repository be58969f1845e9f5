"""Fits: record each call that trains a model: what was in effect, how it went, what it made.

A *describer* knows one library. Its two methods return plain dictionaries whose keys are the
fields of a fit's record; it asks the library, and never calls back, predicts or draws. Calls
inside another one, as those of a search, are counted in the outermost call of their thread.
"""

import os
import sys
from _thread import _local, get_ident  # `threading` takes a ms of each process's start
from posix import environ  # as the process began; a look-up in `os.environ` would be noted
from time import perf_counter

from .asking import as_json, forget, unseen
from .models import FIRST, LONG, Models, is_told

MOST_DETAILED = 16
"""Fits of one process that are described in full; of later ones each 2ⁿ-th and the long ones."""

_WAITING = 32
_LONGEST_WAIT = 0.5
_MOST_KNOWN = 1000


class Fits:
    """The fits of one process."""

    def __init__(self, log):
        from . import facts

        self.log = log
        self.ids = {}  # id of a model object → id of its fit, weak reference
        self.kept = self.evaluations = None
        self._start()
        folder = os.fsdecode(environ.get(b"MLREPRO_EVALUATIONS", b""))
        if folder:
            from .evaluations import Evaluations

            self.evaluations = Evaluations(folder, self)
        threads = sys.modules.get("threading")
        if threads is not None:  # this one may have imported the library
            self.main = threads.main_thread().ident
        os.register_at_fork(after_in_child=self._start)
        facts.LAST.append(self.close)

    def _start(self):
        self.main = get_ident()  # the thread in which searches start, or the one that forked
        self.local = _local()
        self.searching = None  # calls inside the outermost one of that thread
        self.count = 0
        self.by_hand = {}  # id of a model object → its fit that has not ended
        self.waiting = []  # records of short fits, written together: the log is a file
        if self.kept is not None:
            self.kept.start()
        if self.evaluations is not None:
            self.evaluations.start()

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
            on for a while, so that the text need not be made at once; ``"rest"`` is a callable
            that returns fields which can wait until some records are written together. Where the
            call has raised, ``failed(state, args, kwargs)`` is called instead of `after`, if there
            is one. While the call lasts, `self.local.state` is its state, and `self.local.detailed`
            says whether it will be told in full however short it is. ``concerns(args)``, if there
            is one, says whether a call is one of the program's own at all.
        """
        if getattr(function, "_mlrepro", False):
            return function
        from functools import wraps

        begin = _Watched(self, call, describer)

        @wraps(function)
        @unseen
        def fit(*args, **kwargs):
            one = begin(args, kwargs)
            if one is None:
                return function(*args, **kwargs)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                one.failed(error)
                raise
            one.ended(result)
            return result

        fit._mlrepro = True
        return fit

    def begin(self, call, describer, args, kwargs):
        """A watched call begins in this thread; what is returned is told how it ended."""
        local = self.local
        outer = getattr(local, "outer", None)
        if outer is None and get_ident() != self.main:
            outer = self.searching  # a thread of the search's, as joblib's
        if outer is None:
            if not _concerns(describer, args):
                return None
            return self._outermost(call, describer, args, kwargs)
        one = _Inner(local, _learner(call, args))
        if one.learner is None or one.learner is not one.before[1]:  # else it is `super().fit`
            name = _name(call, args, kwargs)
            outer[name] = outer.get(name, 0) + 1
        local.outer, local.learner = outer, one.learner
        return one

    def _outermost(self, call, describer, args, kwargs):
        local = self.local
        self.count += 1
        one = _Outer(self, self.count, describer, args, kwargs)
        local.outer = one.record["inside"] = inside = {}
        local.learner = _learner(call, args)
        if get_ident() == self.main:
            self.searching = inside
        try:
            self._before(one, _name(call, args, kwargs), args, kwargs)
        except BaseException:
            self.leave(inside)
            raise
        one.began = perf_counter()
        return one

    def leave(self, inside):
        """The outermost call of this thread has ended."""
        local = self.local
        local.outer = local.learner = local.state = None
        if self.searching is inside:
            self.searching = None

    def _before(self, one, name, args, kwargs):
        self.local.state = None
        self.local.detailed = one.detailed = is_told(one.number, 0, MOST_DETAILED)
        one.record["call"] = name
        try:
            if one.detailed:
                from . import randomness

                one.record["entry"] = randomness.states()
            if self.evaluations is not None:
                self.evaluations.fitted(one, name, args, kwargs)
            before = one.describer.before(name, args, kwargs)
            one.state = self.local.state = before.pop("state", None)
            one.record.update(before)
        except Exception as error:
            forget(error)

    def after(self, one, result):
        """Describe and write a call that has ended."""
        record = one.record
        detailed = one.detailed or record["seconds"] >= LONG
        try:
            if "entry" in record:
                from . import randomness

                record["exit"] = randomness.states()
            if "failed" not in record:
                after = one.describer.after
                record.update(after(one.state, result, one.args, one.kwargs, detailed))
            elif hasattr(one.describer, "failed"):
                record.update(one.describer.failed(one.state, one.args, one.kwargs))
        except Exception as error:
            record["incomplete"] = error.__class__.__name__
            forget(error)
        if self.evaluations is not None and "failed" not in record:
            self.evaluations.ended(one, record.get("objects", ()))
        self._write(one, detailed)

    def _write(self, one, detailed):
        record = one.record
        record["id"] = one.identity
        try:
            self._keep(one, detailed)
        except Exception as error:
            forget(error)
        try:
            self.waiting.append(record)
            if detailed or len(self.waiting) >= _WAITING or self._is_late(record):
                self._flush()
        except Exception as error:
            forget(error)

    def _is_late(self, record):
        now = perf_counter()
        if record is self.waiting[0]:
            self.waited = now
        return now - self.waited > _LONGEST_WAIT

    def _flush(self):
        records, self.waiting = self.waiting, []
        self.log.write_all(b"f", [(self._text(record),) for record in records])

    def _text(self, record):
        try:
            rest = record.pop("rest", None)
            if rest is not None:
                record.update(rest())
        except Exception as error:
            forget(error)
        return as_json(record)

    def _keep(self, one, detailed):
        record = one.record
        text, objects = record.pop("text", None), record.pop("objects", ())
        hold = record.pop("hold", False)
        if text is not None:
            if self.kept is None:
                self.kept = Models(self.log)
            now = not hold or is_told(one.number, record["seconds"], FIRST)
            keep = self.kept.keep if now else self.kept.hold
            record["model"] = keep(one.identity, text, objects)
        if detailed:
            for model in objects:
                self.made(model, one.identity)

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
        identity, reference = self.ids.pop(id(model), ("", None))
        if reference is not None and reference() is not model:
            identity = ""
        if self.kept is not None:
            identity = self.kept.forget(identity, model)
        if identity:
            for key in [key for key, known in self.ids.items() if known[0] == identity]:
                del self.ids[key]  # an estimator's booster
            self.log.write(b"p", identity)

    def improved(self, call, model, describer):
        """Note that the program itself improved a model by a round, outside of any fit.

        The model is described when it goes, or when the process ends: `describer.gone(state,
        model, detailed)` does it; the state is what ``describer.before(call, (model,), {})`` gave.
        """
        one = self.by_hand.get(id(model))
        if one is None:
            self.count += 1
            one = self.by_hand[id(model)] = _Loop(self.count, describer, model)
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
            one.detailed = one.detailed or one.seconds >= LONG
            one.record.update(one.describer.gone(one.state, model, one.detailed))
            if id(model) not in self.ids:  # the program has saved it
                one.record.pop("text", None)
        except Exception as error:
            forget(error)
        self._write(one, one.detailed)

    def close(self):
        """The process ends: write what waits."""
        self._flush()
        for one in tuple(self.by_hand.values()):
            model = one.reference()
            if model is not None:
                self.gone(model)
        if self.kept is not None:
            self.kept.close()
        if self.evaluations is not None:
            self.evaluations.close()


class _One:
    """A fit that goes on."""

    def __init__(self, number, describer):
        self.number = number
        self.identity = "%d-%d" % (os.getpid(), number)
        self.describer = describer
        self.detailed = True
        self.record = {}
        self.state = None


class _Loop(_One):
    """A model that the program improves itself."""

    def __init__(self, number, describer, model):
        super().__init__(number, describer)
        self.reference = _reference(model)
        self.began = perf_counter()
        self.seconds = 0.0


class _Outer(_One):
    """The outermost call of its thread."""

    def __init__(self, fits, number, describer, args, kwargs):
        super().__init__(number, describer)
        self.fits = fits
        self.args = args
        self.kwargs = kwargs
        self.began = 0.0

    def failed(self, error):
        """It has raised."""
        self.record["failed"] = error.__class__.__name__
        self.ended(None)

    def ended(self, result):
        """It has returned."""
        self.record["seconds"] = round(perf_counter() - self.began, 6)
        self.fits.leave(self.record["inside"])
        self.fits.after(self, result)


class _Inner:
    """A call inside another one, which was counted already."""

    __slots__ = ("before", "learner", "local")

    def __init__(self, local, learner):
        self.local = local
        self.learner = learner
        self.before = getattr(local, "outer", None), getattr(local, "learner", None)

    def ended(self, _):
        """Put back what the call around it had."""
        self.local.outer, self.local.learner = self.before

    failed = ended


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


def _reference(model):
    """Return a weak reference: the id of a model that is gone may be another object's."""
    from weakref import ref

    try:
        return ref(model)
    except TypeError:
        return lambda: model


def _concerns(describer, args):
    try:
        return not hasattr(describer, "concerns") or describer.concerns(args)
    except Exception as error:
        forget(error)
        return True


class _Watched:
    """The watch over a function; in a class that is pickled by its content, none."""

    __slots__ = ("begin", "call", "describer")

    def __init__(self, fits, call, describer):
        self.begin = fits.begin
        self.call = call
        self.describer = describer

    def __call__(self, args, kwargs):
        return self.begin(self.call, self.describer, args, kwargs)

    def __reduce__(self):
        # Nothing needs this package where it arrives.
        return eval, ("lambda args, kwargs: None",)
