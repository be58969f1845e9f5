"""`mlrepro export --script`: the script is really started, in a fresh clone, without mlrepro."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlrepro import manifest
from mlrepro.commands import exportscript
from mlrepro.errors import ManifestError, RestoreError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Status
from mlrepro.stores import ledger, ledgerlocks
from mlrepro.stores.place import strict
from tests.commands.test_rebuild import LIGHTGBM
from tests.commands.test_run import TRAIN


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    return project


def exported(project, ref="last") -> str:
    done = project.mlrepro("export", ref, "--script", check=True)
    return done.stdout


def start(project, text, *, cwd=None, env=None, shell="sh"):
    """Start a script with `-eu`, as a sceptic would, from a place where nothing of mlrepro is."""
    script = project.root.parent / "rebuild.sh"
    script.write_bytes(text.encode())
    target = project.root.parent / "byhand"
    shutil.rmtree(target, ignore_errors=True)
    return project.call(
        shell, "-eu", str(script), str(target), cwd=cwd or project.root, check=False, env=env or {}
    )


def state(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git/" not in str(path) and ".dvc/tmp" not in str(path)
    }


def test_the_script_rebuilds_to_identical_and_changes_nothing_in_the_clone(trained):
    trained.mlrepro("run", "python", "train.py", check=True)
    text = exported(trained)
    before = state(trained.root)

    done = start(trained, text)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert "same       model.pkl" in done.stdout
    assert "same       metrics.json" in done.stdout
    assert state(trained.root) == before
    assert trained.git("status", "--porcelain", "--untracked-files=no") == ""


def test_a_colleague_starts_it_in_a_fresh_clone(trained, tmp_path, monkeypatch):
    """Code from the git remote, DVC's data by `dvc pull`, the run's own object from the remote."""
    trained.call("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    trained.git("remote", "add", "origin", str(tmp_path / "origin"))
    trained.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    trained.git("rm", "-q", "--cached", "data.csv")
    trained.write(".gitignore", "/notes.txt\n")
    trained.dvc("add", "-q", "data.csv")
    trained.write("notes.txt", "7\n")
    trained.write("train.py", "open('notes.txt').read()\n" + TRAIN)
    trained.git("add", "-A")
    trained.git("commit", "-q", "-m", "data")
    trained.mlrepro("run", "python", "train.py", check=True)
    text = exported(trained)
    trained.git("push", "-q", "origin", "main")
    trained.mlrepro("push", "--yes", check=True)
    clone = tmp_path / "clone"
    trained.call("git", "clone", "-q", str(tmp_path / "origin"), str(clone))

    done = start(trained, text, cwd=clone)

    assert "pull data.csv.dvc" in text
    assert "take " in text
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"
    assert (tmp_path / "byhand" / trained.root.name / "notes.txt").read_text() == "7\n"
    assert not (clone / ".dvc" / "config.local").exists()


def test_a_lightgbm_model_is_identical_by_hand(project):
    project.write("train.py", LIGHTGBM)
    project.commit("training")
    project.mlrepro("run", "python", "train.py", "num_leaves=7", check=True)

    done = start(project, exported(project, "model.txt"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "identical"


def test_another_result_is_different_and_exits_1(trained):
    trained.write("train.py", TRAIN + "\nimport os\nopen('model.pkl', 'ab').write(os.urandom(8))\n")
    trained.commit("random")
    trained.mlrepro("run", "python", "train.py", check=True)

    done = start(trained, exported(trained))

    assert done.returncode == 1
    assert "different  model.pkl" in done.stdout
    assert "same       metrics.json" in done.stdout


def test_what_an_earlier_run_left_in_git_does_not_count_as_made(trained):
    trained.mlrepro("run", "python", "train.py", check=True)
    trained.commit("with metrics.json")
    trained.mlrepro("run", "python", "train.py", check=True)
    text = exported(trained).replace("python train.py \\", "true \\")

    done = start(trained, text)

    assert done.returncode == 1
    assert "missing    metrics.json" in done.stdout


def test_an_object_that_is_nowhere_is_named(trained):
    trained.write("extra.csv", "4\n")
    trained.write(".gitignore", "/extra.csv\n")
    trained.write("train.py", "open('extra.csv').read()\n" + TRAIN)
    trained.commit("extra")
    trained.mlrepro("run", "python", "train.py", check=True)
    text = exported(trained)
    shutil.rmtree(trained.root / ".dvc" / "cache")

    done = start(trained, text)

    assert done.returncode == 2
    assert "not to be had: extra.csv" in done.stderr


def hostile(record, word: str):
    """A record whose every text is an attempt to start a program."""
    files = [replace(a, path=f"{a.path}{word}") for a in record.artifacts]
    return manifest.replace(
        record,
        run=replace(
            record.run,
            command=("sh", "-c", 'printf "%s" "$1" >got', "sh", word),
            name=word,
            message=f"x\n{word}",
            author=word,
            directory="",
        ),
        artifacts=tuple(files),
        blind_spots=(f"a\n{word}",),
        variables=replace(
            record.variables,
            restored={"OMP_X": word, "work": "/", "IFS": "x", word: "y", "PATH": "/evil"},
            inherited={word: "0", "PLAIN": "0"},
            unset=(word, "project"),
        ),
        folders=(f"f{word}",),
    )


@pytest.mark.parametrize(
    "word",
    [
        "'; touch PWNED; '",
        "$(touch PWNED)`touch PWNED`",
        "\nEND_OF_LOCK\ntouch PWNED\n#",
        '"; touch PWNED #\\',
        "\x1b[2K\x07 %s \\n $(touch PWNED)",
        " -rf ä \u202e *",
    ],
    ids=["quote", "substitution", "lines", "double", "control", "direction"],
)
def test_no_value_of_a_stranger_gets_out_of_its_quotes(trained, word, monkeypatch):
    trained.mlrepro("run", "python", "train.py", check=True)
    record = ledger.resolve(strict(trained.root).repository, "last").manifest
    evil = hostile(record, word)
    monkeypatch.setattr(exportscript.refs, "resolve", lambda *_a, **_k: _Target(evil))

    text = exportscript.script("last", start=trained.root).text

    assert all(c.isprintable() or c in "\n\t" for c in text)
    for shell in filter(shutil.which, ("sh", "bash")):
        done = start(trained, text, shell=shell)
        assert done.returncode == 1, done.stderr  # nothing was made, so all of it is missing
        made = trained.root.parent / "byhand" / trained.root.name / "got"
        assert made.read_bytes() == word.encode()
        assert not list(trained.root.parent.rglob("PWNED"))


class _Target:
    def __init__(self, record):
        self.manifest = record


def test_a_value_that_no_script_can_hold_is_refused(trained, monkeypatch):
    trained.mlrepro("run", "python", "train.py", check=True)
    record = ledger.resolve(strict(trained.root).repository, "last").manifest
    evil = manifest.replace(record, run=replace(record.run, command=("sh", "a\0b")))
    monkeypatch.setattr(exportscript.refs, "resolve", lambda *_a, **_k: _Target(evil))

    with pytest.raises(ManifestError, match="no script can hold"):
        exportscript.script("last", start=trained.root)


def test_a_run_that_was_interrupted_has_no_script(trained, monkeypatch):
    trained.mlrepro("run", "python", "train.py", check=True)
    record = ledger.resolve(strict(trained.root).repository, "last").manifest
    stopped = replace(record.run, status=Status.INTERRUPTED, signal=15, exit_code=None)
    target = _Target(manifest.replace(record, run=stopped))
    monkeypatch.setattr(exportscript.refs, "resolve", lambda *_a, **_k: target)

    with pytest.raises(RestoreError, match="interrupted"):
        exportscript.script("last", start=trained.root)


def locked(project, *requirements: Requirement) -> None:
    """Keep a lock of the newest run's environment."""
    repo = strict(project.root).repository
    env = ledger.resolve(repo, "last").manifest.environment
    ledgerlocks.put(repo, Lock(env.fingerprint, env.python, env.implementation, requirements))


def test_a_fresh_clone_fetches_the_lock_with_the_ledger(trained, tmp_path, monkeypatch):
    trained.call("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    trained.git("remote", "add", "origin", str(tmp_path / "origin"))
    trained.write("train.py", "# not committed\n" + TRAIN)
    trained.mlrepro("run", "python", "train.py", check=True)
    trained.git("checkout", "train.py")
    private = Requirement("pytest", pytest.__version__, unhashed="not on the index")
    locked(trained, private)
    trained.commit("model")
    trained.git("push", "-q", "origin", "main", "refs/mlrepro/*:refs/mlrepro/*")
    clone = tmp_path / "clone"
    trained.call("git", "clone", "-q", str(tmp_path / "origin"), str(clone))

    text = exportscript.script("model.pkl", start=clone).text

    assert "END_OF_LOCK" in text
    assert f"--no-deps {private.pin} ||" in text
    assert 'rm -f -- "$project"/metrics.json' not in text  # the code had none yet


def without_uv(project, tmp_path) -> dict[str, str]:
    """A PATH with all that the script needs, and no uv."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "git", "python", "cat", "cut", "dirname", "mktemp", "mkdir", "env", "sed",
                 "tr", "md5sum", "tail", "rm", "cp", "chmod", "dvc"):  # fmt: skip
        found = shutil.which(name)
        if found:
            (programs / name).write_text(f'#!/bin/sh\nexec "{found}" "$@"\n')
            (programs / name).chmod(0o755)
    (programs / "sh").unlink()
    (programs / "sh").symlink_to("/bin/sh")
    return {"PATH": str(programs)}


def test_without_uv_it_says_so_and_the_active_environment_serves(trained, tmp_path):
    trained.mlrepro("run", "python", "train.py", check=True)
    locked(trained, Requirement("pytest", pytest.__version__, ("sha256:" + "0" * 64,)))
    text, bare = exported(trained), without_uv(trained, tmp_path)

    refused = start(trained, text, env=bare)
    served = start(trained, text, env={**bare, "REBUILD_ENV": "current"})

    assert refused.returncode == 2
    assert "uv is not installed" in refused.stderr
    assert served.returncode == 0, served.stderr
    assert served.stdout.splitlines()[-1] == "identical"


def test_with_a_lock_it_makes_the_recorded_environment(trained, tmp_path, monkeypatch):
    """An environment of no packages: nothing has to be fetched for it."""
    shutil.which("uv") or pytest.skip("there is no uv on the PATH")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    trained.write("train.py", TRAIN + "\nimport sys\nopen('where.txt', 'w').write(sys.prefix)\n")
    trained.commit("where")
    trained.mlrepro("run", "python", "train.py", check=True)
    trained.write("pkg/pyproject.toml", "")
    locked(trained)

    text = exported(trained)
    done = start(trained, text)

    assert "END_OF_LOCK" in text
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "byhand" / trained.root.name / "where.txt").read_text()
    assert Path(made) == tmp_path / "byhand" / "env"


def test_a_command_of_the_recorded_environment_is_started_in_the_new_one(trained):
    trained.mlrepro("run", sys.executable, "train.py", "0.7", check=True)

    text = exported(trained)
    done = start(trained, text)

    assert '"$bin"/python train.py' in text
    assert done.stdout.splitlines()[-1] == "identical"


def test_export_says_what_it_wants_and_needs_a_run(trained):
    trained.mlrepro("run", "python", "train.py", check=True)

    nothing = trained.mlrepro("export", "last")
    nobody = trained.mlrepro("export", "nobody", "--script")

    assert nothing.returncode == 2
    assert "--script" in nothing.stderr
    assert nobody.returncode == 2


def test_a_folder_of_inputs_is_taken_file_by_file(trained):
    for name in "abc":
        trained.write(f"parts/{name} x.csv", f"{name}\n")
    trained.write(".gitignore", "/parts\n")
    trained.write(
        "train.py",
        "import os\nfor n in sorted(os.listdir('parts')): open('parts/' + n).read()\n" + TRAIN,
    )
    trained.commit("parts")
    trained.mlrepro("run", "python", "train.py", check=True)

    done = start(trained, exported(trained))

    assert done.returncode == 0, done.stderr
    assert json.loads((trained.root / "metrics.json").read_text())
