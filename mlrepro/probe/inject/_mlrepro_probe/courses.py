"""Courses: how boosters come along while a library, or the program by hand, improves them."""

import sys
from functools import wraps

from .asking import forget, unseen


class Tally:
    """What happens to the boosters of one fit, as the library improves and evaluates them."""

    __slots__ = ("boosters", "first", "holds", "stop", "told")

    def __init__(self, holds=False, **told):
        self.boosters = {}  # id → _Course
        self.first = None
        self.holds = holds  # `cv` gives its boosters to nobody
        self.stop = ""
        self.told = told

    def updated(self, booster, finished):
        """Note one round; `finished` says that it improved nothing."""
        course = self._course(booster)
        if self.holds and self.first is None:
            self.first = booster
        course.run += 1
        course.improved += not finished
        course.finished = bool(finished)

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
    asked = tally.told["asked"]
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


def scored(course):
    """Return the fields that tell scores."""
    history = course.scores()
    return {"scores": last(history), "history": history} if history else {}


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
        tally = self._tally(booster)
        if tally is None and getattr(self.fits.local, "outer", None) is None:
            tally = self.fits.improved(self.call, booster, self.describer)
        if tally is not None:
            tally.updated(booster, finished)

    def update(self, finished):
        """Count rounds; ``finished(result, caller)`` says whether one improved nothing.

        It is None where the call was no round: the library's own call from another method.
        """

        def watch(original):
            def update(booster, *args, **kwargs):
                result = original(booster, *args, **kwargs)
                try:
                    said = finished(result, sys._getframe(1))
                    if said is not None:
                        self._updated(booster, said)
                except Exception as error:
                    forget(error)
                return result

            return update

        return watch

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
            if id(booster) in self.fits.ids and not copied_by():
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
