"""`mlrepro run`, as a user acts."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlrepro import manifest
from mlrepro.manifest import Grade, Kept, Role, Source, Status

TRAIN = """
import json, sys
rate = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
rows = [float(line) for line in open("data.csv")]
with open("model.pkl", "wb") as file:
    file.write(b"weights %r" % (sum(rows) * rate))
with open("metrics.json", "w") as file:
    json.dump({"loss": sum(rows) * rate}, file)
print("loss", sum(rows) * rate)
"""


@pytest.fixture
def training(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    return project


def wait_for(path: Path) -> None:
    for _ in range(400):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def last(project) -> manifest.Manifest:
    shown = json.loads(project.mlrepro("show", "last", "--json", check=True).stdout)
    return manifest.Manifest.from_dict(shown)


def test_run_passes_on_output_and_exit_status(project):
    project.write("fail.py", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    done = project.mlrepro("run", "python", "fail.py")

    assert done.returncode == 3
    assert done.stdout == "out\n"
    assert "err\n" in done.stderr
    assert last(project).run.status is Status.FAILED


def test_run_leaves_weights_pointer_and_manifest_side_by_side(training):
    done = training.mlrepro("run", "-n", "first", "python", "train.py", check=True)

    record = manifest.read(training.root / "model.pkl.mlrepro.yaml")
    assert record.run.name == "first"
    assert record.run.command == ("python", "train.py")
    assert training.dvc("status", "-q").returncode == 0
    assert "git add .gitignore model.pkl.dvc model.pkl.mlrepro.yaml metrics.json" in done.stderr


def test_the_printed_git_add_line_leaves_a_clean_tree(training):
    done = training.mlrepro("run", "python", "train.py", check=True)
    line = next(s for s in done.stderr.splitlines() if "git add" in s).partition("git ")[2]

    training.git(*line.split())
    training.git("commit", "-qm", "model")

    assert training.git("status", "--porcelain") == ""


def test_the_record_names_what_was_read_and_made(training):
    training.mlrepro("run", "python", "train.py", "0.5", check=True)

    record = last(training)
    made = {a.path: (a.role, a.kept) for a in record.artifacts}
    (data,) = record.inputs
    assert made["model.pkl"] == (Role.WEIGHTS, Kept.POINTER)
    assert made["metrics.json"] == (Role.METRICS, Kept.GIT)
    assert made["<stdout>"] == (Role.STDOUT, Kept.LEDGER)
    assert (data.path, data.source, data.grade) == ("data.csv", Source.CODE, Grade.VERIFIED)
    assert record.metrics == {"metrics.json": {"loss": 3.0}}
    assert record.environment.python.startswith(f"{sys.version_info.major}.")
    assert record.run.exit_code == 0


def test_uncommitted_code_is_recorded_as_it_ran(training):
    training.write("train.py", TRAIN.replace("0.1", "0.7"))

    training.mlrepro("run", "python", "train.py", check=True)

    code = last(training).code
    assert code.modified == ("train.py",)
    assert "0.7" in training.git("show", f"{code.tree}:train.py")
    assert training.git("status", "--porcelain", "train.py") == "M train.py"


def test_an_untracked_module_is_recorded_and_a_bystander_is_not(training):
    training.write("helper.py", "value = 1")
    training.write("customers.csv", "Ann,1\n")
    training.write("train.py", "import helper\n" + TRAIN)

    training.mlrepro("run", "python", "train.py", check=True)

    tree = training.git("ls-tree", "-r", "--name-only", last(training).code.tree).split()
    assert "helper.py" in tree
    assert "customers.csv" not in tree


def test_untracked_data_is_an_object_and_never_part_of_the_code(project):
    project.write("train.sh", "python train.py")
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n")

    project.mlrepro("run", "sh", "train.sh", check=True)

    record = last(project)
    tree = project.git("ls-tree", "-r", "--name-only", record.code.tree).split()
    assert {"train.sh", "train.py"} <= set(tree)
    assert "data.csv" not in tree
    assert [(i.path, i.source) for i in record.inputs] == [("data.csv", Source.STORED)]
    assert project.mlrepro("rebuild", "last").returncode == 0


def test_an_input_tracked_by_dvc_is_named_by_its_pointer(training):
    training.git("rm", "-q", "--cached", "data.csv")
    training.dvc("add", "-q", "data.csv")
    training.commit("data by dvc")

    training.mlrepro("run", "python", "train.py", check=True)

    (data,) = last(training).inputs
    assert data.source is Source.DVC
    assert str(data.digest)[4:] in (training.root / "data.csv.dvc").read_text()


def test_reading_an_earlier_model_makes_its_run_a_parent(training):
    training.mlrepro("run", "python", "train.py", check=True)
    parent = last(training).id
    training.write("use.py", "open('scores.csv', 'w').write(str(len(open('model.pkl').read())))")

    training.mlrepro("run", "python", "use.py", check=True)

    assert [(p.run, p.path) for p in last(training).parents] == [(parent, "model.pkl")]


def test_a_file_that_is_read_then_overwritten_keeps_the_digest_of_what_was_read(project):
    project.write("state.txt", "before")
    project.commit()
    project.write("step.py", "s = open('state.txt').read(); open('state.txt', 'w').write(s + '!')")

    project.mlrepro("run", "python", "step.py", check=True)

    (state,) = last(project).inputs
    assert state.grade is Grade.BEFORE_WRITE
    assert state.digest.value == hashlib.md5(b"before").hexdigest()


def test_what_the_run_itself_moves_and_deletes_is_no_edit(project):
    for name in ("gone.txt", "before.txt"):
        project.write(name, "1")
    project.write(
        "train.py",
        "import os\n"
        "open('gone.txt').read(); os.remove('gone.txt')\n"
        "open('before.txt').read(); os.rename('before.txt', 'after.txt')\n",
    )
    project.commit()

    done = project.mlrepro("run", "python", "train.py")

    assert last(project).code.edits == ()
    assert "edited" not in done.stderr


def test_code_edited_while_it_ran_is_named(project):
    project.write("other.py", "x = 1")
    script = (
        "import other, time, os; open('go', 'w')\nwhile not os.path.exists('on'): time.sleep(0.02)"
    )
    project.write("train.py", script)
    project.commit()
    command = [sys.executable, "-m", "mlrepro", "run", "python", "train.py"]
    child = subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True)
    wait_for(project.root / "go")

    time.sleep(0.02)
    project.write("other.py", "x = 2")
    project.write("on", "")
    _out, said = child.communicate()

    code = last(project).code
    assert [(e.path, e.loaded) for e in code.edits] == [("other.py", "before")]
    assert "other.py was edited while the run went on" in said
    assert project.git("show", f"{code.tree}:other.py") == "x = 1"


def test_params_come_from_the_command_line_and_params_yaml(project):
    project.write("params.yaml", "lr: 1e-5\nwhen: 12:30:45\n")
    project.write("train.py", "open('params.yaml').read()")
    project.commit()

    project.mlrepro(
        "run", "python", "train.py", "--depth", "4", "--fast", "model.l2=0.5", check=True
    )

    record = last(project)
    assert record.params["params.yaml"] == {"lr": 1e-5, "when": "12:30:45"}
    assert record.params["command line"] == {"depth": 4, "fast": True, "model.l2": 0.5}


def test_no_keep_writes_the_ledger_only(training):
    training.mlrepro("run", "--no-keep", "python", "train.py", check=True)

    assert not (training.root / "model.pkl.dvc").exists()
    assert not (training.root / "model.pkl.mlrepro.yaml").exists()
    assert last(training).artifact("model.pkl").kept is Kept.LEDGER


def test_weights_in_a_git_ignored_folder_live_in_the_ledger(project):
    project.write(".gitignore", "outputs/\n")
    project.write("train.py", "open('outputs/model.pkl', 'w').write('w')")
    (project.root / "outputs").mkdir()
    project.commit()

    done = project.mlrepro("run", "python", "train.py", check=True)

    assert "outputs/model.pkl is kept in the ledger only" in done.stderr
    assert json.loads(project.mlrepro("show", "outputs/model.pkl", "--json").stdout)["run"]


def test_weights_that_git_tracks_get_a_manifest_and_no_pointer(training):
    training.write("model.pkl", "old")
    training.commit("a model in git")

    training.mlrepro("run", "python", "train.py", check=True)

    assert not (training.root / "model.pkl.dvc").exists()
    assert (training.root / "model.pkl.mlrepro.yaml").exists()


def test_autostage_stages_what_keeps_the_model(training):
    training.dvc("config", "core.autostage", "true")

    done = training.mlrepro("run", "python", "train.py", check=True)

    staged = training.git("diff", "--cached", "--name-only").split()
    assert {"model.pkl.dvc", "model.pkl.mlrepro.yaml"} <= set(staged)
    assert "staged:" in done.stderr


def test_run_works_without_git_and_dvc(tmp_path, home, project):
    plain = tmp_path / "plain folder"
    plain.mkdir()
    (plain / "train.py").write_text(TRAIN)
    (plain / "data.csv").write_text("1\n")

    done = project.mlrepro("run", "python", "train.py", cwd=plain)

    shown = json.loads(project.mlrepro("show", "last", "--json", cwd=plain, check=True).stdout)
    assert done.returncode == 0
    assert shown["code"]["shadow"] is True


def test_run_works_before_the_first_commit(tmp_path, home, project):
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / "train.py").write_text(TRAIN)
    (fresh / "data.csv").write_text("1\n")
    project.git("init", "-q", cwd=fresh)

    done = project.mlrepro("run", "python", "train.py", cwd=fresh)

    shown = json.loads(project.mlrepro("show", "last", "--json", cwd=fresh, check=True).stdout)
    assert done.returncode == 0
    assert shown["code"]["tree"]


def test_run_works_on_a_detached_head_and_with_an_unmerged_index(training):
    training.git("checkout", "-q", "-b", "side")
    training.write("train.py", TRAIN + "# side")
    training.commit("side")
    training.git("checkout", "-q", "-")
    training.write("train.py", TRAIN + "# main")
    training.commit("main")
    training.git("checkout", "-q", "--detach")
    training.git("merge", "-q", "side", check=False)
    training.write("train.py", TRAIN + "# resolved")

    done = training.mlrepro("run", "python", "train.py")

    assert done.returncode == 0
    assert "# resolved" in training.git("show", f"{last(training).code.tree}:train.py")


def test_names_with_spaces_newlines_and_unicode_are_recorded(project):
    names = ["a b.pkl", "zeile\n2.pkl", "größe.pkl"]
    project.write("train.py", f"for n in {names!r}: open(n, 'w').write('w')")
    project.commit()

    done = project.mlrepro("run", "python", "train.py")

    assert done.returncode == 0
    assert {a.path for a in last(project).artifacts} == set(names)


def test_a_symlink_loop_does_not_stop_a_run(project):
    (project.root / "loop").symlink_to(".")
    project.write("train.py", "open('model.pkl', 'w').write('w')")
    project.commit()

    done = project.mlrepro("run", "python", "train.py")

    assert done.returncode == 0
    assert last(project).artifact("model.pkl")


def test_a_command_that_does_not_exist_is_127_and_nothing_is_recorded(project):
    done = project.mlrepro("run", "no-such-command")

    assert done.returncode == 127
    assert json.loads(project.mlrepro("ls", "--json").stdout) == []
    assert project.git("for-each-ref", "refs/mlrepro/running") == ""


def test_killing_mlrepro_leaves_a_run_that_the_next_command_finishes(project):
    script = "import time; open('model.pkl', 'w').write('w'); open('go', 'w'); time.sleep(60)"
    project.write("train.py", script)
    project.commit()
    command = [sys.executable, "-m", "mlrepro", "run", "python", "train.py"]
    child = subprocess.Popen(command, cwd=project.root, start_new_session=True)
    wait_for(project.root / "go")

    os.killpg(child.pid, signal.SIGKILL)
    child.wait()

    (row,) = json.loads(project.mlrepro("ls", "--json", check=True).stdout)
    assert row["status"] == "interrupted"
    assert row["artifacts"] == ["model.pkl"]
    assert project.git("for-each-ref", "refs/mlrepro/running") == ""


def test_a_training_that_outlives_mlrepro_is_left_alone_until_it_ends(project):
    script = "import time; open('go', 'w'); time.sleep(2); open('model.pkl', 'w').write('w')"
    project.write("train.py", script)
    project.commit()
    command = [sys.executable, "-m", "mlrepro", "run", "python", "train.py"]
    child = subprocess.Popen(command, cwd=project.root, stdout=subprocess.DEVNULL)
    wait_for(project.root / "go")
    child.kill()
    child.wait()

    assert json.loads(project.mlrepro("ls", "--json", check=True).stdout) == []

    wait_for(project.root / "model.pkl")
    time.sleep(0.3)
    (row,) = json.loads(project.mlrepro("ls", "--json", check=True).stdout)
    assert row["artifacts"] == ["model.pkl"]


def test_a_killed_training_is_recorded_as_interrupted(project):
    project.write("train.py", "import os; os.kill(os.getpid(), 9)")
    project.commit()

    done = project.mlrepro("run", "python", "train.py")

    assert done.returncode == 137
    assert last(project).run.status is Status.INTERRUPTED


def test_eight_runs_at_once_lose_nothing_and_claim_only_their_own(project):
    project.write(
        "train.py", "import sys; open(f'model-{sys.argv[1]}.pkl', 'w').write(sys.argv[1])"
    )
    project.commit()
    command = [sys.executable, "-m", "mlrepro", "run", "python", "train.py"]
    children = [
        subprocess.Popen([*command, str(n)], cwd=project.root, stderr=subprocess.DEVNULL)
        for n in range(8)
    ]

    assert [child.wait() for child in children] == [0] * 8

    rows = json.loads(project.mlrepro("ls", "--json", check=True).stdout)
    assert sorted(a for row in rows for a in row["artifacts"]) == [
        f"model-{n}.pkl" for n in range(8)
    ]
    assert all(len(row["artifacts"]) == 1 for row in rows)


def test_a_run_inside_a_subfolder_is_recorded_from_the_root(training):
    training.write("sub/train.py", "open('model.pkl', 'w').write('w')")
    training.commit()

    training.mlrepro("run", "python", "train.py", cwd=training.root / "sub", check=True)

    record = last(training)
    assert record.run.directory == "sub"
    assert record.artifact("sub/model.pkl")


def test_dvc_gc_in_every_mode_keeps_every_recorded_run(training):
    training.mlrepro("run", "python", "train.py", "1", check=True)
    first = last(training).artifact("model.pkl").digest
    training.commit("first")
    training.mlrepro("run", "python", "train.py", "2", check=True)
    training.commit("second")

    training.dvc("gc", "-q", "-f", "-w")
    training.dvc("gc", "-q", "-f", "-A")

    found = training.mlrepro("verify", "--json", check=True)
    assert json.loads(found.stdout)[0]["ok"]
    objects = training.root / ".dvc/cache/mlrepro/files/md5"
    assert (objects / first.value[:2] / first.value[2:]).is_file()


def rows(project, **options):
    return json.loads(project.mlrepro("ls", "--json", check=True, **options).stdout)


def start(project, *command: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mlrepro", "run", *command],
        cwd=project.root,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@contextlib.contextmanager
def dvc_is_locked(project):
    """Hold the recording at its last step."""
    path = project.root / ".dvc" / "tmp" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_killing_mlrepro_between_ledger_and_pointer_makes_one_run_and_its_pointer(training):
    with dvc_is_locked(training):
        child = start(training, "python", "train.py")
        assert "waiting for another" in child.stderr.readline()
        child.kill()
        child.communicate()
    half = training.write(f".mlrepro-{child.pid}-half", "half a file")

    (row,) = rows(training)

    assert row["status"] == "completed"
    assert manifest.read(training.root / "model.pkl.mlrepro.yaml").id == row["id"]
    assert training.dvc("status", "-q").returncode == 0
    assert training.git("for-each-ref", "refs/mlrepro/running") == ""
    assert not list((training.root / ".mlrepro" / "running").iterdir())
    assert not half.exists()


def test_the_next_run_finishes_a_killed_one_before_it_writes_over_its_model(project):
    project.write("train.py", "import sys; open('model.pkl', 'w').write(sys.argv[1])")
    project.commit()
    with dvc_is_locked(project):
        child = start(project, "-n", "killed", "python", "train.py", "1")
        assert "waiting for another" in child.stderr.readline()
        child.kill()
        child.communicate()

    project.mlrepro("run", "-n", "next", "python", "train.py", "22", check=True)

    sizes = {
        name: json.loads(project.mlrepro("show", name, "--json").stdout)["artifacts"][0]["size"]
        for name in ("killed", "next")
    }
    assert sizes == {"killed": 1, "next": 2}


def test_a_run_that_was_killed_before_its_state_was_written_leaves_nothing(training):
    folder = training.root / ".mlrepro" / "running" / ("0" * 32)
    folder.mkdir(parents=True)
    training.git("update-ref", f"refs/mlrepro/running/{'0' * 32}", "HEAD")

    assert rows(training) == []

    assert training.git("for-each-ref", "refs/mlrepro/running") == ""
    assert not folder.exists()


def test_a_ledger_that_cannot_be_written_is_tried_again_by_the_next_command(training):
    training.git("config", "mlrepro.writer", "no plain word!")
    done = training.mlrepro("run", "python", "train.py")
    training.git("config", "--unset", "mlrepro.writer")

    (row,) = rows(training)

    assert done.returncode == 0
    assert "the next mlrepro command tries again" in done.stderr
    assert row["status"] == "completed"
    assert (training.root / "model.pkl.mlrepro.yaml").exists()


def test_whatever_fails_before_the_start_the_training_runs(project, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    command = f"rmdir {folder} && {sys.executable} -m mlrepro run sh -c 'echo trained; exit 3'"

    done = project.call("sh", "-c", command, cwd=folder, check=False)

    assert (done.returncode, done.stdout) == (3, "trained\n")
    assert "mlrepro: the run was not recorded: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_repository_that_git_does_not_trust_is_not_in_the_way(training):
    other = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}

    done = training.mlrepro("run", "python", "train.py", env=other)

    assert done.returncode == 0
    assert "git does not trust the repository" in done.stderr


@pytest.mark.parametrize("name", ["index.json", "distributions.json", "stat.sqlite", "spans.jsonl"])
@pytest.mark.parametrize("damage", ["5", "[1, {"])
def test_damaged_caches_cost_only_time(training, name, damage):
    training.write(f".mlrepro/{name}", damage)

    done = training.mlrepro("run", "python", "train.py")

    assert "recorded run" in done.stderr
    assert "could not" not in done.stderr


def test_what_is_no_utf8_is_said_and_the_rest_is_recorded(project):
    project.write("train.py", "for n in (b'bad\\xe8.pkl', b'good.pkl'): open(n, 'w').write('w')")
    project.commit()
    command = [sys.executable, "-m", "mlrepro", "run", "python", "train.py", b"a\xe9"]

    done = subprocess.run(command, cwd=project.root, capture_output=True, check=False)

    record = last(project)
    assert done.returncode == 0
    assert [a.path for a in record.artifacts] == ["good.pkl"]
    assert any("bad\\xe8.pkl" in spot for spot in record.blind_spots)
    assert record.run.command[-1] == "a\\xe9"


def test_a_run_inside_a_run_keeps_its_own_and_becomes_its_parent(training):
    script = "mlrepro run -n inner python train.py && cp model.pkl post.pkl && python post.py"
    training.write("post.py", "open('post.txt', 'w').write(open('model.pkl').read())")
    training.commit()

    training.mlrepro("run", "-n", "outer", "sh", "-c", script, check=True)

    shown = {
        name: json.loads(training.mlrepro("show", name, "--json").stdout)
        for name in ("inner", "outer")
    }
    made = {n: {a["path"] for a in r["artifacts"] if a["path"][0] != "<"} for n, r in shown.items()}
    assert made["inner"] == {"model.pkl", "metrics.json"}
    # Where only Python is watched, nobody knows whose the copy is.
    assert made["outer"] - {"post.pkl"} == {"post.txt"}
    assert shown["outer"]["parents"][0]["run"] == shown["inner"]["id"]


@pytest.mark.parametrize("rule", ["outputs/", "*.pkl*"])
def test_the_lines_that_are_offered_for_gitignore_let_the_pointer_through(project, rule):
    project.write(".gitignore", rule + "\n")
    project.write("outputs/deep/.keep", "")
    project.write("train.py", "open('outputs/deep/m.pkl', 'w').write('w')")
    project.commit()
    done = project.mlrepro("run", "python", "train.py", check=True)
    file, _, lines = done.stderr.partition("end ")[2].partition(" with the lines ")

    path = project.root / file
    path.write_text((path.read_text() if path.exists() else "") + "\n".join(lines.split()) + "\n")
    again = project.mlrepro("run", "python", "train.py", check=True)

    assert "outputs/deep/m.pkl.dvc" in again.stderr
    assert "outputs/deep/m.pkl.dvc" in project.git("ls-files", "-o", "--exclude-standard")


def test_several_weights_get_the_same_manifest_and_a_failed_run_keeps_nothing(project):
    project.write(
        "train.py",
        "import sys\nfor n in 'ab': open(n + '.pkl', 'w').write(n)\nsys.exit(len(sys.argv) - 1)",
    )
    project.commit()

    project.mlrepro("run", "python", "train.py", "fail")
    before = sorted(p.name for p in project.root.glob("*.pkl.*"))
    project.mlrepro("run", "python", "train.py", check=True)

    texts = {(project.root / f"{n}.pkl.mlrepro.yaml").read_text() for n in "ab"}
    assert before == []
    assert len(texts) == 1


def test_a_pointer_that_only_dvc_can_update_is_left_and_the_others_are_made(project):
    project.write("train.py", "for n in 'ab': open(n + '.pkl', 'w').write(n)")
    foreign = "deps:\n- path: x\nouts:\n- md5: " + "0" * 32 + "\n  path: a.pkl\n"
    project.write("a.pkl.dvc", foreign)
    project.commit()

    done = project.mlrepro("run", "python", "train.py", check=True)

    assert "which only DVC can update" in done.stderr
    assert (project.root / "a.pkl.dvc").read_text() == foreign
    assert last(project).artifact("a.pkl").kept is Kept.LEDGER
    assert last(project).artifact("b.pkl").kept is Kept.POINTER


def test_a_model_outside_the_project_is_named(training, tmp_path):
    code = f"open({str(tmp_path / 'far.pkl')!r}, 'w').write('w')"

    done = training.mlrepro("run", "python", "-c", code, check=True)

    assert "lies outside the project" in done.stderr
    assert "far.pkl" in done.stderr


def test_very_many_files_become_one_artifact(project):
    project.write("train.py", "for i in range(600): open(f'out/{i}.txt', 'w').write(str(i))")
    (project.root / "out").mkdir()
    project.commit()

    project.mlrepro("run", "python", "train.py", check=True)

    (folder,) = last(project).artifacts
    assert (folder.path, folder.files, folder.role) == ("out", 600, Role.OTHER)


def test_declared_globs_are_relative_to_the_working_directory(training, tmp_path):
    (tmp_path / "far.csv").write_text("1")
    (training.root / "sub").mkdir()
    command = ["run", "-i", str(tmp_path / "far.csv"), "-o", "*.bin", "-o", "none*"]

    done = training.mlrepro(
        *command, "sh", "-c", "echo x > h.bin", cwd=training.root / "sub", check=True
    )

    record = last(training)
    assert [a.path for a in record.artifacts] == ["sub/h.bin"]
    assert [(i.path, i.source) for i in record.inputs] == [
        (str(tmp_path / "far.csv"), Source.STORED)
    ]
    assert "`--output none*` names no file" in done.stderr


def test_ctrl_c_reaches_the_training_and_is_recorded_as_interrupted(project):
    project.write("train.py", "import time; open('go', 'w'); time.sleep(20)")
    project.commit()
    child = start(project, "python", "train.py", start_new_session=True)
    wait_for(project.root / "go")
    time.sleep(0.1)

    os.killpg(child.pid, signal.SIGINT)
    child.communicate()

    assert child.returncode == 130
    assert last(project).run.status is Status.INTERRUPTED


def test_a_full_disk_loses_neither_the_training_nor_its_record(training):
    script = (
        "mount -t tmpfs -o size=2m tmpfs . && cd $PWD && cp -a ../copy/. . && "
        "mlrepro run python fill.py; echo status $?; rm fill; mlrepro ls --json"
    )
    training.write(
        "fill.py",
        "open('model.pkl', 'wb').write(b'x' * 200_000)\n"
        "f = open('fill', 'wb', buffering=0)\n"
        "try:\n    while True: f.write(b'0' * 1024)\n"
        "except OSError: pass",
    )
    training.commit()
    shutil.copytree(training.root, training.root.parent / "copy", symlinks=True)
    if training.call("unshare", "-rm", "true", check=False).returncode:
        pytest.skip("no namespaces here")

    done = training.call("unshare", "-rm", "sh", "-c", f"cd {training.root} && {script}")

    shown = done.stdout.partition("status 0\n")[2]
    assert "the next mlrepro command tries again" in done.stderr
    assert [(r["status"], r["artifacts"]) for r in json.loads(shown)] == [
        ("completed", ["model.pkl"])
    ]


def test_a_reader_that_went_away_does_not_change_the_exit_status(training):
    script = "mlrepro run python train.py 2>&1 1>/dev/null; echo $? > status"

    training.call("bash", "-c", f"({script}) | true")

    wait_for(training.root / "status")
    time.sleep(0.05)
    assert (training.root / "status").read_text() == "0\n"


def test_a_listed_folder_that_git_cannot_keep_is_recorded_and_one_that_the_run_made_is_not(project):
    project.write("src/a.txt", "x")
    project.write("train.py", "import os\nos.mkdir('made')\n"
        "for name in ('raw', 'raw/deep', 'out', 'made', 'src', '.'): os.listdir(name)\n"
        "open('out/log.txt', 'w').write('x')\n")  # fmt: skip
    project.write(".gitignore", "out/\n")
    project.commit()
    (project.root / "raw/deep").mkdir(parents=True)
    (project.root / "out").mkdir()

    project.mlrepro("run", "python", "train.py", check=True)

    assert last(project).folders == ("out", "raw", "raw/deep")


def test_a_folder_of_a_manifest_that_leaves_the_room_is_refused(training):
    training.mlrepro("run", "python", "train.py", check=True)
    data = {**last(training).to_dict(), "folders": ["../../etc"]}

    with pytest.raises(manifest.ManifestError):
        manifest.Manifest.from_dict(data)


def test_the_printed_git_add_line_works_in_a_folder_with_a_space(project):
    project.write("my work/train.py", TRAIN)
    project.write("my work/data.csv", "1\n")
    project.commit()
    here = project.root / "my work"
    done = project.mlrepro("run", "python", "train.py", cwd=here, check=True)
    line = next(s for s in done.stderr.splitlines() if "git add" in s).partition("model: ")[2]

    project.call("sh", "-c", line, cwd=here)

    project.git("commit", "-qm", "model")
    assert project.git("status", "--porcelain") == ""


def start_waiting(project, *words: str) -> subprocess.Popen:
    """Start a run whose script waits for the file `go` after it made `waits`."""
    command = [sys.executable, "-m", "mlrepro", "run", *words]
    running = subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True)
    wait_for(project.root / "waits")
    return running


WAIT = """
import os, time
open("waits", "w").close()
while not os.path.exists("go"): time.sleep(0.02)
"""


def test_what_a_person_saves_while_the_run_goes_on_is_not_its_output(training):
    training.write("train.py", TRAIN + WAIT)
    training.write("other.py", "x = 1\n")
    training.write("metrics_old.json", "{}")
    training.write("metrics.json", "{}")
    training.write(".gitignore", "waits\ngo\n")
    training.commit()

    running = start_waiting(training, "python", "train.py")
    training.write("other.py", "x = 2\n")
    training.write("metrics_old.json", '{"loss": 9}')
    training.write("go", "")
    said = running.communicate(timeout=60)[1]

    record = last(training)
    assert {"other.py", "metrics_old.json"}.isdisjoint(a.path for a in record.artifacts)
    assert {"metrics.json", "model.pkl"} <= {a.path for a in record.artifacts}
    assert "metrics_old.json" in said
    assert [(e.path, e.loaded) for e in record.code.edits if e.path == "other.py"] == [
        ("other.py", "never")
    ]


def test_what_a_shell_writes_over_a_tracked_file_is_its_output(project):
    project.write("metrics.json", "{}")
    project.commit()

    project.mlrepro("run", "sh", "-c", "awk 'BEGIN{print 1}' > metrics.json; awk 1 metrics.json > new.csv",
                    check=True)  # fmt: skip

    assert {"metrics.json", "new.csv"} <= {a.path for a in last(project).artifacts}


def test_a_declared_output_is_one_whoever_wrote_it(training):
    training.write("train.py", TRAIN + WAIT)
    training.write("notes.txt", "a")
    training.write(".gitignore", "waits\ngo\n")
    training.commit()

    running = start_waiting(training, "--output", "notes.txt", "python", "train.py")
    training.write("notes.txt", "b")
    training.write("go", "")
    running.communicate(timeout=60)

    assert "notes.txt" in [a.path for a in last(training).artifacts]


def test_settings_edited_after_they_were_read_are_said_to_have_been_read_before(training):
    training.write("params.yaml", "rate: 1\n")
    training.write("train.py", "open('params.yaml').read()\n" + TRAIN + WAIT)
    training.write("other.txt", "a")
    training.write(".gitignore", "waits\ngo\n")
    training.commit()

    running = start_waiting(training, "python", "train.py")
    training.write("params.yaml", "rate: 2\n")
    training.write("other.txt", "b")
    training.write("go", "")
    said = running.communicate(timeout=60)[1]

    loaded = {e.path: e.loaded for e in last(training).code.edits}
    assert loaded == {"params.yaml": "before", "other.txt": "never"}
    assert "params.yaml was edited while the run went on; the run had read it before" in said
    assert "other.txt was edited while the run went on; the run was not seen to read it" in said


def test_bytes_that_the_code_does_not_hold_are_stored(training):
    training.write("train.py", WAIT + TRAIN)
    training.write(".gitignore", "waits\ngo\n")
    training.commit()

    running = start_waiting(training, "python", "train.py")
    training.write("data.csv", "4\n5\n")
    time.sleep(0.02)  # what is read within a tick of its change gets no digest
    training.write("go", "")
    running.communicate(timeout=60)

    (one,) = last(training).inputs
    assert (one.path, one.source) == ("data.csv", Source.STORED)
    assert one.digest.value == hashlib.md5(b"4\n5\n").hexdigest()


@pytest.mark.parametrize("name", ["data.csv", "müll [1].csv"])
def test_line_ends_that_a_checkout_would_change_are_stored(training, name):
    training.write(".gitattributes", "*.csv text eol=lf\n")
    training.write("train.py", TRAIN.replace("data.csv", name))
    training.write(name, "1\r\n2\r\n")
    training.commit()

    training.mlrepro("run", "python", "train.py", check=True)

    (one,) = last(training).inputs
    assert (one.path, one.source) == (name, Source.STORED)


def test_line_ends_that_a_checkout_makes_come_with_the_code(training):
    training.write(".gitattributes", "*.csv text eol=crlf\n")
    training.write("data.csv", "1\r\n2\r\n")
    training.commit()

    training.mlrepro("run", "python", "train.py", check=True)

    assert [i.source for i in last(training).inputs] == [Source.CODE]


def test_of_a_file_with_a_secrets_name_nothing_is_kept(training, tmp_path):
    training.write(".gitignore", ".env\n")
    training.write(".env", "TOKEN=hunter2")
    training.write("train.py", "open('.env').read()\n" + TRAIN)
    training.commit()

    done = training.mlrepro("run", "python", "train.py", check=True)

    (secret,) = [i for i in last(training).inputs if i.path == ".env"]
    assert (secret.source, secret.digest, secret.size) == (Source.ELSEWHERE, None, None)
    assert ".env has the name of a secret" in done.stderr
    value = hashlib.md5(b"TOKEN=hunter2").hexdigest()
    assert not list((training.root / ".dvc/cache").rglob(value[2:]))


def test_a_module_that_git_ignores_is_an_input_and_at_hand_for_a_rebuild(training):
    training.write(".gitignore", "generated.py\n")
    training.write("generated.py", "rate = 3\n")
    training.write("train.py", "import generated\n" + TRAIN)
    training.commit()

    training.mlrepro("run", "python", "train.py", check=True)

    stored = [i.path for i in last(training).inputs if i.source is Source.STORED]
    assert stored == ["generated.py"]
    (training.root / "generated.py").unlink()
    assert training.mlrepro("rebuild", "last").returncode == 0


def test_secrets_of_the_command_line_and_of_settings_are_masked_and_warned_of(training):
    training.write("params.yaml", "api_key: hunter2\nmodel: {password: hunter3, depth: 4}\n")
    training.commit()

    done = training.mlrepro("run", "python", "train.py", "0.1", "--token", "hunter1", check=True)

    record = last(training)
    assert record.params["command line"]["token"] == "***"
    assert record.params["params.yaml"] == {
        "api_key": "***",
        "model": {"password": "***", "depth": 4},
    }
    assert "the value of token, is in the manifest" in done.stderr


def test_untracked_files_that_were_left_out_are_said(training):
    training.write("gcp_credentials.json", "{}")

    done = training.mlrepro("run", "python", "train.py", check=True)

    assert "not recorded: gcp_credentials.json (its name says that it is secret)" in done.stderr


def test_a_copy_that_an_unwatched_program_made_is_no_input(project):
    script = (
        "import json, subprocess\n"
        "subprocess.run(['cp', 'raw.csv', 'copy.csv'], check=True)\n"
        "json.dump({'sum': sum(map(float, open('copy.csv')))}, open('metrics.json', 'w'))\n"
    )
    project.write("train.py", script)
    project.write(".gitignore", "raw.csv\ncopy.csv\n")
    project.commit()
    raw = project.write("raw.csv", "1\n2\n")
    project.mlrepro("run", "python", "train.py", check=True)
    raw.rename(project.root.parent / "gone.csv")
    (project.root / "copy.csv").unlink()

    project.mlrepro("rebuild", "last", check=True)

    # `cp` was not watched by Python's hook: what it was told to read is taken for an input.
    assert [i.path for i in last(project).inputs] == ["raw.csv"]
