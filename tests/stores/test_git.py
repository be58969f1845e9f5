from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlrepro.errors import GitError, NotARepositoryError
from mlrepro.stores import git


def test_a_folder_inside_a_repository_finds_its_top(project):
    (project.root / "deep" / "er").mkdir(parents=True)

    repo = git.open_repository(project.root / "deep" / "er")

    assert repo.root == project.root.resolve()
    assert repo.git_dir == repo.common_dir == project.root.resolve() / ".git"


def test_a_linked_worktree_has_its_own_folder_and_shares_the_common_one(project, tmp_path):
    project.git("worktree", "add", "-q", str(tmp_path / "linked"))

    repo = git.open_repository(tmp_path / "linked")

    assert repo.root == (tmp_path / "linked").resolve()
    assert repo.common_dir == project.root.resolve() / ".git"
    assert repo.git_dir.parent.name == "worktrees"
    assert git.head(repo).branch == "linked"


def test_a_bare_repository_is_refused_with_a_sentence(project, tmp_path):
    project.git("init", "-q", "--bare", str(tmp_path / "bare"))

    assert git.find(tmp_path / "bare") is None
    with pytest.raises(NotARepositoryError, match="bare repository"):
        git.open_repository(tmp_path / "bare")


def test_a_folder_without_git_is_no_repository(home, tmp_path):
    assert git.find(tmp_path) is None
    with pytest.raises(NotARepositoryError, match="not inside a git repository"):
        git.open_repository(tmp_path)


def test_a_repository_of_somebody_else_is_explained(project, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(GitError, match="belongs to another user") as caught:
        git.open_repository(project.root)

    assert "safe.directory" in (caught.value.hint or "")


def test_a_hooks_index_is_the_one_that_is_asked(project, monkeypatch):
    project.write("staged.txt", "x")
    shutil.copy2(project.root / ".git" / "index", project.root / ".git" / "next-index")
    project.git("add", "staged.txt", env={"GIT_INDEX_FILE": ".git/next-index"})

    before = git.tracked(git.open_repository(project.root), ["staged.txt"])
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/next-index")
    within = git.tracked(git.open_repository(project.root), ["staged.txt"])

    assert before == frozenset()
    assert within == {"staged.txt"}


def test_a_hooks_variables_do_not_reach_another_repository(project, tmp_path, monkeypatch):
    project.git("init", "-q", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_DIR", str(project.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")

    repo = git.open_repository(tmp_path / "other")

    assert repo.git_dir == (tmp_path / "other" / ".git").resolve()
    assert repo.index is None
    assert git.tracked(repo, [".dvc/config"]) == frozenset()


def test_a_work_tree_that_only_the_environment_names_is_found(home, tmp_path, monkeypatch):
    work = tmp_path / "dots"
    work.mkdir()
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "dots.git")], check=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "dots.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(work))

    repo = git.open_repository(work)
    (work / "a").write_text("a")
    git.call(repo, "add", "a")

    assert repo.root == work.resolve()
    assert git.tracked(repo, ["a"]) == {"a"}


def test_head_speaks_of_commit_branch_and_remote_without_credentials(project):
    project.git("remote", "add", "origin", "https://ann:secret@example.org/ann/models.git")

    head = git.head(git.open_repository(project.root))

    assert head.commit == project.git("rev-parse", "HEAD")
    assert head.branch == "main"
    assert head.remote == "https://example.org/ann/models.git"


def test_an_unborn_and_a_detached_head_have_empty_words(project, tmp_path):
    project.git("checkout", "-q", "--detach")
    project.git("init", "-q", str(tmp_path / "new"))

    assert git.head(git.open_repository(project.root)).branch == ""
    assert git.head(git.open_repository(tmp_path / "new")) == git.Head("", "main", "")


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://t0ken@example.org/x.git", "https://example.org/x.git"),
        ("https://a:b@example.org/x?token=1", "https://example.org/x"),
        ("https://a:b@c@example.org/x@1#t0ken", "https://example.org/x@1"),
        ("ssh://git:p@w@example.org/x", "ssh://git@example.org/x"),
        ("ssh://git:pw@example.org/x", "ssh://git@example.org/x"),
        ("git@example.org:ann/x.git", "git@example.org:ann/x.git"),
    ],
)
def test_addresses_lose_their_credentials(address, kept):
    assert git.without_credentials(address) == kept


def test_the_author_is_known_also_without_an_identity(project, monkeypatch):
    assert git.author(git.open_repository(project.root)) == "Ann <ann@example.org>"

    project.git("config", "--global", "--remove-section", "user")
    project.git("config", "user.useConfigOnly", "true")
    assert "@" in git.author(git.open_repository(project.root))


def test_tracked_and_ignored_take_any_name(project):
    names = ["with space", "line\nbreak", "ünï", os.fsdecode(b"latin-\xe9"), "*.glob", ":(top)x"]
    for name in names:
        project.write(name, "x")
    project.git("add", "-A")
    project.write(".gitignore", "skip*\n")
    project.write("skip me", "x")
    (project.root / "link").symlink_to(".dvc")
    repo = git.open_repository(project.root)

    assert git.tracked(repo, [*names, "absent", "../outside", "/etc/passwd"]) == set(names)
    # A path beyond a symlink makes `git check-ignore` give up; the others are told all the same.
    asked = ["skip me", "link/config", *names, "../x", "skip\nthis"]
    assert git.ignored(repo, asked) == {"skip me", "skip\nthis"}


def test_objects_are_read_in_order_and_absent_ones_are_none(project):
    project.write("a", "one\n")
    project.write("b", b"\0two")
    project.commit()
    repo = git.open_repository(project.root)

    found = list(git.read_objects(repo, ["HEAD:a", "f" * 40, "HEAD:b", "HEAD:absent"]))

    assert found == [b"one\n", None, b"\0two", None]


def test_a_ref_moves_only_from_where_it_is_expected(project):
    repo = git.open_repository(project.root)
    old, new = git.head(repo).commit, project.commit()

    assert git.update_ref(repo, "refs/mlrepro/x", old, "")
    assert not git.update_ref(repo, "refs/mlrepro/x", new, "")
    assert not git.update_ref(repo, "refs/mlrepro/x", new, new)
    assert git.update_ref(repo, "refs/mlrepro/x", new, old)
    assert git.refs(repo, "refs/mlrepro/") == {"refs/mlrepro/x": new}
    assert git.update_ref(repo, "refs/mlrepro/x", "", None)
    assert git.refs(repo, "refs/mlrepro/") == {}


def test_export_writes_modes_symlinks_and_the_trees_own_attributes(project, tmp_path):
    project.write(".gitattributes", "*.crlf text eol=crlf\n")
    project.write("a.crlf", "x\n")
    project.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / "link").symlink_to("run.sh")
    project.commit()
    project.write(".gitattributes", "")
    target = tmp_path / "out"
    target.mkdir()

    git.export(git.open_repository(project.root), "HEAD", target)

    assert (target / "a.crlf").read_bytes() == b"x\r\n"
    assert os.access(target / "run.sh", os.X_OK)
    assert os.readlink(target / "link") == "run.sh"
    assert project.git("status", "--porcelain") == "M .gitattributes"


@pytest.mark.parametrize("name", ["..", ".git"])
def test_export_refuses_a_tree_that_would_leave_the_folder(project, tmp_path, name):
    repo = git.open_repository(project.root)
    blob = git.call(repo, "hash-object", "-w", "--stdin", data=b"evil").decode().strip()
    raw = b"40000 " + name.encode() + b"\0"
    inner = git.call(repo, "mktree", data=f"100644 blob {blob}\tconfig\n".encode()).decode().strip()
    tree = git.call(
        repo, "hash-object", "-t", "tree", "-w", "--literally", "--stdin",
        data=raw + bytes.fromhex(inner),
    ).decode().strip()  # fmt: skip
    target = tmp_path / "room" / "out"
    target.mkdir(parents=True)

    with pytest.raises(GitError):
        git.export(repo, tree, target)

    assert sorted(p.name for p in target.parent.iterdir()) == ["out"]
    assert not (target / ".git").exists()


def test_no_hook_of_the_user_runs(project):
    hook = project.write(".git/hooks/reference-transaction", "#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    repo = git.open_repository(project.root)

    git.update_ref(repo, "refs/mlrepro/x", git.head(repo).commit, "")

    assert not (project.root / "hooked").exists()


def test_a_failing_call_says_gits_last_line(project):
    with pytest.raises(GitError, match="Not a valid object name nowhere"):
        git.call(git.open_repository(project.root), "ls-tree", "nowhere")


def test_a_repository_with_sha256_works(home, tmp_path):
    subprocess.run(["git", "init", "-q", "--object-format=sha256", str(tmp_path)], check=True)
    (tmp_path / "a").write_text("a")
    repo = git.open_repository(tmp_path)
    git.call(repo, "add", "a")
    tree = git.call(repo, "write-tree").decode().strip()

    commit = git.commit_tree(repo, tree, message="first")

    assert len(commit) == 64
    assert git.update_ref(repo, "refs/mlrepro/x", commit, "")
    assert list(git.files(repo, commit)) == ["a"]


def test_the_shadow_repository_leaves_no_trace_outside_its_folder(home, tmp_path):
    repo = git.shadow(tmp_path)
    again = git.shadow(tmp_path)

    assert repo == again
    assert repo.shadow
    assert [p.name for p in tmp_path.iterdir() if p != home] == [".mlrepro"]
    assert Path(tmp_path, ".mlrepro", ".gitignore").read_text() == "/*\n"
    assert git.find(tmp_path) is None
