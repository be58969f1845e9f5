from __future__ import annotations

import pytest

from mlrepro.errors import ManifestError
from mlrepro.stores import git, ledgernotes, ledgerwriting, writers

RUN = "ab" * 32


@pytest.fixture
def repo(tmp_path):
    import subprocess

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return git.open_repository(tmp_path)


def test_notes_of_a_run_are_kept_once_each_and_read_again(repo):
    first = ledgernotes.put(repo, RUN, "noise", b'{"a":1}')
    again = ledgernotes.put(repo, RUN, "noise", b'{"a":1}')
    other = ledgernotes.put(repo, RUN, "noise", b'{"a":2}')

    found = ledgernotes.of_run(repo, RUN, "noise")

    assert first == again
    assert {n.id: n.data for n in found} == {first: b'{"a":1}', other: b'{"a":2}'}
    assert all(n.mine for n in found)
    assert ledgernotes.of_run(repo, RUN, "attestations") == ()
    assert ledgernotes.of_run(repo, "cd" * 32, "noise") == ()


def test_a_note_that_is_not_what_its_name_says_is_left_out(repo):
    ledgernotes.put(repo, RUN, "noise", b"{}")
    ref = writers.LOG + writers.own(repo)
    forged = f"{ledgernotes.folder(RUN, 'noise')}/{'0' * 64}.json"
    commit = ledgerwriting.commit(ref, git.refs(repo, ref)[ref], "A <a@b>", "forged")
    assert ledgerwriting.write(repo, commit + ledgerwriting.file(forged, b'{"lie":1}'))

    assert [n.data for n in ledgernotes.of_run(repo, RUN, "noise")] == [b"{}"]


def test_no_note_leaves_its_folder(repo):
    with pytest.raises(ManifestError, match="no place"):
        ledgernotes.put(repo, "../../x", "noise", b"{}")
