"""Documents: YAML 1.2 and canonical JSON, read without trust and written without surprise.

PyYAML follows YAML 1.1, in which ``lr: 1e-5`` is a string, ``12:30:45`` is 45045 and ``no`` is
false. DVC reads by YAML 1.2, so the loader here has the resolvers of the 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema), and the dumper quotes whatever either version
could misread.
"""

from __future__ import annotations

import json
from typing import Any

from mlrepro.errors import ManifestError


def read_yaml(text: str | bytes) -> Any:
    """Read a user's YAML by YAML 1.2 rules; only plain data ever comes out.

    Raises
    ------
    ValueError
        If it is not YAML, or asks for anything but plain data.
    """
    import yaml  # noqa: PLC0415  10 ms, see yamlform

    from mlrepro import yamlform  # noqa: PLC0415

    try:
        return yaml.load(text, Loader=yamlform.Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ValueError(_one_line(error)) from error


def read_own_yaml(text: str | bytes) -> Any:
    """Read YAML that mlrepro claims to have written, as if a stranger had.

    Raises
    ------
    ManifestError
        If it is damaged, holds a tag, an alias or a repeated key.
    """
    import yaml  # noqa: PLC0415  10 ms, see yamlform

    from mlrepro import yamlform  # noqa: PLC0415

    try:
        loader = yamlform.StrictLoader(text)
        try:
            node = loader.get_single_node()
            yamlform.refuse_aliases(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise ManifestError(f"not readable as YAML: {_one_line(error)}") from error


def write_yaml(data: Any) -> str:
    """Write plain data as YAML in its own order, wide enough that a digest stays on its line."""
    import yaml  # noqa: PLC0415  10 ms, see yamlform

    from mlrepro import yamlform  # noqa: PLC0415

    return yaml.dump(
        data, Dumper=yamlform.Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )


def canonical_json(data: Any) -> bytes:
    """Write plain data as RFC 8785 canonical JSON: the bytes that a run id is the sha256 of."""
    if _is_simple(data):
        # The same bytes six times as fast: 15 ms of each run, for its list of distributions.
        return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    import rfc8785  # noqa: PLC0415  6 ms, paid when a run is sealed or checked

    return rfc8785.dumps(data)


def _is_simple(data: Any) -> bool:
    """Say whether RFC 8785 asks nothing of a value that `json` does not do by itself.

    Floats it writes in its own way, and keys it sorts by UTF-16.
    """
    if type(data) is str or data is None or data is True or data is False:
        return True
    if type(data) is dict:
        return all(type(k) is str and k.isascii() and _is_simple(v) for k, v in data.items())
    return type(data) is list and all(map(_is_simple, data))


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
