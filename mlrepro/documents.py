"""Documents: YAML 1.2 and canonical JSON, read without trust and written without surprise.

PyYAML follows YAML 1.1, in which ``lr: 1e-5`` is a string, ``12:30:45`` is 45045 and ``no`` is
false. DVC reads by YAML 1.2, so the loader here has the resolvers of the 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema), and the dumper quotes whatever either version
could misread.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from mlrepro.errors import ManifestError

_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_CORE_SCHEMA = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("tag:yaml.org,2002:int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("tag:yaml.org,2002:merge", r"^(?:<<)$", ["<"]),
)


class _Loader(_Base):  # type: ignore[misc, valid-type]
    """A safe loader with the resolvers of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way


class _StrictLoader(_Loader):
    """The loader for what mlrepro wrote: repeated keys are refused."""


def _construct_int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text, 10)


def _construct_float(loader: Any, node: Any) -> float:
    return float(
        loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")
    )


def _construct_users_mapping(loader: Any, node: Any) -> dict[Any, Any]:
    """Refuse a key that is written twice, as DVC does; a merge (``<<``) may bring it again."""
    written = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode) and k.value != "<<"]
    if len(set(written)) != len(written):
        repeated = next(key for key in written if written.count(key) > 1)
        raise yaml.YAMLError(f"key {repeated!r:.60} is repeated")
    loader.flatten_mapping(node)
    pairs = [(loader.construct_object(k, deep=True), v) for k, v in node.value]
    return {key: loader.construct_object(value, deep=True) for key, value in pairs}


def _construct_unique_mapping(loader: Any, node: Any) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)) or key in mapping:
            raise yaml.YAMLError(f"key {key!r:.60} is repeated or no plain value")
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


for _tag, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_users_mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_unique_mapping)


class _Dumper(_BaseDumper):  # type: ignore[misc, valid-type]
    """A dumper that quotes what YAML 1.1 or 1.2 would not read back as the same string."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    if "\n" in text and not text.startswith((" ", "\n")):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    style = "'" if _AMBIGUOUS.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


# Numbers in any spelling (1e-5, 12:30:45, 0o17, 1_000) and the words of YAML 1.1.
_AMBIGUOUS = re.compile(
    r"^(?:[-+.]?[0-9][-+0-9.eExXo_:a-fA-F]*|y|Y|n|N|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$"
)
_Dumper.add_representer(str, _represent_str)


def read_yaml(text: str | bytes) -> Any:
    """Read a user's YAML by YAML 1.2 rules; only plain data ever comes out.

    Raises
    ------
    ValueError
        If it is not YAML, or asks for anything but plain data.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ValueError(_one_line(error)) from error


def read_own_yaml(text: str | bytes) -> Any:
    """Read YAML that mlrepro claims to have written, as if a stranger had.

    Raises
    ------
    ManifestError
        If it is damaged, holds a tag, an alias or a repeated key.
    """
    try:
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()
            _refuse_aliases(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ManifestError(f"not readable as YAML: {_one_line(error)}") from error


def _refuse_aliases(node: Any) -> None:
    """Refuse a node that is reached twice: small text could stand for a terabyte of values."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, yaml.Node):
            continue
        if id(one) in seen:
            raise yaml.YAMLError("aliases are not allowed")
        seen.add(id(one))
        if isinstance(one, yaml.MappingNode):
            waiting += [part for pair in one.value for part in pair]
        elif isinstance(one, yaml.SequenceNode):
            waiting += one.value


def write_yaml(data: Any) -> str:
    """Write plain data as YAML in its own order, wide enough that a digest stays on its line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


def canonical_json(data: Any) -> bytes:
    """Write plain data as RFC 8785 canonical JSON: the bytes that a run id is the sha256 of."""
    import rfc8785  # noqa: PLC0415  6 ms, paid when a run is sealed or checked

    return rfc8785.dumps(data)


def read_json(text: str | bytes) -> Any:
    """Read JSON that nobody vouches for.

    Raises
    ------
    ManifestError
        If it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not readable as JSON: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1})" if mark else ""
    return " ".join(str(problem).split())[:120] + place
