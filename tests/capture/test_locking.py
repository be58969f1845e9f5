"""Locking: what each kind of package becomes in a lock."""

from __future__ import annotations

import pytest

from mlrepro.capture import locking
from mlrepro.capture.locking import Asked
from mlrepro.errors import LockError
from mlrepro.facts import Digest, Environment, Package
from mlrepro.locks import Requirement
from mlrepro.stores.uv import Hashed

HASH = "sha256:" + 64 * "a"
COMMIT = 40 * "b"
OBJECT = "md5:" + 32 * "c"
ENVIRONMENT = Environment(Digest("sha256", 64 * "0"), python="3.11.7", implementation="cpython")


def lock(*packages: Package, **hashed):
    answer = Hashed(
        {name: (value,) for name, value in hashed.items()}, {"torch": "not on the index"}
    )
    return locking.lock(ENVIRONMENT, packages, Asked(answer, ("https://example.org/simple",)))


@pytest.mark.parametrize(
    ("package", "requirement"),
    [
        (Package("numpy", "1.26.4"), Requirement("numpy", "1.26.4", (HASH,))),
        (Package("numpy", "1.26.4", owner="conda"), Requirement("numpy", "1.26.4", (HASH,))),
        (
            Package("torch", "2.1.0+cu121"),
            Requirement("torch", "2.1.0+cu121", unhashed="not on the index"),
        ),
        (Package("own", "0.1", editable="."), Requirement("own", "0.1", source="project:.")),
        (Package("own", "0.1", editable="libs/own"), Requirement("own", "0.1", source="project:libs/own")),
        (
            Package("own", "0.1", editable="/home/ann/own", direct=f"worktree:{COMMIT}"),
            Requirement("own", "0.1", unhashed="installed from a folder outside the project"),
        ),
        (
            Package("lib", "1.0", direct=f"git:https://example.org/lib.git@{COMMIT}"),
            Requirement("lib", "1.0", source=f"git:https://example.org/lib.git@{COMMIT}"),
        ),
        (
            Package("lib", "1.0", direct=f"git:/home/ann/lib@{COMMIT}"),
            Requirement("lib", "1.0", unhashed="from git, by an address that is not kept"),
        ),
        (
            Package("lib", "1.0", direct=f"hg:https://example.org/lib@{COMMIT}"),
            Requirement("lib", "1.0", unhashed="from hg, not an index"),
        ),
        (
            Package("lib", "1.0", direct="file:/home/ann/lib-1.0-py3-none-any.whl"),
            Requirement("lib", "1.0", unhashed="installed from a file"),
        ),
        (
            Package("lib", "1.0", direct="file:/home/ann/lib-1.0-py3-none-any.whl", kept=OBJECT),
            Requirement("lib", "1.0", source=f"object:{OBJECT}"),
        ),
        (
            Package("lib", "1.0", direct="archive:https://example.org/lib.whl"),
            Requirement("lib", "1.0", unhashed="from an address, not an index"),
        ),
    ],
)  # fmt: skip
def test_each_kind_of_package_has_its_place(package, requirement):
    assert lock(package, numpy=HASH).requirements == (requirement,)


def test_what_no_installer_of_python_packages_brings_is_kept_beside():
    found = lock(
        Package("conda:openssl", "3.0.13", tag="h7f8727e_0", owner="conda"),
        Package("~umpy", "1.26.4"),
        Package("old", "unknown"),
        Package("mlrepro", "0.1.0", editable="/home/ann/mlrepro"),
    )

    assert found.requirements == ()
    assert found.beside == {
        "conda openssl": "3.0.13 h7f8727e_0",
        "package ~umpy": "1.26.4",
        "package old": "unknown",
        "package mlrepro": "0.1.0",
    }


def test_what_an_older_lock_knew_is_kept():
    old = lock(Package("numpy", "1.26.4"), Package("torch", "2.1.0"), torch=HASH)
    new = lock(Package("numpy", "1.26.4"), Package("torch", "2.1.0"), numpy=HASH)

    assert locking.completed(old, new).hashed == 2


def test_a_run_without_a_fingerprint_has_no_lock():
    with pytest.raises(LockError, match="no environment"):
        locking.lock(Environment(), (), Asked())
