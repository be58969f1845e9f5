from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from mlrepro.capture import code, loosecode, untracked
from mlrepro.errors import GitError
from mlrepro.manifest import Edit
from mlrepro.stores import git


def taken(root: Path, work: str = "w") -> tuple[git.Repository, code.Snapshot]:
    repo = git.open_repository(root)
    return repo, code.snapshot(repo, work=work)


def content(repo: git.Repository, tree: str, path: str) -> bytes | None:
    return next(git.read_objects(repo, [f"{tree}:{path}"]))


def state(project) -> tuple[str | bytes, ...]:
    # The index first, and without locks: a plain `git status` would refresh it.
    quiet = {"GIT_OPTIONAL_LOCKS": "0"}
    return (
        (project.root / ".git" / "index").read_bytes(),
        project.git("status", "--porcelain=v2", "-uall", env=quiet),
        project.git("stash", "list"),
        project.git("for-each-ref", "refs/heads", "refs/stash"),
        project.git("reflog"),
    )


def test_the_snapshot_holds_what_is_on_disk_and_leaves_the_users_index_alone(project):
    project.write("train.py", "old")
    project.write("gone.py", "x")
    project.write(".gitignore", "*.log\n")
    project.commit()
    project.write("train.py", "new")
    project.write("staged.py", "1")
    project.git("add", "staged.py")
    project.write("staged.py", "2")
    project.write("fresh.py", "fresh")
    project.write("noise.log", "x")
    (project.root / "gone.py").unlink()
    before = state(project)

    repo, snapshot = taken(project.root)

    assert state(project) == before
    files = git.files(repo, snapshot.tree)
    assert content(repo, snapshot.tree, "train.py") == b"new"
    assert content(repo, snapshot.tree, "staged.py") == b"2"
    assert "fresh.py" in files
    assert "gone.py" not in files
    assert "noise.log" not in files
    assert snapshot.modified == ("gone.py", "staged.py", "train.py")
    assert snapshot.untracked == ("fresh.py",)
    assert snapshot.head == project.git("rev-parse", "HEAD")


def test_the_snapshot_is_pinned_as_a_commit_without_parents(project):
    repo, snapshot = taken(project.root)

    assert git.refs(repo, code.PINS) == {code.PINS + "w": snapshot.commit}
    assert project.git("rev-list", "--parents", snapshot.commit) == snapshot.commit

    code.unpin(repo, "w")
    code.unpin(repo, "w")
    assert git.refs(repo, code.PINS) == {}
    assert list((repo.git_dir / "mlrepro-running").iterdir()) == []


def test_equal_code_is_an_equal_commit(project):
    repo, first = taken(project.root, "a")
    second = code.snapshot(repo, work="b")

    assert first.commit == second.commit


def test_a_snapshot_before_the_first_commit_holds_the_files(home, tmp_path):
    root = tmp_path / "new"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "a.py").write_text("a")

    repo, snapshot = taken(root)

    assert list(git.files(repo, snapshot.tree)) == ["a.py"]
    assert snapshot.head == ""
    assert not (root / ".git" / "index").exists()


def test_a_snapshot_of_an_unmerged_index_holds_the_working_file(project):
    project.write("a.py", "base")
    project.commit()
    project.git("checkout", "-q", "-b", "side")
    project.write("a.py", "side")
    project.commit()
    project.git("checkout", "-q", "main")
    project.write("a.py", "main")
    project.commit()
    project.git("merge", "side", check=False)
    unmerged = project.git("ls-files", "-u")
    project.git("worktree", "list")

    repo, snapshot = taken(project.root)

    assert unmerged
    assert project.git("ls-files", "-u") == unmerged
    assert b"<<<<<<<" in content(repo, snapshot.tree, "a.py")


def test_files_that_are_only_meant_to_be_added_are_held(project):
    project.write("later.py", "later")
    project.git("add", "-N", "later.py")

    repo, snapshot = taken(project.root)

    assert content(repo, snapshot.tree, "later.py") == b"later"
    assert snapshot.untracked == ()


def test_names_of_every_kind_are_held(project):
    names = ["a b.py", "line\nbreak.py", "ünï.py", os.fsdecode(b"latin-\xe9.py"), "*.py", "-q.py"]
    for name in names:
        project.write(name, "x")
    (project.root / "loop").symlink_to("loop")

    repo, snapshot = taken(project.root)

    assert {*names, "loop"} <= git.files(repo, snapshot.tree).keys()
    assert set(snapshot.untracked) == {*names, "loop"}


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "deep/.env.local",
        "server.pem",
        "id_rsa",
        "secrets.yaml",
        ".netrc",
        "Credentials.json",
        ".aws/config",
    ],
)
def test_an_untracked_secret_is_left_out_and_named(project, name):
    project.write(name, "hunter2")

    repo, snapshot = taken(project.root)

    assert name not in git.files(repo, snapshot.tree)
    assert snapshot.left_out == (f"{name} (its name says that it is secret)",)


def test_a_large_untracked_file_is_left_out_and_our_own_folder_is_never_seen(project):
    with project.write("big.bin", "").open("wb") as file:
        file.truncate(untracked.LARGEST + 1)
    project.write(".mlrepro/stat.sqlite", "x")

    repo, snapshot = taken(project.root)

    assert [line.split(" (")[0] for line in snapshot.left_out] == ["big.bin"]
    assert not any(p.startswith(".mlrepro/") for p in git.files(repo, snapshot.tree))


def test_pointers_and_manifests_are_held(project):
    project.write("data.csv.dvc", "outs: []\n")
    project.write("model.txt.mlrepro.yaml", "schema: 1\n")

    repo, snapshot = taken(project.root)

    assert {"data.csv.dvc", "model.txt.mlrepro.yaml"} <= git.files(repo, snapshot.tree).keys()


def test_files_that_git_does_not_look_at_and_nested_repositories_are_blind_spots(project):
    project.write("a.py", "a")
    project.write("b.py", "b")
    project.commit()
    project.git("update-index", "--assume-unchanged", "a.py")
    project.git("update-index", "--skip-worktree", "b.py")
    project.git("init", "-q", "nested")
    project.write("nested/x.py", "x")
    project.git("add", "x.py", cwd=project.root / "nested")
    project.git("commit", "-qm", "x", cwd=project.root / "nested")

    repo, snapshot = taken(project.root)

    told = "\n".join(snapshot.blind_spots)
    assert "`a.py` is marked" in told
    assert "`b.py` is marked" in told
    assert "`nested/` is a repository of its own" in told
    assert "nested" not in {p.split("/")[0] for p in git.files(repo, snapshot.tree)}


def test_a_submodule_is_held_by_its_commit_and_its_uncommitted_content_is_a_blind_spot(
    project, tmp_path
):
    library = tmp_path / "library"
    project.git("init", "-q", str(library))
    (library / "lib.py").write_text("1")
    project.git("add", ".", cwd=library)
    project.git("commit", "-qm", "lib", cwd=library)
    project.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "sub"
    )
    project.commit()
    clean = taken(project.root, "clean")[1]
    project.write("sub/lib.py", "2")

    repo, snapshot = taken(project.root)

    assert git.files(repo, snapshot.tree)["sub"].mode == "160000"
    assert clean.blind_spots == ()
    assert snapshot.blind_spots == (
        "submodule `sub` has uncommitted content; only its commit was recorded",
    )


def test_a_sparse_checkout_is_held_whole(project):
    project.write("in/a.py", "a")
    project.write("out/b.py", "b")
    project.commit()
    project.git("sparse-checkout", "set", "in")

    repo, snapshot = taken(project.root)

    assert not (project.root / "out").exists()
    assert {"in/a.py", "out/b.py"} <= git.files(repo, snapshot.tree).keys()
    assert snapshot.modified == snapshot.blind_spots == ()


def test_a_racy_edit_of_the_same_size_is_seen(project):
    for turn in range(5):
        project.write("train.py", f"seed={turn}")
        project.git("add", "train.py")
        project.write("train.py", f"seed={turn + 1}")

        repo, snapshot = taken(project.root, f"w{turn}")

        assert content(repo, snapshot.tree, "train.py") == f"seed={turn + 1}".encode()


def test_an_unreadable_untracked_file_is_left_out_and_an_unreadable_tracked_one_is_told(project):
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    project.write("a.py", "x").chmod(0)

    _, snapshot = taken(project.root)

    assert snapshot.left_out == ("a.py (not readable)",)


def test_a_repository_that_cannot_be_written_is_an_error_for_the_caller(project, monkeypatch):
    objects = project.root / ".git" / "objects"
    objects.rename(objects.with_name("objects-away"))
    objects.write_text("")

    with pytest.raises(GitError):
        code.snapshot(
            git.Repository(project.root, project.root / ".git", project.root / ".git"), work="w"
        )


def test_settling_drops_untracked_files_that_the_run_did_not_use(project):
    project.write("train.py", "x")
    project.write("customers.csv", "x")
    project.write("model.txt", "old")
    repo, snapshot = taken(project.root)

    settled = code.settle(
        repo, snapshot, opened={"train.py": 0, "model.txt": 0}, outputs=["model.txt"]
    )

    assert settled.untracked == ("train.py",)
    assert {"customers.csv", "model.txt"}.isdisjoint(git.files(repo, settled.tree))
    assert git.refs(repo, code.PINS) == {code.PINS + "w": settled.snapshot}
    assert settled.snapshot != snapshot.commit
    assert git.files(repo, settled.snapshot) == git.files(repo, settled.tree)


def test_settling_keeps_tracked_outputs_but_does_not_call_them_modified_or_edited(project):
    project.write("metrics.json", "1")
    project.commit()
    project.write("metrics.json", "2")
    repo, snapshot = taken(project.root)
    project.write("metrics.json", "333")

    settled = code.settle(repo, snapshot, opened={}, outputs=["metrics.json"])

    assert settled.modified == ()
    assert settled.edits == ()
    assert content(repo, settled.tree, "metrics.json") == b"2"


def test_edits_during_the_run_are_named_with_whether_the_run_had_loaded_them(project):
    names = ("never.py", "before.py", "after.py", "deleted.py", "touched.py")
    for name in names:
        project.write(name, "old")
    project.commit()
    repo, snapshot = taken(project.root)
    opened = {
        n: (project.root / n).stat().st_mtime_ns for n in ("before.py", "deleted.py", "touched.py")
    }
    time.sleep(0.02)
    for name in ("never.py", "before.py", "after.py"):
        project.write(name, "new")
    opened["after.py"] = (project.root / "after.py").stat().st_mtime_ns
    (project.root / "deleted.py").unlink()
    os.utime(project.root / "touched.py")

    settled = code.settle(repo, snapshot, opened=opened, outputs=[])

    assert settled.edits == (
        Edit("after.py", "after"),
        Edit("before.py", "before"),
        Edit("deleted.py", "before"),
        Edit("never.py", "never"),
    )


def test_pointers_that_the_run_writes_do_not_make_unequal_code(project):
    repo = git.open_repository(project.root)
    project.write("train.py", "x")
    project.write("out/.gitignore", "*.tmp\n")
    project.commit()
    first = code.snapshot(repo, work="a")
    project.write("out/.gitignore", "*.tmp\n/model.txt\n")
    project.write("out/model.txt.dvc", "outs: []\n")
    project.write("out/model.txt.mlrepro.yaml", "schema: 1\n")
    project.write("metrics.json", "{}")
    second = code.snapshot(repo, work="b")
    project.write("out/.gitignore", "*.tmp\n/model.txt\n*.csv\n")
    project.write("train.py", "y")
    third = code.snapshot(repo, work="c")

    assert code.equal_code(repo, first.tree, second.tree, ["out/model.txt", "metrics.json"]) == []
    assert code.equal_code(repo, first.tree, third.tree, ["out/model.txt", "metrics.json"]) == [
        "out/.gitignore",
        "train.py",
    ]


def test_without_git_the_code_goes_into_a_shadow_repository(home, tmp_path):
    root = tmp_path / "loose"
    for name in (
        "train.py", "conf/params.yaml", "requirements.txt", "data.csv", "venv/pyvenv.cfg", "venv/lib/x.py",
        ".hidden/x.py", "node_modules/x.js", "__pycache__/x.py", "repo/.git/HEAD", "repo/x.py", ".env", "secrets.json",
        "metrics.json",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    repo = git.shadow(root)

    snapshot = code.snapshot(repo, work="w")
    settled = code.settle(repo, snapshot, opened={}, outputs=["metrics.json"])

    assert sorted(git.files(repo, settled.tree)) == [
        "conf/params.yaml",
        "requirements.txt",
        "train.py",
    ]
    assert settled.shadow
    assert settled.untracked == ()
    assert snapshot.left_out == ("secrets.json (its name says that it is secret)",)


def test_an_edit_without_git_is_named_too(home, tmp_path):
    root = tmp_path / "loose"
    root.mkdir()
    (root / "train.py").write_text("x")
    repo = git.shadow(root)
    snapshot = code.snapshot(repo, work="w")
    (root / "train.py").write_text("longer")

    settled = code.settle(repo, snapshot, opened={}, outputs=[])

    assert settled.edits == (Edit("train.py", "never"),)


def test_a_huge_folder_without_git_is_left_after_a_while(home, tmp_path, monkeypatch):
    monkeypatch.setattr(loosecode, "MOST_LOOKED_AT", 20)
    for folder in range(10):
        (tmp_path / "huge" / str(folder)).mkdir(parents=True)
        for name in range(5):
            (tmp_path / "huge" / str(folder) / f"{name}.py").touch()
    (tmp_path / "huge" / "train.py").touch()

    found = loosecode.find(tmp_path / "huge")

    assert "train.py" in found.paths
    assert len(found.paths) < 30
    assert "too large" in found.blind_spots[0]
