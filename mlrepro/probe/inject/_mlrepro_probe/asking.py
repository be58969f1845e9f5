"""Asking: how the probe behaves between the program and the libraries that it asks."""

import sys


def unseen(function):
    """Take the function's frame out of what `warnings` counts.

    A library that warns of its caller would name this file: the frames of `importlib` are skipped,
    and are known by these words in their file's name.
    """
    name = "<frozen importlib._bootstrap: mlrepro>"
    function.__code__ = function.__code__.replace(co_filename=name)
    return function


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


def as_json(record):
    """Write a record, whatever values the program passed."""
    if not _ENCODER:
        from json import JSONEncoder

        _ENCODER.append(JSONEncoder(default=_word, skipkeys=True).encode)
    try:
        return _ENCODER[0](record)
    except (ValueError, RecursionError):  # a value that holds itself
        short = {name: value for name, value in record.items() if name not in _OF_THE_PROGRAM}
        return _ENCODER[0](short)


_ENCODER = []
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
