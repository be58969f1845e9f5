"""Boosters: what became of parameters, and what data was, as LightGBM's and XGBoost's fits tell."""

BUDGETS = ("time_budget", "timeout", "max_time", "time_limit", "max_runtime")
"""Parameters that let the clock end a training."""

_MOST_ELEMENTS = 100


def argument(function, name, position, args, kwargs):
    """Return the value of an argument that was passed, else its default."""
    if len(args) > position:
        return args[position]
    if name in kwargs:
        return kwargs[name]
    return defaults(function).get(name)


def defaults(function):
    """Return name → default of a function's arguments."""
    found = _DEFAULTS.get(function)
    if found is None:
        code, values = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount]
        found = dict(zip(names[len(names) - len(values) :], values))  # noqa: B905  Python 3.8
        found.update(function.__kwdefaults__ or {})
        _DEFAULTS[function] = found
    return found


def parameters(passed, mains, resolved, own_names):
    """Say what became of the parameters that were passed.

    Parameters
    ----------
    passed : dict
        As the program wrote them; those that are None do not count.
    mains : dict
        Alias → the parameter's own name; also own name → itself.
    resolved : dict
        Own name → text of the value in effect.
    own_names : collection
        Parameters whose values have aliases of their own, as ``mse`` for ``l2``.
    """
    found, aliased, ignored, overridden = {}, {}, [], {}
    for name, value in passed.items():
        if value is None:
            continue
        main = mains.get(name)
        if main is None:
            ignored.append(name)
            found[name] = plain(value)
            continue
        if main != name:
            aliased[name] = main
        effective = resolved.get(main)
        if main in own_names:
            found[main] = effective if effective and value.__class__ is str else plain(value)
        elif effective is None or same(value, effective):
            found[main] = plain(value)
        else:
            found.setdefault(main, effective)
            overridden[name] = "%s was passed, %s took effect" % (_short(value), effective)
    fields = {"params": found, "ignored": ignored, "aliased": aliased, "overridden": overridden}
    return {name: value for name, value in fields.items() if value}


def _short(value):
    text = str(plain(value))
    return text if len(text) <= 60 else text[:59] + "…"


def same(value, text):
    """Whether a value is the one that the library prints as `text`."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if value.__class__ is bool:
        return text.lower() in (("1", "true") if value else ("0", "false"))
    if value.__class__ in (int, float):
        return _equal(value, text)
    if value.__class__ is str:
        return (
            value.lower() == text.lower()
            or _equal(value, text)
            or value.lower() in _TRUTHS.get(text.lower(), ())
        )
    return True  # lists, and what Python alone knows: each library prints them in its own way


_TRUTHS = {"1": ("true", "+"), "0": ("false", "-"), "true": ("1", "+"), "false": ("0", "-")}


def _equal(value, text):
    """Whether two numbers are equal in single precision, in which some are kept."""
    try:
        first, second = float(value), float(text.strip("[]"))
    except (ValueError, OverflowError):
        return False
    return first == second or abs(first - second) <= 1e-6 * max(abs(first), abs(second))


def plain(value):
    """Return a value as JSON has it; a function by its name, what is long cut."""
    kind = value.__class__
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is dict:
        items = (
            value.items() if len(value) <= _MOST_ELEMENTS else list(value.items())[:_MOST_ELEMENTS]
        )
        return {str(key): plain(one) for key, one in items}
    if kind in (list, tuple, set, frozenset):
        listed = sorted(value, key=str) if kind in (set, frozenset) else value
        return [plain(one) for one in listed[:_MOST_ELEMENTS]]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return described(value) if hasattr(value, "shape") else _word(value)


def _word(value):
    name = getattr(value, "__qualname__", None)
    return name or kind_of(value)


def kind_of(value):
    """Return the short name of a value's class."""
    return value.__class__.__name__


def described(value):
    """Say what data is: ``DataFrame 7000 × 28 float64``."""
    words = [kind_of(value), _size(value), kinds(value)]
    return " ".join(word for word in words if word)


def _size(value):
    shape = getattr(value, "shape", None)
    if shape is None and hasattr(value, "num_rows"):  # an Arrow table
        shape = (value.num_rows, getattr(value, "num_columns", 1))
    if shape is None and value.__class__ in (list, tuple):
        shape = (len(value),)
    try:
        return " × ".join("%d" % length for length in shape) if shape else ""
    except TypeError:
        return ""


def kinds(value):
    """Name the types of a table's columns: ``20 float64, 8 category``."""
    kind = getattr(value, "dtype", None)
    if kind is not None:
        return str(kind)
    each = getattr(value, "dtypes", None)
    if each is None or hasattr(value, "num_rows"):
        return ""
    counts = {}
    for kind in each:
        word = str(kind)
        counts[word] = counts.get(word, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join("%d %s" % (counts[word], word) for word in sorted(counts))


def constructed_with(estimator):
    """Return the parameters of a scikit-learn estimator that differ from its class's defaults.

    From its attributes: `get_params` reads the signature anew each time, 0.1 ms.
    """
    usual = _defaults(type(estimator))
    return {
        name: value
        for name, value in vars(estimator).items()
        if name in usual and value is not usual[name] and value is not None
    }


def _defaults(kind):
    found = _DEFAULTS.get(kind)
    if found is None:
        found = {}
        for one in reversed(kind.__mro__):
            function = vars(one).get("__init__")
            function = getattr(function, "__wrapped__", function)
            if hasattr(function, "__code__"):
                found.update(defaults(function))
        _DEFAULTS[kind] = found
    return found


_DEFAULTS = {}


def fitted_data(given):
    """Describe what was passed to an estimator's `fit`."""
    found = []
    for name, position in (("X", 1), ("y", 2)):
        value = given(name, position)
        if value is not None:
            found.append("%s: %s" % (name, described(value)))
    for name in ("sample_weight", "group", "qid", "init_score", "base_margin"):
        value = given(name)
        if value is not None:
            found.append("%s: %s" % (name, described(value)))
    evaluated = given("eval_set")
    if evaluated is not None and evaluated.__class__ in (list, tuple):
        for index, pair in enumerate(evaluated):
            if pair.__class__ in (list, tuple) and pair:
                found.append("eval_set %d: %s" % (index, described(pair[0])))
    for name in ("init_model", "xgb_model"):
        value = given(name)
        if value is not None:
            found.append(
                "%s: %s" % (name, value[:200] if value.__class__ is str else kind_of(value))
            )
    return found


def budget(*passed):
    """Return ``timeout=60`` for the first time budget among parameters."""
    for parameters_ in passed:
        for name in BUDGETS:
            value = parameters_.get(name)
            if value is not None and value is not False:
                return "%s=%s" % (name, plain(value))
    return ""
