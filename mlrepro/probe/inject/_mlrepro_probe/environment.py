"""Environment: note which environment variables the program consults."""

import os
import sys

from .log import swallow


def install(log):
    """Let ``os.environ`` note each name that is looked up in it; it stays the same object."""
    noted = set()
    library = []  # found at the first look-up: 0.3 ms, which many programs never need

    class _Environ(os._Environ):
        """An ``os._Environ`` that notes look-ups, and behaves as one in all else."""

        def __getitem__(self, key):
            if key not in noted:
                try:
                    _note(self, key)
                except Exception as error:
                    swallow(error)
            return super().__getitem__(key)

        def __iter__(self):
            # `dict(os.environ)` looks up every key that it was given here: no consultation.
            keys = list(super().__iter__())
            self.__dict__["_given"] = {id(key): key for key in keys}
            return iter(keys)

    def _note(environ, key):
        if key.__class__ is not str or environ.__dict__.get("_given", {}).get(id(key)) is key:
            return
        frame = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
            frame = frame.f_back
        if not library:
            library.append(_library())
        if frame is None or frame.f_code.co_filename.startswith(library[0]):
            return  # the standard library asks for its own ends, as `shutil.which` for PATH
        noted.add(key)
        log.write(b"e", key)

    _Environ.__qualname__ = "_Environ"
    _Environ.__module__ = "os"
    _Environ.__name__ = "_Environ"
    os.environ.__class__ = _Environ


def _library():
    """The folder of the standard library; a file of `site-packages` in it does not count."""
    return tuple({os.__file__.rpartition("/")[0] + "/" + name for name in _names()}) + ("<frozen ",)


def _names():
    for name in getattr(sys, "stdlib_module_names", _COMMON):
        yield name + ".py"
        yield name + "/"


# `_collections_abc` calls itself `collections.abc`, depending on the version.
_BETWEEN = ("os", "_collections_abc", "collections.abc")
_COMMON = (
    "shutil",
    "subprocess",
    "tempfile",
    "posixpath",
    "locale",
    "gettext",
    "webbrowser",
    "site",
    "platform",
    "ctypes",
    "urllib",
    "ssl",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "pdb",
    "getpass",
    "pydoc",
    "sysconfig",
    "distutils",
    "optparse",
    "argparse",
    "unittest",
    "logging",
)
