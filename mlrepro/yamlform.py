"""YAML: loader and dumper that follow YAML 1.2's core schema; loaded when YAML is read or written.

PyYAML costs 10 ms to import, which `mlrepro run` spends beside its child.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

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


class Loader(_Base):  # type: ignore[misc, valid-type]
    """A safe loader with the resolvers of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way


class StrictLoader(Loader):
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
    Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
Loader.add_constructor("tag:yaml.org,2002:map", _construct_users_mapping)
StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_unique_mapping)


class Dumper(_BaseDumper):  # type: ignore[misc, valid-type]
    """A dumper that quotes what YAML 1.1 or 1.2 would not read back as the same string."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write each value out, however often it occurs."""
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
Dumper.add_representer(str, _represent_str)


def refuse_aliases(node: Any) -> None:
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
