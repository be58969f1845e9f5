"""Calls: wrap the functions through which native libraries read and write files.

LightGBM and XGBoost are watched where Python calls into their C library: whatever the Python
interface of a version looks like, a file name passes there, and no class of theirs is touched.
"""

import functools
import os
import sys

from .log import swallow
from .readers import COMPILED, NATIVE, PYTHON

COMPANIONS = ("", ".weight", ".query", ".group", ".init", ".position", ".bin")


def wrap(module, watch):
    """Wrap what the tables name in a module that has just been executed."""
    name = module.__name__
    if name in COMPILED:
        watch.log.write(b"b", name)
    library = getattr(module, "_LIB", None)
    for function, uses in NATIVE.get(name, {}).items():
        if library is not None:
            _wrap_native(library, function, uses, watch)
    for path, kind, position, keyword in PYTHON.get(name, ()):
        owner = module
        *outer, last = path.split(".")
        for part in outer:
            owner = getattr(owner, part, None)
        original = vars(owner).get(last) if owner is not None else None
        if original is not None and not hasattr(original, "_mlrepro"):
            setattr(owner, last, _wrapped(original, kind, position, keyword, watch))


def _wrapped(original, kind, position, keyword, watch):
    before, after = _BEFORE.get(kind), _AFTER.get(kind)
    keywords = keyword.split("/")

    @functools.wraps(original)
    def call(*args, **kwargs):
        value = None
        try:
            value = _argument(args, kwargs, position, keywords)
            if before is not None:
                before(watch, value, args, kwargs)
        except Exception as error:
            swallow(error)
        try:
            frame = sys._getframe().f_back
            if frame is None:  # compiled code calls, in a thread of its own
                return original(*args, **kwargs)
            result = _in_place_of(frame, original, args, kwargs)
        except BaseException as error:
            trace = error.__traceback__
            for _ in range(3):  # `call`, `_in_place_of` and the frame that it makes
                trace = trace and trace.tb_next
            raise error.with_traceback(trace)  # noqa: B904  it is the same error
        try:
            if after is not None:
                after(watch, value, result)
        except Exception as error:
            swallow(error)
        return result

    call._mlrepro = True
    return call


def _argument(args, kwargs, position, keywords):
    if len(args) > position:
        return args[position]
    return next((kwargs[name] for name in keywords if name in kwargs), None)


class _Call:
    __slots__ = ("call",)


_TRANSPARENT = compile("'it'.call()", "<mlrepro>", "eval")


def _in_place_of(frame, original, args, kwargs):
    """Call a function from a frame that looks like the caller's own.

    duckdb looks there for the variables that a query names; warnings say whose line it was.
    """
    one = _Call()
    one.call = functools.partial(original, *args, **kwargs)
    code = _TRANSPARENT.replace(
        co_consts=tuple(one if value == "it" else value for value in _TRANSPARENT.co_consts),
        co_filename=frame.f_code.co_filename,
        co_firstlineno=frame.f_lineno or 1,
        co_name=frame.f_code.co_name,
    )
    return eval(code, frame.f_globals, frame.f_locals)


def _paths(value):
    values = value if isinstance(value, (list, tuple)) else (value,)
    for one in values:
        if isinstance(one, (str, bytes, os.PathLike)):
            path = os.path.expanduser(os.fsdecode(one))
            yield path[7:] if path.startswith("file://") else path


def _each(use):
    """Make a use of one path a use of an argument that holds one or many."""

    def of_argument(watch, value, args, kwargs):
        for path in _paths(value):
            use(watch, path)

    return of_argument


def _read(watch, path):
    watch.file(b"r", path, b"wrapper")


def _write(watch, path):
    watch.file(b"w", path, b"wrapper")


def _h5(watch, value, args, kwargs):
    mode = args[2] if len(args) > 2 else kwargs.get("mode")
    kind = {"r": b"r", None: b"r", "w": b"w", "w-": b"w", "x": b"w"}.get(mode, b"u")
    for path in _paths(value):
        watch.file(kind, path, b"wrapper")


def _by_mode(watch, value, args, kwargs):
    mode = kwargs.get("mode")
    for path in _paths(value):
        watch.file(b"w" if mode and mode[0] in "wx" else b"r", path, b"wrapper")


def _glob(watch, path):
    """A pattern or a folder that the library itself resolves."""
    if os.path.isdir(path):
        path = os.path.join(path, "**")
    if not any(sign in path for sign in "*?["):
        return _read(watch, path)
    import glob

    for one in glob.iglob(path, recursive=True):
        _read(watch, one)
    return None


def _base(watch, value, args, kwargs):
    """A data base's file; duckdb opens it for both unless it is told otherwise."""
    read_only = args[1] if len(args) > 1 else kwargs.get("read_only")
    for path in _paths(value):
        if path and path[0] != ":" and not path.startswith("md:"):
            watch.file(b"r" if read_only else b"u", path, b"wrapper")


def _query(watch, value, args, kwargs):
    if value.__class__ is not str:
        return
    from . import queries

    following = args[args.index(value) + 1 :] if value in args else ()
    parameters = kwargs.get("parameters", kwargs.get("params", following[0] if following else ()))
    for kind, path in queries.files(value, parameters):
        if kind != "tree":
            watch.file(kind.encode(), path, b"wrapper")


def _queried(watch, value, _):
    """Files in the folders that a query has filled."""
    if value.__class__ is not str:
        return
    from . import queries

    for kind, path in queries.files(value):
        if kind in ("w", "tree"):
            _tree_files(watch, path, None)


def _dataset_files(watch, _, result):
    for path in getattr(result, "files", ()):
        # Its file system leaves out the first slash of nothing but remote addresses.
        _read(watch, path)


def _tree_files(watch, value, _):
    """Files of a folder that a library fills; those of before are told apart by their times."""
    for root in _paths(value):
        for folder, _folders, names in os.walk(root):
            for name in names:
                _write(watch, os.path.join(folder, name))


_BEFORE = {
    "r": _each(_read),
    "w": _each(_write),
    "out": _each(_write),
    "glob": _each(_glob),
    "h5": _h5,
    "mode": _by_mode,
    "base": _base,
    "sql": _query,
}
_AFTER = {"files": _dataset_files, "tree": _tree_files, "out": _tree_files, "sql": _queried}


def _lightgbm(watch, path):
    """A data file of LightGBM's own reader, and the files that it takes from beside it."""
    for ending in COMPANIONS:
        _read(watch, path + ending)


def _settings(watch, text):
    """Parameters that name files: ``forcedsplits_filename=splits.json``."""
    for setting in text.split(" "):
        name, _, value = setting.partition("=")
        if value and name in (
            "forcedsplits_filename",
            "forcedbins_filename",
            "initscore_filename",
            "machine_list_filename",
            "parser_config_file",
            "monotone_constraints_file",
        ):
            _read(watch, value)


def _uri(watch, text):
    """XGBoost's ``data.txt?format=libsvm&indexing_mode=1#cache``, which may be a folder."""
    path = text.partition("#")[0].partition("?")[0]
    path = path[7:] if path.startswith("file://") else path
    for one in path.split(";"):
        if os.path.isdir(one):
            for name in os.listdir(one):
                _read(watch, os.path.join(one, name))
        else:
            _read(watch, one)


def _json(watch, text):
    import json

    _uri(watch, json.loads(text)["uri"])


_TEXT = {"r": _read, "w": _write, "lightgbm": _lightgbm, "settings": _settings, "uri": _uri}
_TEXT["json"] = _json


class _Native:
    """A function of a C library that notes file names on their way in."""

    __slots__ = ("_function", "_mlrepro", "_uses", "_watch")

    def __init__(self, function, uses, watch):
        for name, value in (("_function", function), ("_uses", uses), ("_watch", watch)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_mlrepro", True)

    def __call__(self, *args):
        try:
            for kind, index in self._uses:
                value = getattr(args[index], "value", args[index])
                if value:
                    _TEXT[kind](self._watch, os.fsdecode(value))
        except Exception as error:
            swallow(error)
        return self._function(*args)

    def __getattr__(self, name):
        return getattr(self._function, name)

    def __setattr__(self, name, value):
        setattr(self._function, name, value)


def _wrap_native(library, name, uses, watch):
    try:
        function = getattr(library, name)
    except AttributeError:  # another version of the library
        return
    if not isinstance(function, _Native):
        setattr(library, name, _Native(function, uses, watch))
