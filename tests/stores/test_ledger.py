from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro import documents
from mlrepro.capture import code
from mlrepro.errors import (
    AmbiguousRefError,
    GitError,
    ManifestError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from mlrepro.manifest import Artifact, CodeState, Digest, Listing, Manifest, Role, Run, Status
from mlrepro.stores import git, ledger, writers


def made(number: int = 0, *, name: str = "", state: CodeState | None = None, **changes) -> Manifest:
    digest = Digest("md5", hashlib.md5(str(number).encode()).hexdigest())
    return Manifest(
        run=Run(
            command=("python", "train.py"),
            started=f"2026-11-{1 + number // 60:02d}T06:{number % 60:02d}:00Z",
            status=Status.COMPLETED,
            name=name,
            author="Ann <ann@example.org>",
        ),
        code=state,
        artifacts=(Artifact(f"model{number}.txt", Role.WEIGHTS, digest, 1),),
        **changes,
    )


def recorded(repo: git.Repository, number: int = 0, **options) -> Manifest:
    """Record a run with the code that is on disk."""
    taken = code.snapshot(repo, work=f"w{number}")
    state = code.settle(repo, taken, opened=dict.fromkeys(taken.untracked, 0), outputs=[])
    manifest = made(number, state=state, **options)
    ledger.append(repo, manifest, {})
    code.unpin(repo, f"w{number}")
    return manifest


def ids(repo: git.Repository) -> list[str]:
    return [entry.id for entry in ledger.entries(repo)]


@pytest.fixture
def repo(project) -> git.Repository:
    return git.open_repository(project.root)


@pytest.fixture
def remote(project, tmp_path) -> Path:
    path = tmp_path / "remote.git"
    project.git("init", "-q", "--bare", str(path))
    project.git("remote", "add", "origin", str(path))
    project.git("push", "-q", "-u", "origin", "main")
    return path


def cloned(project, remote: Path, name: str = "colleague") -> git.Repository:
    path = remote.with_name(name)
    project.git("clone", "-q", remote.as_uri(), str(path))
    return git.open_repository(path)


def test_a_run_comes_back_as_it_was_recorded(repo):
    manifest = made(1, name="first")

    ledger.append(repo, manifest, {})

    (entry,) = ledger.entries(repo)
    assert entry.manifest == manifest
    assert entry.manifest.id == manifest.id == entry.id
    assert entry.mine
    assert entry.writer == ledger.writer(repo)


def test_an_empty_ledger_has_no_runs_and_makes_no_writer(repo):
    assert ledger.entries(repo) == ()
    assert not (repo.common_dir / "mlrepro-writer").exists()
    with pytest.raises(RefNotFoundError, match="recorded 0 runs"):
        ledger.resolve(repo, "last")


def test_appending_twice_records_once(repo):
    recorded(repo)
    before = git.refs(repo, "refs/mlrepro/")

    ledger.append(repo, ledger.entries(repo)[0].manifest, {})

    assert git.refs(repo, "refs/mlrepro/") == before


def test_the_author_is_the_runs_also_where_git_knows_nobody(project, repo):
    project.git("config", "--global", "--remove-section", "user")
    project.git("config", "user.useConfigOnly", "true")

    ledger.append(repo, made(), {})

    log = writers.LOG + ledger.writer(repo)
    assert project.git("log", "-1", "--format=%an <%ae>", log) == "Ann <ann@example.org>"


def test_the_record_is_readable_with_git_alone(project, repo):
    manifest = made(3)
    ledger.append(repo, manifest, {"inputs": b"[1]"})

    tree = f"{writers.LOG}{ledger.writer(repo)}:runs/2026-11/01/{manifest.id[:2]}/{manifest.id}"
    assert project.git("ls-tree", "--name-only", tree).split() == [
        "inputs.json", "manifest.json", "manifest.yaml",
    ]  # fmt: skip
    assert Manifest.from_yaml(project.git("show", f"{tree}/manifest.yaml")) == manifest


def test_the_code_of_a_run_outlives_gc(project, repo):
    project.write("train.py", "unsaved")
    manifest = recorded(repo)

    project.git("gc", "-q", "--prune=now")

    assert git.files(repo, manifest.code.tree)["train.py"]


def test_a_run_whose_code_lies_elsewhere_is_recorded_all_the_same(repo):
    ledger.append(repo, made(state=CodeState(tree="a" * 40, snapshot="b" * 40)), {})

    assert len(ledger.entries(repo)) == 1


def test_eight_processes_that_end_at_once_lose_nothing(project, repo):
    script = project.write(
        "append.py",
        "import sys, pathlib\n"
        "from mlrepro.stores import git, ledger\n"
        "from mlrepro.capture import code\n"
        "from mlrepro.manifest import *\n"
        "repo = git.open_repository(pathlib.Path.cwd())\n"
        "state = CodeState(tree=sys.argv[2], snapshot=sys.argv[3])\n"
        "run = Run(('x', sys.argv[1]), '2026-11-21T06:00:00Z', Status.COMPLETED)\n"
        "ledger.append(repo, Manifest(run=run, code=state), {})\n",
    )
    trees = []
    for number in range(8):
        project.write("train.py", str(number))
        trees.append(code.snapshot(repo, work=f"w{number}"))

    children = [
        subprocess.Popen([sys.executable, str(script), str(number), taken.tree, taken.commit])
        for number, taken in enumerate(trees)
    ]

    assert [child.wait() for child in children] == [0] * 8
    found = ledger.entries(repo)
    assert {entry.manifest.run.command[1] for entry in found} == set("01234567")
    assert all(entry.mine for entry in found)
    for number in range(8):
        code.unpin(repo, f"w{number}")
    reachable = project.git("rev-list", f"{writers.CODE}{ledger.writer(repo)}").split()
    assert {taken.commit for taken in trees} <= set(reachable)


def test_a_copied_clone_gets_a_writer_of_its_own(project, repo, tmp_path):
    recorded(repo, 1)
    shutil.copytree(project.root, tmp_path / "copy", symlinks=True)
    copy = git.open_repository(tmp_path / "copy")

    recorded(copy, 2)

    assert ledger.writer(copy) != ledger.writer(repo)
    assert [entry.mine for entry in ledger.entries(copy)] == [False, True]


def test_a_run_that_others_push_under_my_writer_is_not_mine(project, repo, remote):
    recorded(repo, 1)
    ledger.push(repo, "origin")
    stranger = cloned(project, remote, "stranger")
    ledger.pull(stranger, "origin")
    project.git("config", "mlrepro.writer", ledger.writer(repo), cwd=stranger.root)
    evil = recorded(stranger, 2)
    ledger.push(stranger, "origin")
    recorded(repo, 3)

    ledger.pull(repo, "origin")
    pulled = {e.id: e.mine for e in ledger.entries(repo)}
    ledger.push(repo, "origin")  # joins both halves of the log
    joined = {e.id: e.mine for e in ledger.entries(repo)}

    assert [run for run, mine in pulled.items() if not mine] == [evil.id]
    assert joined == pulled


def test_linked_worktrees_share_a_writer(project, repo, tmp_path):
    recorded(repo, 1)
    project.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = git.open_repository(tmp_path / "linked")

    recorded(linked, 2)

    assert [entry.mine for entry in ledger.entries(repo)] == [True, True]


def test_a_configured_writer_wins_and_must_be_a_plain_word(project, repo):
    project.git("config", "mlrepro.writer", "ci")
    ledger.append(repo, made(), {})
    assert ledger.entries(repo)[0].writer == "ci"

    project.git("config", "mlrepro.writer", "../x")
    with pytest.raises(GitError, match=r"mlrepro\.writer"):
        ledger.append(repo, made(1), {})


def test_references_mean_ids_names_and_the_last_runs(repo):
    first, second, third = (recorded(repo, n, name=name) for n, name in enumerate(("a", "b", "b")))

    assert ledger.resolve(repo, "last").id == third.id
    assert ledger.resolve(repo, "last~2").id == first.id
    assert ledger.resolve(repo, "a").id == first.id
    assert ledger.resolve(repo, "b").id == third.id
    assert ledger.resolve(repo, second.id).id == second.id
    assert ledger.resolve(repo, second.id[:8].upper()).id == second.id


@pytest.mark.parametrize("ref", ["last~9", "nobody", "ab", "", "../x", "deadbeef" * 8])
def test_an_unknown_reference_is_one_sentence(repo, ref):
    recorded(repo)

    with pytest.raises(RefNotFoundError):
        ledger.resolve(repo, ref)


def test_a_prefix_of_two_ids_and_a_name_that_is_also_a_prefix_are_ambiguous(repo):
    first = made(0)
    ledger.append(repo, first, {})
    ledger.append(repo, made(1, name=first.id[:4]), {})
    ledger.append(repo, made(2, name="cafe"), {})

    with pytest.raises(AmbiguousRefError, match=first.short):
        ledger.resolve(repo, first.id[:4])
    if not any(i.startswith("cafe") for i in ids(repo)):
        assert ledger.resolve(repo, "cafe").name == "cafe"


def test_artifacts_lead_to_the_newest_run_that_made_them(repo):
    old, new = made(1), made(1, name="again")
    for manifest in (old, new, made(2)):
        ledger.append(repo, manifest, {})
    newest = max((old, new), key=lambda m: m.id)

    digest = str(old.artifacts[0].digest)
    assert ledger.with_artifact(repo, "model1.txt").id == newest.id
    assert ledger.with_artifact(repo, "model1.txt", digest="md5:" + "0" * 32) is None
    assert ledger.with_artifact(repo, "absent.txt") is None
    assert ledger.by_digest(repo)[digest] == (newest.id, "model1.txt")


def test_an_empty_file_makes_nobody_a_parent(repo):
    empty = Artifact("empty.txt", Role.TEXT, Digest("md5", hashlib.md5().hexdigest()), 0)
    printed = Artifact("<stdout>", Role.STDOUT, Digest("md5", "1" * 32), 1)
    ledger.append(repo, Manifest(run=made().run, artifacts=(empty, printed)), {})

    assert ledger.by_digest(repo) == {}


def test_a_long_list_is_checked_against_its_digest(repo):
    data = b'["a","b"]'
    good = Listing(Digest("sha256", hashlib.sha256(data).hexdigest()), 2)
    bad = Listing(Digest("sha256", "0" * 64), 2)
    manifest = made(lists={"inputs": good, "libraries": bad, "lost": good})
    ledger.append(repo, manifest, {"inputs": data, "libraries": data})

    assert ledger.listing(repo, manifest, "inputs") == data
    with pytest.raises(ManifestError):
        ledger.listing(repo, manifest, "libraries")
    for name in ("lost", "unknown"):
        with pytest.raises(ObjectNotFoundError):
            ledger.listing(repo, manifest, name)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1, "tips": {}, "rows": {"x": {}}}'])
def test_a_damaged_index_is_made_again(repo, damage):
    recorded(repo)
    before = ids(repo)
    file = repo.root / ".mlrepro" / "index.json"
    assert before[0] in file.read_text()

    file.write_text(damage)

    assert ids(repo) == before
    assert before[0] in file.read_text()


def test_the_index_is_no_change_of_the_working_tree(project, repo):
    recorded(repo)
    ledger.entries(repo)

    assert project.git("status", "--porcelain") == ""


def forge(repo: git.Repository, run: str, data: bytes, ref: str) -> None:
    """Write an entry as a stranger could."""
    stream = (
        f"commit {ref}\ncommitter x <x> 0 +0000\ndata 0\n"
        f"M 100644 inline runs/2026-11/21/{run[:2]}/{run}/manifest.json\ndata {len(data)}\n"
    ).encode()
    old = git.refs(repo, ref).get(ref)
    stream = stream.replace(b"data 0\n", b"data 0\n" + (f"from {old}\n".encode() if old else b""))
    git.call(repo, "fast-import", "--quiet", data=stream + data + b"\n")


def hostile(**changes) -> bytes:
    return documents.canonical_json({**made().to_dict(), **changes})


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        hostile(
            artifacts=[
                {"path": "../../x", "role": "weights", "digest": "md5:" + "0" * 32, "size": 1}
            ]
        ),
        hostile(run="nothing"),
        hostile(schema=99),
        b"[]",
        b"\xff\xfe",
    ],
)
def test_a_strangers_record_that_cannot_be_trusted_is_counted_and_left_out(repo, data):
    recorded(repo)
    run = hashlib.sha256(data).hexdigest()
    forge(repo, run, data, "refs/mlrepro/remotes/origin/log/stranger")

    for _ in ("read", "remembered"):
        found = ledger.read(repo)
        assert len(found.entries) == 1
        assert found.damaged == (run,)


def test_a_record_whose_bytes_are_not_those_of_its_id_is_damaged(repo):
    recorded(repo)
    forge(
        repo,
        "f" * 64,
        documents.canonical_json(made(5).to_dict()),
        writers.LOG + ledger.writer(repo),
    )

    assert ledger.read(repo).damaged == ("f" * 64,)
    assert len(ledger.entries(repo)) == 1


def test_a_run_that_was_removed_is_gone(repo):
    recorded(repo, 1)
    recorded(repo, 2)
    assert len(ids(repo)) == 2
    log = writers.LOG + ledger.writer(repo)

    git.update_ref(repo, log, git.call(repo, "rev-parse", f"{log}~1").decode().strip(), None)

    assert len(ids(repo)) == 1


def test_a_shadow_repository_keeps_a_ledger_too(home, tmp_path):
    root = tmp_path / "loose"
    root.mkdir()
    (root / "train.py").write_text("x")
    repo = git.shadow(root)

    manifest = recorded(repo)

    assert ids(repo) == [manifest.id]
    assert manifest.code.shadow


def test_a_colleague_gets_all_records_and_no_code(project, repo, remote):
    project.write("train.py", "x")
    manifest = recorded(repo, 1)
    assert ledger.push(repo, "origin") == 1
    assert ledger.push(repo, "origin") == 0
    colleague = cloned(project, remote)

    assert ledger.pull(colleague, "origin") == 1
    assert ledger.pull(colleague, "origin") == 0

    (entry,) = ledger.entries(colleague)
    assert entry.manifest == manifest
    assert not entry.mine
    assert not git.has(colleague, manifest.code.tree)
    ledger.fetch_code(colleague, "origin", manifest.code.snapshot)
    assert git.files(colleague, manifest.code.tree)["train.py"]
    assert not (colleague.git_dir / "shallow").exists()


def test_pull_and_push_write_no_setting_and_leave_the_users_git_working(project, repo, remote):
    recorded(repo, 1)
    settings = (repo.git_dir / "config").read_text()
    ledger.push(repo, "origin")
    colleague = cloned(project, remote)
    theirs = (colleague.git_dir / "config").read_text()
    ledger.pull(colleague, "origin")
    before = ids(colleague)

    for command in (
        ("fetch", "-q", "--prune"),
        ("fetch", "-q", "--all", "--prune", "--tags"),
        ("commit", "-q", "--allow-empty", "-m", "mine"),
        ("push", "-q"),
        ("pull", "-q"),
        ("fsck", "--no-progress"),
        ("gc", "-q"),
    ):
        project.git(*command, cwd=colleague.root)

    assert ids(colleague) == before
    assert (repo.git_dir / "config").read_text() == settings
    assert (colleague.git_dir / "config").read_text() == theirs
    assert project.git("branch", "-a", cwd=colleague.root).count("mlrepro") == 0
    assert project.git("ls-remote", "origin", "refs/mlrepro/remotes/*") == ""


def test_two_people_push_and_pull_in_any_order(project, repo, remote):
    recorded(repo, 1)
    ledger.push(repo, "origin")
    colleague = cloned(project, remote)
    recorded(colleague, 2)
    assert ledger.push(colleague, "origin") == 1
    recorded(repo, 3)
    assert ledger.push(repo, "origin") == 1

    ledger.pull(repo, "origin")
    ledger.pull(colleague, "origin")

    assert ids(repo) == ids(colleague)
    assert len(ids(repo)) == 3


def test_clones_that_share_a_writer_join_their_runs(project, repo, remote):
    others = [cloned(project, remote, f"ci{number}") for number in range(2)]
    sent = []
    for number, clone in enumerate(others):
        project.git("config", "mlrepro.writer", "ci", cwd=clone.root)
        (clone.root / "train.py").write_text(str(number))
        sent.append(recorded(clone, number))

    for clone in (*others, others[0]):
        ledger.push(clone, "origin")

    assert ledger.pull(repo, "origin") == 2
    assert set(ids(repo)) == {m.id for m in sent}
    for manifest in sent:
        ledger.fetch_code(repo, "origin", manifest.code.snapshot)
    recorded(others[1], 7)
    assert ledger.push(others[1], "origin") == 1


def test_a_copy_of_a_clone_can_push_after_the_original_went_on(project, repo, remote, tmp_path):
    recorded(repo, 1)
    shutil.copytree(project.root, tmp_path / "copy", symlinks=True)
    copy = git.open_repository(tmp_path / "copy")
    recorded(repo, 2)
    ledger.push(repo, "origin")
    recorded(copy, 3)

    ledger.push(copy, "origin")
    ledger.pull(repo, "origin")

    assert len(ids(repo)) == 3


def test_code_comes_also_where_the_remote_gives_no_single_commit(project, repo, remote):
    project.write("train.py", "x")
    manifest = recorded(repo)
    ledger.push(repo, "origin")
    colleague = cloned(project, remote)
    wrapper = project.write(
        "old-upload-pack", '#!/bin/sh\nunset GIT_PROTOCOL\nexec git-upload-pack "$@"\n'
    )
    wrapper.chmod(0o755)
    project.git("config", "remote.origin.url", str(remote), cwd=colleague.root)
    project.git("config", "remote.origin.uploadpack", str(wrapper), cwd=colleague.root)

    ledger.fetch_code(colleague, "origin", manifest.code.snapshot)

    assert git.has(colleague, manifest.code.tree)


def test_code_that_was_never_pushed_is_a_sentence(project, repo, remote):
    with pytest.raises(ObjectNotFoundError, match="does not have the code"):
        ledger.fetch_code(repo, "origin", "1" * 40)
    with pytest.raises(GitError, match="not the name of a commit"):
        ledger.fetch_code(repo, "origin", "--upload-pack=evil")


@pytest.mark.parametrize("name", ["nowhere", "--upload-pack=touch x", ""])
def test_a_remote_that_is_none_is_a_sentence(repo, name):
    recorded(repo)

    with pytest.raises(GitError):
        ledger.push(repo, name)
    with pytest.raises(GitError):
        ledger.pull(repo, name)


def test_a_remote_that_refuses_is_heard_at_once(project, repo, remote):
    recorded(repo)
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(GitError, match="pre-receive hook declined"):
        ledger.push(repo, "origin")


def test_the_first_push_of_an_untracked_file_is_told_and_only_the_first(project, repo, remote):
    project.write("train.py", "x")
    project.write("later.py", "x")
    first = recorded(repo, 1)
    project.git("add", "later.py")

    pending = ledger.pending(repo, "origin")
    assert [entry.id for entry in pending.entries] == [first.id]
    assert pending.untracked == ((first.id, "train.py"),)

    ledger.push(repo, "origin")
    assert ledger.pending(repo, "origin") == ledger.Pending((), ())
    project.write("train.py", "y")
    second = recorded(repo, 2)
    again = ledger.pending(repo, "origin")
    assert [entry.id for entry in again.entries] == [second.id]
    assert again.untracked == ()


def test_unpushed_commits_of_the_user_stay_here(project, repo, remote):
    project.write("private.py", "x")
    commit = project.commit()
    project.git("rm", "-q", "private.py")
    recorded(repo)

    ledger.push(repo, "origin")

    assert project.call("git", "cat-file", "-e", commit, cwd=remote, check=False).returncode != 0


def test_the_index_keeps_what_was_read(repo):
    manifest = recorded(repo)
    ledger.entries(repo)

    data = json.loads((repo.root / ".mlrepro" / "index.json").read_text())

    assert [row["id"] for row in data["rows"].values()] == [manifest.id]


def test_git_is_asked_to_pack_and_nothing_is_lost(repo, monkeypatch):
    monkeypatch.setattr(ledger, "_EVERY", 256)

    manifest = recorded(repo)

    assert ids(repo) == [manifest.id]
