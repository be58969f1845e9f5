"""Locks: what is written is read again, and nothing else is read."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro.errors import ManifestError
from mlrepro.facts import Digest
from mlrepro.locks import Lock, Requirement

HASH = "sha256:" + 64 * "a"
COMMIT = 40 * "b"
ENVIRONMENT = Digest("sha256", 64 * "0")

names = st.from_regex(r"\A[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}\Z")
versions = st.from_regex(
    r"\A([1-9]!)?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(rc[0-9])?(\.post[0-9])?(\+cu[0-9]{3})?\Z"
)
hashes = st.binary(max_size=3).map(lambda data: "sha256:" + hashlib.sha256(data).hexdigest())
sources = st.sampled_from(
    [
        "", "project:.", "project:src/my package", f"git:https://example.org/a/b.git@{COMMIT}",
        f"git:ssh://git@example.org/a/b@{COMMIT}#subdirectory=python/b", "object:md5:" + 32 * "c",
    ]
)  # fmt: skip
words = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20)
requirements = st.builds(
    Requirement, names, versions, st.lists(hashes, max_size=4).map(tuple), words, sources
)
locks = st.builds(
    Lock,
    st.just(ENVIRONMENT),
    st.sampled_from(["3.8.18", "3.11.7", "3.14.0rc1", "3.13"]),
    st.sampled_from(["cpython", "pypy"]),
    st.lists(requirements, max_size=6, unique_by=lambda one: one.name).map(tuple),
    st.lists(
        st.sampled_from(["https://example.org/simple", "http://127.0.0.1:3141/root/pypi/+simple"]),
        unique=True,
    ).map(tuple),
    st.dictionaries(words, words, max_size=3),
)


@given(locks)
def test_what_is_written_is_read_again(lock):
    assert Lock.from_text(lock.to_text()) == lock
    assert Lock.from_text(lock.to_text()).digest == lock.digest


@given(locks)
def test_what_installers_get_holds_no_option_and_no_address_of_an_index(lock):
    text = lock.installable()

    assert not [line for line in text.splitlines() if line.startswith(("-", "#"))]
    assert "simple" not in text


@given(locks, st.data())
def test_a_damaged_lock_is_refused_or_still_a_lock(lock, data):
    text = lock.to_text()
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]

    try:
        found = Lock.from_text(damaged)
    except ManifestError:
        return
    assert Lock.from_text(found.to_text()) == found


def test_a_lock_reads_as_hashed_requirements():
    lock = Lock(
        ENVIRONMENT,
        "3.11.7",
        "cpython",
        (
            Requirement("torch", "2.1.0+cu121", unhashed="not on the index"),
            Requirement("numpy", "1.26.4", (HASH, "sha256:" + 64 * "0")),
        ),
    )

    assert lock.to_text().splitlines()[3:] == [
        "numpy==1.26.4 \\",
        f"    --hash=sha256:{64 * '0'} \\",
        f"    --hash={HASH}",
    ]
    assert lock.installable().endswith("torch==2.1.0+cu121\n")
    assert [one.pin for one in lock.unhashed] == ["torch==2.1.0+cu121"]


def test_installers_get_git_commits_and_nothing_that_lies_in_the_project():
    lock = Lock(
        ENVIRONMENT,
        "3.11.7",
        "cpython",
        (
            Requirement("own", "0.1", source="project:."),
            Requirement(
                "lib", "1.0", source=f"git:https://example.org/lib@{COMMIT}#subdirectory=py"
            ),
        ),
    )

    assert lock.installable() == f"lib @ git+https://example.org/lib@{COMMIT}#subdirectory=py\n"


@pytest.mark.parametrize(
    "name", ["", "Numpy", "a b", "a_b", "-e", "a==1;x", "a\n-r x", "../a", "ä"]
)
def test_a_name_that_is_no_packages_is_refused(name):
    with pytest.raises(ManifestError):
        Requirement(name, "1.0")


@pytest.mark.parametrize(
    "version",
    ["", "*", ">=1", "1.0 --hash=x", "1.0;x", "1.0\n-e .", "latest", "1.0 @ file:///x", "١.0"],
)
def test_a_version_that_no_index_holds_is_refused(version):
    with pytest.raises(ManifestError):
        Requirement("numpy", version)


@pytest.mark.parametrize(
    "value", ["md5:" + 32 * "a", "sha256:abc", 64 * "a", HASH + " \\\n-r x", HASH.upper()]
)
def test_a_hash_of_another_form_is_refused(value):
    with pytest.raises(ManifestError):
        Requirement("numpy", "1.0", (value,))


@pytest.mark.parametrize(
    "source",
    [
        "file:///tmp/x", "project:../x", "project:/x", "project:", "project:a\nb", "project:.git/x",
        "object:sha256:" + 64 * "c", "object:md5:x", f"git:https://ann:secret@example.org/a@{COMMIT}",
        f"git:https://token@example.org/a@{COMMIT}", "git:https://example.org/a@main",
        f"git:https://example.org/a?token=1@{COMMIT}", f"git:file:///a@{COMMIT}",
        f"git:ssh://ann:secret@example.org/a@{COMMIT}", f"git:--upload-pack=x@{COMMIT}",
        f"git:https://example.org/a@{COMMIT}#subdirectory=../x",
        f"git:https://example.org/a@{COMMIT}#subdirectory=x y", "https://example.org/x.whl",
    ],
)  # fmt: skip
def test_a_source_that_leads_astray_is_refused(source):
    with pytest.raises(ManifestError):
        Requirement("numpy", "1.0", source=source)


@pytest.mark.parametrize(
    "address",
    ["https://ann:secret@example.org/simple", "https://token@example.org/simple",
     "https://example.org/simple?token=1", "file:///srv/simple", "/srv", "https://example.org/ x", ""],
)  # fmt: skip
def test_an_index_with_credentials_or_on_this_machine_is_refused(address):
    with pytest.raises(ManifestError):
        Lock(ENVIRONMENT, "3.11.7", "cpython", (), (address,))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple", "-r other.txt", "-e .", "--find-links /tmp",
        "numpy @ file:///tmp/numpy.whl", f"scipy @ https://example.org/x.whl \\\n    --hash={HASH}",
        "numpy==1.0", "numpy==1.0 --hash=" + HASH, f"numpy==1.0 \\\n    --hash={HASH} \\",
        f"numpy==1.0; python_version > '3' \\\n    --hash={HASH}", f"    --hash={HASH}", "", "[x]",
        f"numpy[x]==1.0 \\\n    --hash={HASH}", "# numpy", "# mlrepro: []", '# mlrepro: {"name": 1}',
        '# mlrepro: {"name": "numpy"}', '# mlrepro: {"name": "numpy", "version": "1", "source": 3}',
        '# mlrepro: {"name": "numpy", "version": "1", "hashes": [["x"]]}',
        '# mlrepro: {"name": "numpy", "version": "1", "hashes": 1}',
        f"scipy==1.0 \\\n    --hash={HASH}\nscipy==1.0 \\\n    --hash={HASH}",
    ],
)  # fmt: skip
def test_a_line_that_no_lock_holds_is_refused(line):
    text = Lock(ENVIRONMENT, "3.11.7", "cpython", (Requirement("scipy", "1.0", (HASH,)),)).to_text()
    head, _, rest = text.partition("scipy")

    with pytest.raises(ManifestError):
        Lock.from_text(f"{head}{line}\nscipy{rest}")


@pytest.mark.parametrize(
    "head",
    [
        {}, {"fingerprint": "x"}, {"python": "three"}, {"python": 3}, {"implementation": "C Python"},
        {"indexes": ["https://ann:secret@example.org"]}, {"indexes": 1}, {"beside": {"a": 1}},
        {"beside": 3}, {"beside": {"a\nb": "c"}}, {"fingerprint": None}, {"indexes": [1]},
    ],
)  # fmt: skip
def test_a_head_that_no_lock_has_is_refused(head):
    good = {"fingerprint": str(ENVIRONMENT), "python": "3.11.7", "implementation": "cpython"}
    told = {**good, **head} if head else {}

    with pytest.raises(ManifestError):
        Lock.from_text(f"# mlrepro: lock 1\n# mlrepro: {json.dumps(told)}\n")


def test_a_lock_of_a_later_form_is_refused_in_a_sentence():
    with pytest.raises(ManifestError, match="lock 2"):
        Lock.from_text("# mlrepro: lock 2\n# mlrepro: {}\n")
