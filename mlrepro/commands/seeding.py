"""Seeding: how the seed of a recorded run is passed, and what passes another one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlrepro import documents
from mlrepro.cleanroom.factors import Factors
from mlrepro.errors import MlreproError, UsageError
from mlrepro.manifest import Fit, Manifest

_LIBRARIES = {"lightgbm": "seed", "xgboost": "seed", "sklearn": "random_state"}
"""Libraries to whose calls the probe can give a seed, and how they call it."""
_CALLS = {"lightgbm": ("lightgbm", "LGBM"), "xgboost": ("xgboost", "XGB"), "sklearn": ("sklearn",)}
"""How the names of a library's calls begin: ``lightgbm.train``, ``LGBMClassifier.fit``."""

_HINT = (
    "Say how it is passed with --seed-param: `--seed`, `seed=`, `params.yaml:train.seed`,"
    " `env:SEED`, `lightgbm:seed`, `xgboost:seed` or `sklearn:random_state`."
)
_LARGEST = 2**20
_VARIABLE = "env"
"""What stands before the name of an environment variable: ``env:SEED``."""
_NAMES = ("seed", "random_seed", "random_state", "randomstate", "manual_seed", "global_seed",
          "rng_seed", "seed_value", "train_seed")  # fmt: skip
# These choose data rather than a model: taken only where there is no other.
_OF_DATA = re.compile(r"split|fold|cv|data|test|val")
_NUMBER = re.compile(r"\d{1,19}")
_OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w.-]*)(?:=(?P<value>.*))?", re.DOTALL)
_OVERRIDE = re.compile(r"(?P<name>[+~]{0,2}[A-Za-z_][\w./@-]*)=(?P<value>.*)", re.DOTALL)
# In one word of a shell: `sh -c "python train.py --seed 42"`.
_INNER = re.compile(
    r"(?<![\w.-])(?P<name>-{0,2}[A-Za-z_][\w.-]*)(?:=|(?<=\w)\s+)(?P<value>\d+)(?!\S)"
)


@dataclass(frozen=True)
class Seed:
    """How a run's seed is passed.

    Attributes
    ----------
    parameter : str
        Its name, as a person would say it: ``--seed``, ``params.yaml: train.seed``.
    recorded : int or None
        The recorded run's own; None where it is not known.
    factors : callable
        Another seed → what is to be changed.
    """

    parameter: str
    recorded: int | None
    factors: Callable[[int], Factors]

    def others(self, count: int) -> tuple[int, ...]:
        """Return so many other seeds: 1, 2, 3 …, without the recorded one."""
        numbers = range(1, count + 2)
        return tuple(n for n in numbers if n != self.recorded)[:count]


def find(record: Manifest, wanted: str, content: Callable[[str], bytes]) -> Seed:
    """Find how a seed is passed: on the command line, in a file, a variable, a library's call.

    Parameters
    ----------
    wanted : str
        What the user says; empty to look for it.
    content : callable
        Path of a file of the project → its recorded bytes.

    Raises
    ------
    UsageError
        If no seed is found, or not that one.
    """
    if wanted:
        return _named(record, wanted, content)
    found = (
        _on_command_line(record.run.command, _rank)
        or _in_files(record, content)
        or _in_variables(record)
        or _in_fits(record.fits)
    )
    if found is None:
        raise UsageError(f"no seed of run {record.short} is found", hint=_HINT)
    return found


def _named(record: Manifest, wanted: str, content: Callable[[str], bytes]) -> Seed:
    if found := _on_command_line(
        record.run.command, lambda name: 0 if _same(name, wanted) else None
    ):
        return found
    if wanted.startswith("-") and ":" not in wanted:
        return _added(record, wanted, (wanted,))
    if wanted.endswith("="):
        return _added(record, wanted, ())
    file, key = (part.strip() for part in wanted.rpartition(":")[::2])
    if file == _VARIABLE and key:
        return _of_variable(record, key)
    if file in _LIBRARIES and key:
        return _forced({file: key}, _fitted(record.fits, file, key))
    if file and key:
        return _in_file(_place(record, file), key, content)
    raise UsageError(f"`{wanted:.80}` is not how run {record.short} was seeded", hint=_HINT)


def _same(name: str, wanted: str) -> bool:
    return name.lstrip("+~") == wanted.removesuffix("=")


def _rank(name: str) -> int | None:
    """Return how likely a name is that of the seed, best first; None where it is none."""
    words = re.split(r"[.:/]", name.lstrip("-+~").lower().replace("-", "_"))
    last = words[-1]
    if last in _NAMES:
        return _NAMES.index(last) + (100 if _OF_DATA.search("_".join(words[:-1])) else 0)
    if last.endswith(("_seed", "_random_state")):
        return 200 if _OF_DATA.search(last) else 50
    return None


Rank = Callable[[str], "int | None"]


def _on_command_line(command: Sequence[str], rank: Rank) -> Seed | None:
    """Find the likeliest seed among the words of a command line."""
    found = [
        (at, name, value, put)
        for name, value, put in _words(command)
        if (at := rank(name)) is not None and _NUMBER.fullmatch(value)
    ]
    if not found:
        return None
    _at, name, value, put = min(found, key=lambda one: one[0])
    return Seed(name.lstrip("+~"), int(value), lambda seed: Factors(command=put(str(seed))))


def _words(
    command: Sequence[str],
) -> Iterator[tuple[str, str, Callable[[str], tuple[str, ...]]]]:
    """Yield name and value of each option, and what puts another value there."""
    for at, word in enumerate(command[1:], start=1):
        if match := _OPTION.fullmatch(word):
            if match["value"] is not None:
                yield match["name"], match["value"], _putting(command, at, match["name"] + "=", "")
            elif at + 1 < len(command):
                yield match["name"], command[at + 1], _putting(command, at + 1, "", "")
        elif match := _OVERRIDE.fullmatch(word):
            yield match["name"], match["value"], _putting(command, at, match["name"] + "=", "")
        elif " " in word:
            for inner in _INNER.finditer(word):
                before, after = word[: inner.start("value")], word[inner.end("value") :]
                yield inner["name"], inner["value"], _putting(command, at, before, after)


def _putting(
    command: Sequence[str], at: int, before: str, after: str
) -> Callable[[str], tuple[str, ...]]:
    return lambda seed: (*command[:at], f"{before}{seed}{after}", *command[at + 1 :])


def _added(record: Manifest, name: str, words: tuple[str, ...]) -> Seed:
    """Add an option that the recorded command line left to its default."""
    command = record.run.command
    if "-c" in command[1:3]:
        raise UsageError(f"`{name:.80}` cannot be added to `{command[0]:.80} -c`", hint=_HINT)

    def factors(seed: int) -> Factors:
        last = (*words, str(seed)) if words else (f"{name}{seed}",)
        return Factors(command=(*command, *last))

    return Seed(name.removesuffix("="), None, factors)


def _place(record: Manifest, file: str) -> str:
    """Return a file's path from the project's root; the user may stand in the run's folder."""
    below = f"{record.run.directory}/{file}" if record.run.directory else file
    return below if below in record.params and file not in record.params else file


def _in_files(record: Manifest, content: Callable[[str], bytes]) -> Seed | None:
    found = [
        (at, file, key)
        for file, values in record.params.items()
        if isinstance(values, Mapping) and file.endswith(tuple(_READERS))
        for key, value in flat(values)
        if isinstance(value, int) and not isinstance(value, bool)
        and (at := _rank(key)) is not None
    ]  # fmt: skip
    if not found:
        return None
    _at, file, key = min(found, key=lambda one: one[0])
    return _in_file(file, key, content)


def flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings with its key: ``train.seed``."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def _in_file(file: str, key: str, content: Callable[[str], bytes]) -> Seed:
    try:
        data = content(file)
    except (OSError, MlreproError) as error:
        raise UsageError(f"`{file:.80}` cannot be had: {error}", hint=_HINT) from error
    recorded = _at(_read(file, data), key)
    edited(file, data, key, (recorded or 0) + 1)  # refused now, not after the first training

    def factors(seed: int) -> Factors:
        return Factors(edits={file: edited(file, data, key, seed)})

    return Seed(f"{file}: {key}", recorded, factors)


def edited(file: str, data: bytes, key: str, value: int) -> bytes:
    """Return a file of parameters with one number changed, and every other byte as it was.

    Raises
    ------
    UsageError
        If it is no such file, or the number cannot be changed alone (an anchor that others use).
    """
    before = _read(file, data)
    wanted = _with(before, key.split("."), value)
    text = data.decode("utf-8")
    name = re.escape(key.rpartition(".")[2])
    for match in re.finditer(
        rf"""(?<![\w-])["']?{name}["']?\s*[:=]\s*([-+]?\d[\d_]*)(?![\w.])""", text
    ):
        changed = text[: match.start(1)] + str(value) + text[match.end(1) :]
        if _is(file, changed.encode(), wanted):
            return changed.encode()
    raise UsageError(f"the number `{key:.80}` of `{file:.80}` cannot be changed alone", hint=_HINT)


def _is(file: str, data: bytes, wanted: Any) -> bool:
    try:
        return bool(_read(file, data) == wanted)
    except UsageError:
        return False


def _read(file: str, data: bytes) -> Any:
    reader = _READERS.get("." + file.rpartition(".")[2])
    if reader is None or len(data) > _LARGEST:
        raise UsageError(f"`{file:.80}` is no small YAML, JSON or TOML file", hint=_HINT)
    try:
        return reader(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"`{file:.80}` cannot be read: {error!s:.80}", hint=_HINT) from error


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  where a seed lies in such a file
    else:
        import tomli as tomllib  # noqa: PLC0415
    return tomllib.loads(text)


_READERS: Mapping[str, Callable[[str], Any]] = {
    ".yaml": documents.read_yaml,
    ".yml": documents.read_yaml,
    ".json": json.loads,
    ".toml": _toml,
}


def _at(data: Any, key: str) -> int:
    found: Any = data
    for step in key.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    if not isinstance(found, int) or isinstance(found, bool):
        raise UsageError(f"`{key:.80}` is no whole number there", hint=_HINT)
    return found


def _with(data: Any, path: Sequence[str], value: int) -> Any:
    """Return data with one number changed; what an alias repeats elsewhere stays as it was."""
    if not path:
        return value
    return {**data, path[0]: _with(data[path[0]], path[1:], value)}


def _in_variables(record: Manifest) -> Seed | None:
    """Find a variable that the program asked for: ``SEED=42 python train.py``."""
    found = [
        (at, name)
        for name, value in record.variables.restored.items()
        if (at := _rank(name)) is not None and _NUMBER.fullmatch(value)
    ]
    return _of_variable(record, min(found)[1]) if found else None


def _of_variable(record: Manifest, name: str) -> Seed:
    value = record.variables.restored.get(name, "")
    recorded = int(value) if _NUMBER.fullmatch(value) else None
    return Seed(f"{_VARIABLE}: {name}", recorded, lambda seed: Factors(variables={name: str(seed)}))


def _in_fits(fits: Sequence[Fit]) -> Seed | None:
    """Find the libraries whose calls were given a seed; all of them get the other one."""
    given = {name: _fitted(fits, name, key) for name, key in _LIBRARIES.items()}
    keys = {name: _LIBRARIES[name] for name, seed in given.items() if seed is not None}
    return _forced(keys, given[next(iter(keys))]) if keys else None


def _fitted(fits: Sequence[Fit], library: str, key: str) -> int | None:
    """Return the seed that a library's calls were given; None where that is not known."""
    names = {key, "seed", "random_state"}
    for fit in fits:
        if fit.call.startswith(_CALLS[library]):
            given = (value for name, value in fit.params.items() if name in names)
            if found := [n for n in given if isinstance(n, int) and not isinstance(n, bool)]:
                return found[0]
    return None


def _forced(keys: Mapping[str, str], recorded: int | None) -> Seed:
    def factors(seed: int) -> Factors:
        return Factors(forced={library: {key: seed} for library, key in keys.items()})

    return Seed(", ".join(f"{name}: {key}" for name, key in keys.items()), recorded, factors)
