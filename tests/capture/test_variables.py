"""Environment variables: which table each belongs to, and what a rebuild sets."""

from __future__ import annotations

import pytest

from mlrepro.capture import variables
from mlrepro.manifest import ThreadPool, Variables


def tables(environ: dict[str, str], *consulted: str) -> Variables:
    return variables.tables(environ, consulted, salt="salt")


def test_what_changes_numbers_is_recorded_even_if_nobody_was_seen_to_ask():
    environ = {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7", "TZ": "UTC", "LC_ALL": "C"}

    assert tables(environ).restored == environ


def test_a_consulted_value_is_restored_and_one_that_nobody_consulted_is_not():
    assert tables({"EPOCHS": "3", "OTHER": "1"}, "EPOCHS") == Variables({"EPOCHS": "3"})


@pytest.mark.parametrize(
    "value",
    ["/data/x.csv", "~/data", "../data", "a:/b", "s3://bucket/x", "https://u:p@host/", "a@b.org"],
)
def test_paths_and_addresses_are_not_restored_but_known_by_a_hash(value):
    found = tables({"DATA": value}, "DATA")

    assert found.restored == {}
    assert len(found.inherited["DATA"]) == 16
    assert value not in str(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", "abcdef"),
        ("aws_secret_access_key", "abcdef"),
        ("DB_PASSWORD", "abcdef"),
        ("MY_CREDENTIALS", "abcdef"),
        ("BASIC_AUTH", "abcdef"),
        ("HARMLESS", "ghp_0123456789abcdef"),
        ("OMP_API_KEY", "abcdef"),
    ],
)
def test_a_secret_leaves_no_trace_but_its_name(name, value):
    found = tables({name: value}, name)

    assert found == Variables(inherited={name: "secret"})
    assert tables({name: value}) == Variables()


def test_persons_and_machines_are_inherited_and_places_derived():
    found = tables({"HOME": "/home/ann", "PATH": "/bin", "HTTPS_PROXY": "x", "PYTHONPATH": "src"})

    assert set(found.inherited) == {"HOME", "HTTPS_PROXY"}
    assert found.derived == ("PATH", "PYTHONPATH")
    assert found.restored == {}


def test_a_rebuild_gets_the_recorded_values_and_none_of_its_own_that_change_numbers():
    recorded = tables({"EPOCHS": "3", "TZ": "UTC"}, "EPOCHS")
    here = {"EPOCHS": "9", "OMP_NUM_THREADS": "64", "LC_ALL": "C", "PATH": "/bin", "HOME": "/h"}

    found = variables.restore(recorded, here)

    assert found == {"EPOCHS": "3", "TZ": "UTC", "PATH": "/bin", "HOME": "/h"}


def test_pools_get_their_recorded_threads_unless_a_variable_says_so():
    pools = (
        ThreadPool("openmp", "libgomp.so.1", 2),
        ThreadPool("openmp", "libomp.so", 8),
        ThreadPool("openblas", "libopenblas.so", 4),
    )
    recorded = Variables({"OPENBLAS_NUM_THREADS": "1"})

    found = variables.restore(recorded, {"MKL_NUM_THREADS": "64"}, threads=pools)

    assert found == {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "8"}
    assert variables.restore(recorded, {}) == {"OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "A=B", ""])
def test_a_strangers_manifest_cannot_set_what_loads_code(name):
    assert variables.restore(Variables({name: "x"}), {}) == {}


def test_what_a_rebuild_lacks_or_has_otherwise_is_named():
    recorded = tables({"HOME": "/a", "API_TOKEN": "1", "DATA": "/d"}, "API_TOKEN", "DATA")

    assert variables.absent(recorded, {"HOME": "/b"}) == ["API_TOKEN", "DATA"]
    here = {"HOME": "/b", "API_TOKEN": "2", "DATA": "/d"}
    assert variables.differing(recorded, here, salt="salt") == ["HOME"]


def test_equal_values_of_two_runs_do_not_show_that_they_are_equal():
    one = variables.tables({"HOME": "/a"}, (), salt="1")
    two = variables.tables({"HOME": "/a"}, (), salt="2")

    assert one.inherited != two.inherited


def test_pins_and_keys_of_payment_and_maps_are_secrets():
    assert variables.is_secret("CARD_PIN", "1234")
    assert variables.is_secret("X", "rk_live_abc")
    assert variables.is_secret("X", "AIzaSyA1234567890abcdefghij")
    assert not variables.is_secret("SPINS", "3")


def test_what_interpreters_and_libraries_ask_for_by_themselves_is_not_listed_as_unset():
    found = variables.tables({}, ["EPOCHS", "OMP_PLACES", "PYTHONOPTIMIZE", "HOME"], salt="s")

    assert found.unset == ("EPOCHS",)


def test_a_rebuild_drops_the_settings_of_interpreters_that_the_run_did_not_have():
    environ = {"PYTHONOPTIMIZE": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": "src"}

    assert variables.restore(Variables(), environ) == {"PYTHONPATH": "src"}
