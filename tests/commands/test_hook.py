"""The git hook: what it refuses, what it says, and how it lives with other hooks."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro import documents, githook, manifest, plain
from mlrepro.commands import hook, hookchecks, staged
from mlrepro.errors import ConfigError, RefusedError
from mlrepro.manifest import (
    Artifact,
    CodeState,
    Digest,
    Input,
    Kept,
    Listing,
    Manifest,
    Role,
    Run,
    Source,
    Status,
)
from mlrepro.stores import dvc, git, ledger
from mlrepro.stores.dvcfiles import pointer_text

RUN = Run(("python", "train.py"), "2026-11-21T04:12:00.000Z", Status.COMPLETED)
MODEL = b"tree\nversion=v4\nnum_class=1\n"


def record(
    project, path="model.txt", data=MODEL, *, in_ledger=True, kept=Kept.POINTER, keep=True, **parts
):
    """Do what `mlrepro run` does when a training has made a model, without the training."""
    repo = git.open_repository(project.root)
    project.write(path, data)
    stored = dvc.stores(project.root).add(project.root / path, into_dvc=True)
    index = project.root / ".git" / "index-of-the-snapshot"
    index.write_bytes((project.root / ".git" / "index").read_bytes())
    own = {"GIT_INDEX_FILE": str(index)}
    code = [f for f in ("train.py", "lib.py") if (project.root / f).exists()]
    if code:
        project.git("add", *code, env=own)
    tree = project.git("write-tree", env=own)
    index.unlink()
    state = CodeState(
        tree,
        git.commit_tree(repo, tree, message="code"),
        untracked=tuple(code),
    )
    artifact = Artifact(path, Role.WEIGHTS, stored.digest, stored.size, kept)
    made = Manifest(RUN, state, (artifact,), **parts)
    if in_ledger:
        ledger.append(repo, made, {})
    if kept is Kept.POINTER:
        name = path.rpartition("/")[2]
        project.write(f"{path}.dvc", pointer_text(name, stored))
        project.write(f"{path.removesuffix(name)}.gitignore", f"/{name}\n")
    if keep:
        manifest.write(project.root / f"{path}.mlrepro.yaml", made)
    return made


def point(project, path):
    """Do what `dvc add` does."""
    stored = dvc.stores(project.root).add(project.root / path, into_dvc=True)
    folder, _, name = path.rpartition("/")
    project.write(f"{path}.dvc", pointer_text(name, stored))
    project.write(f"{folder}/.gitignore".lstrip("/"), f"/{name}\n")


def check(project, **options):
    return hook.check(project.root, **options)


def sentences(findings):
    return [finding.sentence for finding in findings]


def refusal(project, **options):
    report = check(project, **options)
    (finding,) = report.refusals
    for text in (finding.sentence, finding.hint):
        assert text
        assert "\n" not in text
    return finding.sentence


def add(project, *names):
    project.git("add", "--", *names)


@pytest.fixture
def trained(project):
    """A project with code that is committed, and a model that is recorded and not yet staged."""
    project.write("train.py", "print('train')\n")
    project.commit("code")
    return project, record(project)


# What is refused


def test_a_recorded_model_with_its_pointer_and_manifest_passes(trained):
    project, _ = trained
    add(project, ".")

    report = check(project)

    assert report.refusals == ()
    assert report.warnings == ()


def test_a_pointer_of_recorded_weights_without_its_manifest_is_refused(trained):
    project, made = trained
    add(project, "model.txt.dvc")

    sentence = refusal(project)

    assert sentence == f"the model `model.txt` is staged without its manifest (run {made.short})"


def test_the_hint_names_the_git_add_that_helps(trained):
    project, _ = trained
    add(project, "model.txt.dvc")

    (finding,) = check(project).refusals

    assert finding.hint == "Run `git add model.txt.mlrepro.yaml`."


def test_a_pointer_whose_manifest_names_another_digest_is_refused(trained):
    project, made = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    project.write("model.txt", MODEL + b"another\n")
    point(project, "model.txt")
    add(project, "model.txt.dvc")

    assert refusal(project) == (
        f"`model.txt.dvc` is not the model that its manifest records (run {made.short})"
    )


def test_a_manifest_whose_pointer_is_not_staged_is_refused(trained):
    project, _ = trained
    add(project, "model.txt.mlrepro.yaml")

    assert "is staged without `model.txt.dvc`" in refusal(project)


def test_a_manifest_of_a_later_run_without_its_pointer_is_refused(trained):
    project, _ = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    made = record(project, data=MODEL + b"later\n")
    add(project, "model.txt.mlrepro.yaml")

    assert f"not the model that its manifest records (run {made.short})" in refusal(project)


def test_an_edited_manifest_is_refused(trained):
    project, _ = trained
    path = project.root / "model.txt.mlrepro.yaml"
    path.write_text(path.read_text().replace("train.py", "other.py"))
    add(project, ".")

    assert "does not match its run id" in refusal(project)


@pytest.mark.parametrize(
    "text",
    [
        "schema: 1\nid: !!python/object/apply:os.system ['touch hacked']\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nschema: 1\n",
        "schema: 1\nrun:\n  command: [",
        "schema: 99\nid: x\n",
        "",
        "\x00\xff",
    ],
    ids=["object", "bomb", "truncated", "newer", "empty", "binary"],
)
def test_a_manifest_that_cannot_be_trusted_is_refused_by_its_name(trained, text):
    project, _ = trained
    project.write("model.txt.mlrepro.yaml", text)
    add(project, ".")

    assert refusal(project).startswith("`model.txt.mlrepro.yaml` cannot be trusted: ")
    assert not (project.root / "hacked").exists()


def test_a_manifest_with_a_path_out_of_the_project_is_refused(trained):
    project, made = trained
    bad = manifest.replace(made, artifacts=(*made.artifacts, _artifact("../../x")))
    manifest.write(project.root / "model.txt.mlrepro.yaml", bad)
    add(project, ".")

    assert "leaves the project's folder" in refusal(project)


def _artifact(path):
    return Artifact(path, Role.OTHER, Digest("md5", "0" * 32), 1)


def test_the_index_counts_and_not_the_working_tree(trained):
    project, _ = trained
    add(project, ".")
    (project.root / "model.txt.mlrepro.yaml").write_text("damaged afterwards")
    (project.root / "model.txt.dvc").unlink()

    assert check(project).refusals == ()


@pytest.mark.parametrize("name", ["clf.onnx", "net.safetensors", "models/best.pkl", "w.pt"])
def test_a_new_model_that_no_run_made_is_refused(project, name):
    project.write(name, b"\x80\x04weights")
    point(project, name)
    add(project, f"{name}.dvc")

    assert refusal(project) == f"no run made the new model `{name}`, so nobody could rebuild it"


def test_a_new_model_is_known_by_its_first_bytes(project):
    project.write("booster.txt", MODEL)
    add(project, "booster.txt")

    assert "no run made the new model `booster.txt`" in refusal(project)


def test_a_new_model_behind_a_pointer_is_known_by_its_first_bytes(project):
    project.write("booster.txt", MODEL)
    point(project, "booster.txt")
    add(project, "booster.txt.dvc")

    assert "no run made the new model `booster.txt`" in refusal(project)


def test_what_dvc_itself_adds_is_judged(project):
    project.write("booster.txt", MODEL)
    project.dvc("add", "-q", "booster.txt")
    add(project, ".")

    assert "no run made the new model `booster.txt`" in refusal(project)


@pytest.mark.parametrize("name", ["data.csv", "train.pkl", "data/features.h5", "big.npz", "x.bin"])
def test_the_pointer_of_a_data_set_passes(project, name):
    project.write(name, pickle.dumps([1.0, 2.0]))
    point(project, name)
    add(project, ".")

    assert check(project).refusals == ()


def test_a_pickle_is_a_model_where_it_names_a_library_of_models(project):
    project.write("final.pkl", b"\x80\x04\x95\x1e\x00sklearn.ensemble._forest\x94")
    add(project, "final.pkl")

    assert "no run made the new model `final.pkl`" in refusal(project)


def test_a_prepared_data_set_of_a_run_passes_without_a_manifest(project):
    repo = git.open_repository(project.root)
    project.write("prepared.parquet", b"PAR1 rows")
    point(project, "prepared.parquet")
    digest = Digest("md5", hashlib.md5(b"PAR1 rows").hexdigest())
    made = Artifact("prepared.parquet", Role.OTHER, digest, 9)
    ledger.append(repo, Manifest(RUN, None, (made,)), {})
    add(project, "prepared.parquet.dvc")

    assert check(project).refusals == ()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[tool.mlrepro.hook]\nallow = ["vendor/*"]\n'),
        ("mlrepro.toml", '[hook]\nallow = ["vendor/**/*.onnx"]\n'),
    ],
)
def test_the_project_lists_what_is_let_through(project, file, text):
    project.write("vendor/hub/net.onnx", b"weights")
    project.write(file, text)
    add(project, "vendor")

    assert check(project).refusals == ()


def test_settings_that_cannot_be_read_are_named(project):
    project.write("net.onnx", b"weights")
    project.write("mlrepro.toml", "[hook]\nallow = 'all'\n")
    add(project, "net.onnx")

    with pytest.raises(ConfigError, match=r"`allow` in mlrepro\.toml must be a list"):
        check(project)


def test_weights_that_git_itself_holds_must_be_those_of_the_manifest(project):
    project.write("train.py", "")
    project.commit()
    made = record(project, "small.txt", kept=Kept.GIT)
    add(project, ".")
    assert check(project).refusals == ()

    project.write("small.txt", MODEL + b"edited\n")
    add(project, "small.txt")

    assert refusal(project) == (
        f"`small.txt` is not the model that its manifest records (run {made.short})"
    )


def test_weights_of_git_that_were_edited_later_are_refused(project):
    made = record(project, "small.txt", kept=Kept.GIT)
    project.commit()
    project.write("small.txt", MODEL + b"edited\n")
    add(project, "small.txt")

    assert f"`small.txt` is not the model that its manifest records (run {made.short})" in (
        refusal(project)
    )


def test_weights_whose_line_ends_git_converts_pass(project):
    project.write(".gitattributes", "*.txt text eol=crlf\n")
    project.commit()
    record(project, "small.txt", MODEL.replace(b"\n", b"\r\n"), kept=Kept.GIT)
    add(project, ".")

    assert check(project).refusals == ()


def test_a_model_renamed_with_its_pointer_and_manifest_passes(trained):
    project, _ = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    (project.root / "old").mkdir()
    for suffix in (".dvc", ".mlrepro.yaml"):
        project.git("mv", f"model.txt{suffix}", f"old/model.txt{suffix}")

    assert check(project).refusals == ()


def test_a_model_deleted_with_its_pointer_and_manifest_passes(trained):
    project, _ = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    project.git("rm", "-q", "model.txt.dvc", "model.txt.mlrepro.yaml")

    report = check(project)

    assert (report.refusals, report.warnings) == ((), ())


def test_a_model_of_the_time_before_mlrepro_may_be_renamed_and_changed(project):
    project.write("net.onnx", b"weights")
    point(project, "net.onnx")
    project.commit()
    project.git("mv", "net.onnx.dvc", "renamed.onnx.dvc")

    assert check(project).refusals == ()


def test_a_deleted_manifest_of_a_model_that_stays_is_warned_of(trained):
    project, _ = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    project.git("rm", "-q", "model.txt.mlrepro.yaml")

    report = check(project)

    assert report.refusals == ()
    assert sentences(report.warnings) == ["`model.txt` stays, without its manifest"]


# The run behind the model


def test_a_run_of_this_clone_that_lost_an_object_is_refused(trained):
    project, made = trained
    add(project, ".")
    for place in _objects(project, made):
        place.unlink()

    assert f"run {made.short}, which made `model.txt`, has lost 1 object" in refusal(project)


def _objects(project, made):
    here = dvc.stores(project.root)
    while place := here.find(made.artifacts[0].digest):
        yield place


@pytest.mark.parametrize("is_lost", [True, False])
def test_an_input_that_only_the_list_names_has_to_be_there(project, is_lost):
    stores = dvc.stores(project.root)
    kept = [stores.add_bytes(f"{number}".encode()) for number in range(60)]
    inputs = [
        Input(f"data/{number}.csv", Source.STORED, one.digest, one.size)
        for number, one in enumerate(kept)
    ]
    data = documents.canonical_json([plain.dump(one) for one in inputs])
    listing = Listing(Digest("sha256", hashlib.sha256(data).hexdigest()), len(inputs))
    project.write("train.py", "print('train')\n")
    project.commit("code")
    made = record(project, in_ledger=False, inputs=tuple(inputs[:40]), lists={"inputs": listing})
    ledger.append(git.open_repository(project.root), made, {"inputs": data})
    add(project, ".")
    if is_lost:
        stores.find(kept[57].digest).unlink()

    report = check(project)

    assert bool(report.refusals) is is_lost
    assert not is_lost or "1 object" in report.refusals[0].sentence


def test_a_mistake_of_ours_lets_the_commit_through_with_a_warning(trained, monkeypatch, capsys):
    monkeypatch.setattr(hook, "check", lambda *_, **__: {}["absent"])
    monkeypatch.setattr(hook, "trailers", lambda *_, **__: {}["absent"])

    codes = [githook.main(["pre-commit"]), githook.main(["prepare-commit-msg", "message"])]

    assert codes == [0, 0]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == ["mlrepro"] * 2
    assert "not checked: KeyError" in lines[0]


def test_a_run_of_this_clone_that_lost_its_code_is_refused(project):
    project.write("train.py", "print(1)\n")
    made = record(project)
    assert made.code
    for name in (made.code.snapshot, made.code.tree):
        (project.root / ".git" / "objects" / name[:2] / name[2:]).unlink()
    add(project, ".")

    assert f"run {made.short}, which made `model.txt`, has lost its code" in refusal(project)


def test_a_run_of_another_writer_only_warns(project):
    made = record(project, in_ledger=False)
    for place in _objects(project, made):
        place.unlink()
    add(project, ".")

    report = check(project)

    assert report.refusals == ()
    assert "is not whole in this clone" in report.warnings[0].sentence


def test_what_a_merge_brings_only_warns(trained):
    project, _ = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    project.git("checkout", "-q", "-b", "colleague")
    project.write("model.txt", MODEL + b"by hand\n")
    point(project, "model.txt")
    project.commit("without mlrepro")
    project.git("checkout", "-q", "main")
    project.write("train.py", "print('new')\n")
    project.commit("mine")
    project.git("merge", "--no-commit", "--no-ff", "colleague")

    report = check(project)

    assert report.refusals == ()
    assert "is not the model that its manifest records" in report.warnings[0].sentence


# The code around the model


def test_code_that_differs_from_that_of_the_staged_model_is_named(project):
    project.write("train.py", "print(1)\n")
    project.write("lib.py", "x = 1\n")
    project.commit()
    project.write("train.py", "print(2)\n")
    made = record(project)
    add(project, "model.txt.dvc", "model.txt.mlrepro.yaml", ".gitignore")

    assert sentences(check(project).warnings) == [
        f"`train.py` is not committed as it was when run {made.short} made `model.txt`"
    ]


def test_code_that_the_run_used_and_git_never_got_is_named(project):
    project.write("train.py", "print(1)\n")
    record(project)
    add(project, "model.txt.dvc", "model.txt.mlrepro.yaml", ".gitignore")

    assert "`train.py` is not committed as it was" in check(project).warnings[0].sentence


def test_new_prose_and_new_files_are_no_other_code(trained):
    project, _ = trained
    project.write("README.md", "# read\n")
    project.write("analysis.py", "later\n")
    add(project, ".")

    assert check(project).warnings == ()


def test_code_committed_without_the_model_that_it_made_is_named(project):
    project.write("train.py", "print(1)\n")
    made = record(project)
    add(project, "train.py")

    (finding,) = check(project).warnings

    assert finding.sentence == (
        f"the code of run {made.short} is committed without its model: "
        "unstaged `model.txt.dvc`, `model.txt.mlrepro.yaml`"
    )
    assert finding.hint == "Run `git add model.txt.dvc model.txt.mlrepro.yaml`."


def test_other_code_may_be_committed_without_the_model(project):
    project.write("train.py", "print(1)\n")
    record(project)
    project.write("unrelated.py", "pass\n")
    add(project, "unrelated.py")

    assert check(project).warnings == ()


# Where a commit comes from


def test_the_first_commit_of_a_repository_is_checked(project):
    project.git("update-ref", "-d", "HEAD")
    project.write("net.onnx", b"weights")
    add(project, "net.onnx")

    assert "no run made the new model `net.onnx`" in refusal(project)


def test_an_index_of_its_own_is_honoured(trained, monkeypatch):
    project, _ = trained
    other = project.root / ".git" / "next-index"
    other.write_bytes((project.root / ".git" / "index").read_bytes())
    project.git("add", "model.txt.dvc", env={"GIT_INDEX_FILE": str(other)})
    assert check(project).refusals == ()
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/next-index")

    assert "is staged without its manifest" in refusal(project)


def test_files_named_by_a_caller_are_checked_as_if_staged(trained):
    project, _ = trained
    add(project, "model.txt.dvc")
    project.git("commit", "-q", "-m", "model without manifest")
    project.write("net.onnx", b"weights")
    add(project, "net.onnx")

    assert "model.txt" in refusal(project, files=["model.txt.dvc"])


def test_names_with_spaces_newlines_and_unicode_are_shown_on_one_line(project):
    project.write("größe a\nb.onnx", b"weights")
    add(project, ".")

    assert "`größe a\\nb.onnx`" in refusal(project)


def test_nothing_staged_is_nothing_to_say(trained):
    project, _ = trained

    report = check(project)

    assert (report.refusals, report.warnings) == ((), ())


def test_the_check_imports_neither_dvc_nor_rich_nor_numpy(trained):
    project, _ = trained
    add(project, ".")
    code = (
        "import sys; from mlrepro.githook import main; assert main(['pre-commit']) == 0;"
        "print([m for m in ('dvc', 'rich', 'numpy', 'git', 'click') if m in sys.modules])"
    )

    assert project.call(sys.executable, "-c", code).stdout.strip() == "[]"


def test_an_ordinary_commit_needs_no_yaml_and_the_full_check_agrees(trained):
    project, _ = trained
    add(project, ".")
    code = (
        "import sys; from mlrepro.githook import main; assert main(['pre-commit']) == 0;"
        "print('yaml' in sys.modules)"
    )
    repo = git.open_repository(project.root)

    assert project.call(sys.executable, "-c", code).stdout.strip() == "False"
    assert hookchecks.check(repo, staged.changes(repo)) == hook.HookReport()


# Trailers


def _message(project, text="subject\n"):
    return project.write(".git/COMMIT_EDITMSG", text)


def test_a_trailer_names_the_run_of_each_staged_model_once(trained):
    project, made = trained
    other = record(project, "second.txt", MODEL + b"2\n")
    add(project, ".")
    file = _message(project)

    added = hook.trailers(project.root, file)
    again = hook.trailers(project.root, file)

    assert sorted(added) == sorted(f"Mlrepro-Run: {m.short}" for m in (made, other))
    assert again == ()
    assert file.read_text().count("Mlrepro-Run: ") == 2


def test_two_models_of_one_run_get_one_trailer(trained):
    project, made = trained
    for suffix in (".dvc", ".mlrepro.yaml"):
        text = (project.root / f"model.txt{suffix}").read_text()
        project.write(f"copy.txt{suffix}", text)
    add(project, ".")

    assert hook.trailers(project.root, _message(project)) == (f"Mlrepro-Run: {made.short}",)


def test_a_trailer_stands_among_the_others_and_above_the_comments(trained):
    project, made = trained
    add(project, ".")
    file = _message(project, "subject\n\nbody\n\nSigned-off-by: Ann <ann@x>\n# comment\n")

    hook.trailers(project.root, file)

    assert file.read_text() == (
        f"subject\n\nbody\n\nSigned-off-by: Ann <ann@x>\nMlrepro-Run: {made.short}\n# comment\n"
    )


# Installed, as git calls it


def install(project):
    return hook.install(project.root)


def commit(project, *arguments, **options):
    return project.call("git", "commit", "-q", *arguments, check=False, **options)


def test_an_installed_hook_refuses_a_commit_in_one_line_and_a_hint(trained):
    project, made = trained
    install(project)
    add(project, "model.txt.dvc")

    done = commit(project, "-m", "model")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"mlrepro: the model `model.txt` is staged without its manifest (run {made.short})",
        "  hint: Run `git add model.txt.mlrepro.yaml`.",
    ]


def test_an_installed_hook_adds_the_trailer_also_on_amend_and_once(trained):
    project, made = trained
    install(project)
    add(project, ".")

    first = commit(project, "-m", "model")
    commit(project, "--amend", "--no-edit")

    assert (first.returncode, first.stderr) == (0, "")
    assert project.git("log", "-1", "--format=%B") == f"model\n\nMlrepro-Run: {made.short}"


def test_an_amend_with_a_message_knows_its_run_and_a_next_commit_does_not(trained):
    project, made = trained
    install(project)
    add(project, ".")
    commit(project, "-m", "model")

    commit(project, "--amend", "-m", "another message")
    amended = project.git("log", "-1", "--format=%B")
    commit(project, "--allow-empty", "-m", "next")

    assert amended == f"another message\n\nMlrepro-Run: {made.short}"
    assert project.git("log", "-1", "--format=%B") == "next"


def test_the_first_commit_of_a_repository_names_its_run(project):
    project.git("update-ref", "-d", "HEAD")
    made = record(project)
    install(project)
    add(project, ".")

    commit(project, "-m", "first")

    assert project.git("log", "-1", "--format=%B") == f"first\n\nMlrepro-Run: {made.short}"


def test_a_commit_after_that_of_a_model_names_no_run(trained):
    project, _ = trained
    install(project)
    add(project, ".")
    commit(project, "-m", "model")
    project.write("note.md", "note")
    add(project, "note.md")

    done = commit(project, "-m", "note")

    assert (done.returncode, done.stderr) == (0, "")
    assert project.git("log", "-1", "--format=%B") == "note"


def test_an_amend_with_a_later_run_names_that_run_alone(trained):
    project, _ = trained
    install(project)
    add(project, ".")
    commit(project, "-m", "model")
    later = record(project, data=MODEL + b"later\n")
    add(project, ".")

    done = commit(project, "--amend", "--no-edit")

    assert done.returncode == 0, done.stderr
    assert project.git("log", "-1", "--format=%B") == f"model\n\nMlrepro-Run: {later.short}"


def test_a_commit_of_some_paths_is_checked_by_those_paths(trained):
    project, _ = trained
    install(project)
    add(project, ".")

    done = commit(project, "-m", "pointer only", "--", "model.txt.dvc")

    assert done.returncode == 1
    assert "staged without its manifest" in done.stderr


def test_a_linked_worktree_is_checked(trained):
    project, _ = trained
    install(project)
    project.git("worktree", "add", "-q", "../linked")
    linked = project.root.parent / "linked"
    (linked / "net.onnx").write_bytes(b"weights")
    project.git("add", "net.onnx", cwd=linked)

    done = commit(project, "-m", "net", cwd=linked)

    assert done.returncode == 1
    assert "no run made the new model `net.onnx`" in done.stderr


def test_a_message_left_empty_still_gives_the_commit_up(trained):
    project, _ = trained
    install(project)
    add(project, ".")

    done = commit(project, env={"GIT_EDITOR": "true"})

    assert done.returncode == 1
    assert "empty commit message" in done.stderr


def test_an_editor_sees_the_trailer(trained):
    project, made = trained
    install(project)
    add(project, ".")

    commit(project, env={"GIT_EDITOR": "sed -i '1s/^/written/'"})

    assert project.git("log", "-1", "--format=%B") == f"written\n\nMlrepro-Run: {made.short}"


def test_a_commit_goes_through_where_mlrepro_is_gone(trained):
    project, _ = trained
    install(project)
    path = project.root / ".git" / "hooks" / "pre-commit"
    path.write_text(path.read_text().replace(sys.executable, "/nowhere/python"))
    add(project, "model.txt.dvc")

    done = commit(project, "-m", "model", env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 0
    assert "mlrepro: warning: not found, so `pre-commit` did nothing" in done.stderr


def test_an_interpreter_that_lost_mlrepro_does_not_stop_a_commit(trained):
    project, _ = trained
    install(project)
    bare = project.write("../bare-python", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    path = project.root / ".git" / "hooks" / "pre-commit"
    path.write_text(path.read_text().replace(sys.executable, str(bare)))
    project.write("note.md", "note")
    add(project, "note.md")

    done = commit(project, "-m", "note", env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 0
    assert "did nothing" in done.stderr


# Beside other hooks

_HOOK = '#!/bin/sh\necho "own $0 $*" >> hook.log\nexit ${OWN_STATUS:-0}\n'


def _own(project, name="pre-commit", folder=".git/hooks", text=_HOOK, mode=0o755):
    path = project.write(f"{folder}/{name}", text)
    path.chmod(mode)
    return path


def _tree(folder: Path):
    return {
        p.name: (os.readlink(p) if p.is_symlink() else p.read_bytes(), p.lstat().st_mode)
        for p in folder.iterdir()
    }


def test_an_earlier_hook_is_called_first_and_restored_bit_for_bit(project):
    _own(project)
    _own(project, "prepare-commit-msg", mode=0o700)
    os.symlink("../../tool.sh", project.root / ".git" / "hooks" / "commit-msg")
    _own(project, "tool.sh", folder=".")
    before = _tree(project.root / ".git" / "hooks")
    install(project)
    add(project, "tool.sh")

    done = commit(project, "-m", "tool")
    log = (project.root / "hook.log").read_text().splitlines()
    removed = hook.uninstall(project.root)

    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in log[1:]] == ["message", ".git/COMMIT_EDITMSG"]
    assert len(log) == 3
    assert removed == ("pre-commit", "prepare-commit-msg", "commit-msg")
    assert _tree(project.root / ".git" / "hooks") == before


def test_an_earlier_hook_that_fails_stops_the_commit_with_its_status(project):
    _own(project)
    install(project)
    project.write("net.onnx", b"weights")
    add(project, "net.onnx")

    done = commit(project, "-m", "x", env={"OWN_STATUS": "7"})

    assert done.returncode != 0
    assert "mlrepro" not in done.stderr


def test_an_earlier_hook_that_is_not_executable_stays_inert(project):
    _own(project, mode=0o644)
    install(project)
    project.write("a.py", "")
    add(project, "a.py")

    commit(project, "-m", "x")

    assert not (project.root / "hook.log").exists()


def test_installing_twice_changes_nothing(project):
    _own(project)
    first = install(project)
    before = _tree(project.root / ".git" / "hooks")

    second = install(project)

    assert first == ("pre-commit", "prepare-commit-msg", "commit-msg")
    assert second == ()
    assert _tree(project.root / ".git" / "hooks") == before


def test_a_script_of_an_older_mlrepro_is_rewritten_in_place(project):
    _own(project)
    install(project)
    path = project.root / ".git" / "hooks" / "pre-commit"
    current = path.read_text()
    path.write_text(current.replace(sys.executable, "/old/python"))

    assert install(project) == ()
    assert path.read_text() == current


def test_uninstalling_where_nothing_is_installed_leaves_all(project):
    own = _own(project)

    assert hook.uninstall(project.root) == ()
    assert own.read_text() == _HOOK


def test_a_local_hooks_path_is_used(project):
    project.git("config", "core.hooksPath", ".githooks")
    _own(project, folder=".githooks")
    install(project)
    project.write("net.onnx", b"weights")
    add(project, "net.onnx")

    done = commit(project, "-m", "x")

    assert done.returncode == 1
    assert "no run made the new model" in done.stderr
    assert (project.root / "hook.log").exists()
    assert "mlrepro" not in "".join(_tree(project.root / ".git" / "hooks"))


def test_a_hooks_path_that_git_tracks_is_left_alone(project):
    project.git("config", "core.hooksPath", ".githooks")
    own = _own(project, folder=".githooks")
    project.commit()

    with pytest.raises(RefusedError, match="git tracks the hooks") as caught:
        install(project)

    assert "mlrepro hook run pre-commit" in (caught.value.hint or "")
    assert own.read_text() == _HOOK


def test_a_user_who_calls_mlrepro_from_her_own_hooks_needs_no_other(project):
    project.git("config", "core.hooksPath", ".githooks")
    _own(project, folder=".githooks", text="#!/bin/sh\nmlrepro hook run pre-commit\n")
    line = '#!/bin/sh\nmlrepro hook run prepare-commit-msg "$@"\n'
    _own(project, "prepare-commit-msg", folder=".githooks", text=line)
    project.commit()

    assert install(project) == ()


def test_a_global_hooks_path_is_never_written_to(project, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    project.git("config", "--global", "core.hooksPath", str(shared))

    with pytest.raises(RefusedError, match="outside this repository"):
        install(project)

    assert list(shared.iterdir()) == []
    assert hook.uninstall(project.root) == ()


def test_a_hook_that_works_only_under_its_own_name_is_not_moved(project):
    own = _own(project, text='#!/bin/sh\n. "$(dirname "$0")/h" # husky\n')

    with pytest.raises(RefusedError, match="only under its own name"):
        install(project)

    assert own.exists()


def test_a_hook_that_replaced_ours_is_not_lost(project):
    _own(project)
    install(project)
    _own(project, text="#!/bin/sh\n# third\n")

    with pytest.raises(RefusedError, match="mlrepro-chained"):
        install(project)


def test_hooks_that_cannot_be_written_are_said_in_a_sentence(project):
    project.git("config", "core.hooksPath", "/dev/null")

    done = project.mlrepro("hook", "install")

    assert done.returncode == 1
    assert done.stderr.startswith("mlrepro: the hooks in `/dev/null` cannot be changed")


def test_pre_commits_own_framework_may_move_our_script_aside(project):
    """`pre-commit install` renames a hook to `.legacy` and calls it; what we chained may be it."""
    _own(project, text="#!/bin/sh\n# File generated by pre-commit\nexit 3\n")
    install(project)
    hooks = project.root / ".git" / "hooks"
    (hooks / "pre-commit").rename(hooks / "pre-commit.legacy")

    done = project.call(str(hooks / "pre-commit.legacy"), env={"PRE_COMMIT_RUNNING_LEGACY": "1"})

    assert done.returncode == 0


def test_pre_commits_variables_tell_of_an_amend(trained, monkeypatch):
    project, made = trained
    add(project, ".")
    project.git("commit", "-q", "-m", "model")
    monkeypatch.setenv("PRE_COMMIT_COMMIT_MSG_SOURCE", "commit")
    monkeypatch.setenv("PRE_COMMIT_COMMIT_OBJECT_NAME", "HEAD")

    assert hook.trailers(project.root, _message(project)) == (f"Mlrepro-Run: {made.short}",)


def test_the_scripts_are_plain_shell(project):
    install(project)
    hooks = project.root / ".git" / "hooks"

    for name in ("pre-commit", "prepare-commit-msg", "commit-msg"):
        assert subprocess.run(["sh", "-n", hooks / name]).returncode == 0
        assert stat.S_IMODE((hooks / name).stat().st_mode) == 0o755


def test_a_run_of_the_command_line_passes_the_hook_from_end_to_end(project):
    project.write("train.py", f"open('model.txt', 'wb').write({MODEL!r})\n")
    project.commit()
    install(project)
    done = project.mlrepro("run", "python", "train.py")
    assert done.returncode == 0, done.stderr
    add(project, ".")

    committed = commit(project, "-m", "model")

    assert committed.returncode == 0, committed.stderr
    assert committed.stderr == ""
    assert "Mlrepro-Run: " in project.git("log", "-1", "--format=%B")
