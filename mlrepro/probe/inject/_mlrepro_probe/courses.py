"""Courses: how boosters come along while a library, or the program by hand, improves them."""

import sys
from functools import wraps

from .asking import forget, unseen
from .boosters import argument, budget, plain


class Tally:
    """What happens to the boosters of one fit, as the library improves and evaluates them."""

    __slots__ = ("asked", "boosters", "data", "first", "holds", "overridden", "passed", "stop")

    def __init__(self, holds=False):
        self.boosters = {}  # id → _Course
        self.first = None
        self.holds = holds  # `cv` gives its boosters to nobody
        self.stop = ""
        self.passed = self.asked = None
        self.overridden = {}
        self.data = []

    def updated(self, booster, finished):
        """Note one round; `finished` says that it improved nothing."""
        course = self.boosters.get(id(booster))
        if course is None:
            course = self._course(booster)
            if self.holds and self.first is None:
                self.first = booster
        course.run += 1
        course.finished = finished
        if not finished:
            course.improved += 1

    def evaluated(self, booster, results):
        """Note scores: pairs of ``<data> <metric>`` and value."""
        course = self._course(booster)
        for name, value in results:
            # By rounds: a callback of the user's may evaluate the same round once more.
            course.history.setdefault(name, {})[course.run] = value

    def _course(self, booster):
        course = self.boosters.get(id(booster))
        if course is None:
            course = self.boosters[id(booster)] = _Course()
        return course

    def of(self, booster):
        """Return the course of one booster; the longest where it is not known which."""
        course = self.boosters.get(id(booster))
        if course is None:
            courses = self.boosters.values()
            course = max(courses, key=lambda one: one.run) if courses else _Course()
        return course


class _Course:
    """Rounds and scores of one booster."""

    __slots__ = ("finished", "history", "improved", "run")

    def __init__(self):
        self.run = self.improved = 0
        self.finished = False
        self.history = {}

    def scores(self):
        """Return ``<data> <metric>`` → all values."""
        return {name: list(values.values()) for name, values in self.history.items()}


def rounds(tally, course, kept, early="a callback"):
    """Say how far a training came, and why it ended; `early` where nobody told why."""
    asked = tally.asked
    stop = tally.stop
    if course.finished and not stop:
        stop = "no more gain"
    elif asked is not None and course.run >= asked:
        stop = "rounds"
    elif asked is not None and not stop:
        stop = early
    # The first round leaves a constant tree where nothing can be gained.
    trained = course.run if stop != "no more gain" else max(course.improved, min(course.run, 1))
    return {"asked": asked, "trained": trained, "kept": kept, "stopped_by": stop}


def last(history):
    """Return the last value of each series."""
    return {name: values[-1] for name, values in history.items() if values}


def scored(course, detailed):
    """Return the fields that tell scores."""
    if not course.history:
        return {}
    history = course.scores()
    fields = {"scores": last(history)}
    if detailed:
        fields["history"] = history
    return fields


class Describer:
    """How a fit of boosters is told, whatever the library.

    Its children have ``tell(tally, call, args, kwargs)``, which notes what was passed and asked
    for, ``data(call, args, kwargs)``, ``kept(model, booster)`` and ``in_effect(tally, booster)``,
    which asks the library for all parameters, and ``text(booster, found)``.
    """

    def __init__(self, fits, library, function=None):
        self.fits = fits
        self.library = library
        self.function = getattr(function, "__wrapped__", function)  # below a decorator of theirs

    def before(self, call, args, kwargs):
        """Begin to count; of a short fit, which is not told in full, the rest comes later."""
        tally = Tally(holds=call[-3:] == ".cv")
        if self.fits.local.detailed:
            self.tell(tally, args, kwargs)
            tally.data = self.data(call, args, kwargs)
        return {"state": tally}

    def given(self, args, kwargs):
        """Return a function that returns arguments, by name and position."""
        return lambda name, position=99: argument(self.function, name, position, args, kwargs)

    def after(self, tally, result, args, kwargs, detailed):
        """Ask the trained model."""
        if tally.passed is None:
            self.tell(tally, args, kwargs)
            tally.data = self.data("", args, kwargs) if detailed else []
        if tally.holds:
            return self._validated(tally, self.history(result), detailed)
        objects = self.objects(result, args)
        if detailed:
            return {**self.fields(tally, objects), "objects": objects}
        course, kept = tally.of(objects[-1]), self.kept(objects)
        fields = self.text(objects[-1], None)
        fields["objects"] = objects
        fields["rest"] = lambda: {
            "rounds": rounds(tally, course, kept),
            **plainly(tally),
            **scored(course, False),
        }
        return fields

    def objects(self, result, args):
        """Return the trained model's objects, the booster last."""
        return (result,)

    def failed(self, tally, args, kwargs):
        """Say how far a training came that an error ended."""
        if tally.passed is None:
            self.tell(tally, args, kwargs)
        course = tally.of(None)
        rounds = {"asked": tally.asked, "trained": course.run, "stopped_by": "an error"}
        return {"rounds": rounds, **plainly(tally), **scored(course, True)}

    def fields(self, tally, objects):
        """Say how it went, and what was in effect."""
        booster = objects[-1]
        course = tally.of(booster)
        fields = scored(course, True)
        fields["rounds"] = rounds(tally, course, self.kept(objects))
        fields.update(self.in_effect(tally, booster))
        fields.update(self.text(booster, fields["resolved"]))
        return fields

    def gone(self, tally, booster, detailed):
        """Tell of a booster that the program improved itself; nobody else holds it any more."""
        if tally.passed is None:
            self.tell(tally, (booster,), {})
        if detailed:
            return {**self.fields(tally, (booster,)), "hold": False}
        course = tally.of(booster)
        return {"rounds": rounds(tally, course, self.kept((booster,))), **plainly(tally)}

    def _validated(self, tally, history, detailed):
        course = tally.of(None)
        kept = max(map(len, history.values())) if history else course.run
        fields = {"rounds": rounds(tally, course, kept), "scores": last(history)}
        if detailed and tally.first is not None:
            fields.update(self.in_effect(tally, tally.first), history=history)
        else:
            fields.update(plainly(tally))
        return fields


def plainly(tally):
    """Tell what costs microseconds: parameters as they were passed, data by its shapes."""
    passed = {name: value for name, value in tally.passed.items() if value is not None}
    return told(tally, params=plain(passed))


def told(tally, **fields):
    """Return fields, and those of the tally that are not empty."""
    if tally.data:
        fields["data"] = list(filter(None, tally.data))
    limit = budget(tally.passed)
    if limit:
        fields["budget"] = limit
    return fields


class Methods:
    """The methods of a class of boosters, as a fit calls them, and as the program does by hand."""

    def __init__(self, fits, call, describer):
        self.fits = fits
        self.call = call
        self.describer = describer

    def patch(self, kind, **watches):
        """Put each watch around the class's own method of that name."""
        for name, watch in watches.items():
            original = vars(kind).get(name)
            if original is not None and not hasattr(original, "_mlrepro"):
                watched = wraps(original)(unseen(watch(original)))
                watched._mlrepro = True
                setattr(kind, name, watched)

    def _tally(self, booster):
        tally = getattr(self.fits.local, "state", None)
        if tally.__class__ is Tally:
            return tally
        one = self.fits.by_hand.get(id(booster))
        return one.state if one is not None else None

    def _updated(self, booster, finished):
        tally = getattr(self.fits.local, "state", None)
        if tally.__class__ is Tally:
            tally.updated(booster, finished)
            return
        tally = self._tally(booster)
        if tally is None and getattr(self.fits.local, "outer", None) is None:
            tally = self.fits.improved(self.call, booster, self.describer)
        if tally is not None:
            tally.updated(booster, finished)

    def update(self, original):
        """Count a round; it is true of LightGBM's result that the round improved nothing."""

        def update(booster, *args, **kwargs):
            finished = original(booster, *args, **kwargs)
            try:
                self._updated(booster, finished)
            except Exception as error:
                forget(error)
            return finished

        return update

    def inner_update(self, original):
        """Count a round, unless it is the library's own call from `update`."""

        def boost(booster, *args, **kwargs):
            result = original(booster, *args, **kwargs)
            try:
                if sys._getframe(1).f_globals.get("__name__") != type(booster).__module__:
                    self._updated(booster, None)
            except Exception as error:
                forget(error)
            return result

        return boost

    def evaluation(self, pairs):
        """Note scores that were computed anyway; ``pairs(result)`` reads them."""

        def watch(original):
            def evaluate(booster, *args, **kwargs):
                result = original(booster, *args, **kwargs)
                try:
                    tally = self._tally(booster)
                    if tally is not None and not tally.holds:
                        tally.evaluated(booster, pairs(result))
                except Exception as error:
                    forget(error)
                return result

            return evaluate

        return watch

    def saving(self, original):
        """Note that a model is saved."""

        def save(booster, *args, **kwargs):
            result = original(booster, *args, **kwargs)
            self.fits.saved(booster)
            return result

        return save

    def copying(self, original):
        """Note that a model is serialised, unless it is only copied."""

        def copy(booster, *args, **kwargs):
            result = original(booster, *args, **kwargs)
            if getattr(self.fits.local, "outer", None) is None and not copied_by():
                self.fits.saved(booster)
            return result

        return copy

    def end(self, original):
        """Describe a booster that the program improved itself, before it goes."""

        def __del__(booster):
            if self.fits.by_hand:
                self.fits.gone(booster)
            original(booster)

        return __del__


def copied_by():
    """Whether what calls the caller's caller copies a model instead of saving it.

    The library itself (``deepcopy``, its plots), or what sends objects to another process.
    """
    frame = sys._getframe(2)
    first = frame.f_globals.get("__name__", "")
    if first.partition(".")[0] in ("lightgbm", "xgboost"):
        return True
    for _ in range(4):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").startswith(_SENDERS):
            return True
        frame = frame.f_back
    return False


_SENDERS = (
    "multiprocessing.",
    "joblib.externals.",
    "joblib.hashing",
    "concurrent.",
    "distributed.",
)
