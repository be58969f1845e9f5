"""YAML 1.2 as DVC reads it, and text that nobody can misread."""

import pytest
import rfc8785
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlrepro import documents

AMBIGUOUS = ["1e-5", "12:30:45", "no", "on", "y", "0o17", "017", "1_000", "0x1F", "~", "null",
             "true", ".5", "1.", "+1", "-0", ".inf", "nan", "", "2026-11-21", "<<", "=", "1e3"]  # fmt: skip


@pytest.mark.parametrize(
    "scalar", [s for s in AMBIGUOUS if s not in ("<<", "=", "2026-11-21", "1_000")]
)
def test_a_users_scalar_is_read_as_dvc_reads_it(scalar):
    theirs = YAML(typ="safe", pure=True).load(f"value: {scalar}")["value"]

    ours = documents.read_yaml(f"value: {scalar}")["value"]

    assert (type(ours), repr(ours)) == (type(theirs), repr(theirs))


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_an_ambiguous_string_stays_a_string_to_every_reader(text):
    written = documents.write_yaml({"value": text})

    assert documents.read_own_yaml(written) == {"value": text}
    assert yaml.safe_load(written) == {"value": text}


@given(
    st.dictionaries(
        st.text(), st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
    )
)
def test_what_is_written_is_read_back(data):
    assert documents.read_own_yaml(documents.write_yaml(data)) == data


def test_a_users_yaml_never_makes_objects():
    with pytest.raises(ValueError, match="python"):
        documents.read_yaml("!!python/object/apply:os.system [true]")


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_canonical_json_is_that_of_rfc_8785(data):
    def attempt(write):
        try:
            return write(data)
        except (ValueError, rfc8785.CanonicalizationError):
            return "refused"

    assert attempt(documents.canonical_json) == attempt(rfc8785.dumps)
