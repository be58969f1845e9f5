"""Hook names: which new files the hook takes for models, and which the project lets through."""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mlrepro.capture.outputs import is_model, is_model_name
from mlrepro.errors import ConfigError

# Containers of anything: tables and features as often as models.
_GENERIC = frozenset((".h5", ".hdf5", ".pkl", ".pickle", ".joblib"))
_MODEL_WORDS = re.compile(
    r"(?<![a-z])(?:booster|checkpoints?|ckpt|classifier|clf|estimator|lgbm|lightgbm|models?|net|network"
    r"|pipeline|regressor|rf|svm|weights|xgb|xgboost)(?![a-z])"
)
_MODEL_MODULES = re.compile(
    rb"sklearn\.(?!utils\b)|xgboost\.|lightgbm\.|catboost|torch\.nn|keras|statsmodels\.|prophet\."
    rb"|model_weights|layer_names"
)
_SETTINGS = {"pyproject.toml": ("tool", "mlrepro", "hook"), "mlrepro.toml": ("hook",)}
# Formats that only the first bytes tell from other text and JSON.
_TELLING = frozenset(("", ".bin", ".dat", ".json", ".txt"))


def may_be_model(path: str) -> bool:
    """Say by its name alone whether a file's first bytes are worth reading."""
    return is_model_name(path) or PurePosixPath(path).suffix.lower() in _TELLING


def looks_like_model(path: str, head: bytes) -> bool:
    """Say whether a file is a model, not a data set in a container that models come in too.

    A pickle or an HDF5 file is a model where its first bytes name a library of models, or where a
    word of its path does.
    """
    if not is_model(path, head):
        return False
    if PurePosixPath(path).suffix.lower() not in _GENERIC or _MODEL_MODULES.search(head):
        return True
    return _MODEL_WORDS.search(path.lower()) is not None


def is_allowed(root: Path, path: str) -> bool:
    """Say whether the project's settings let a model through; ``*`` in a glob fits ``/`` as well.

    Raises
    ------
    ConfigError
        If the settings cannot be read.
    """
    return any(fnmatch.fnmatchcase(path, glob.removesuffix(".dvc")) for glob in _allowed(root))


def shown(text: str) -> str:
    """Return text for a line of a terminal: no control characters, no lone surrogates."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _allowed(root: Path) -> list[str]:
    allowed: list[str] = []
    for name, keys in _SETTINGS.items():
        globs = _table(root / name, keys).get("allow", [])
        if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
            raise ConfigError(f"`allow` in {name} must be a list of globs")
        allowed += globs
    return allowed


def _table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  read only when something would be refused
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from error
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}
