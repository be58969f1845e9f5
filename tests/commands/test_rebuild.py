"""`mlrepro rebuild`, as a user acts: verdicts, exit codes, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mlrepro.cleanroom import mounts
from mlrepro.commands import refs
from mlrepro.commands.rebuild import exit_code, rebuild_all
from mlrepro.commands.rebuild import rebuild as rebuilt
from mlrepro.drift import DriftReport
from mlrepro.errors import InconclusiveError, RefNotFoundError, StoreError
from tests.commands.test_run import TRAIN

LIGHTGBM = """
import sys; sys.modules.update(sklearn=None, pandas=None)  # 4 s of an import that needs neither
import json, lightgbm, numpy
rng = numpy.random.default_rng(0)
x = rng.normal(size=(400, 5)); y = x[:, 0] + rng.normal(size=400) * 0.1
params = dict(arg.split("=") for arg in sys.argv[1:])
base = {"verbosity": -1, "num_threads": 1, "deterministic": True, "bagging_fraction": 0.7, "bagging_freq": 1}
booster = lightgbm.train({**base, **params}, lightgbm.Dataset(x, y), 5)
booster.save_model("model.txt")
"""


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    project.commit("model")
    return project


@pytest.fixture
def boosted(project):
    project.write("train.py", LIGHTGBM)
    project.commit("training")
    return project


def rebuild(project, *arguments, **options):
    """Rebuild with `--json`; return the exit code and the report."""
    done = project.mlrepro("rebuild", "--json", *arguments, **options)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def verdicts(report) -> dict:
    return {a["path"]: a["difference"]["verdict"] for a in report["artifacts"]}


def test_rebuild_of_an_unchanged_project_is_identical(trained):
    code, report = rebuild(trained, "last")

    assert code == 0
    assert report["verdict"] == "identical"
    assert verdicts(report)["model.pkl"] == "identical"
    assert verdicts(report)["metrics.json"] == "identical"


def test_rebuild_by_path_judges_that_artifact_alone(trained):
    code, report = rebuild(trained, "model.pkl")

    assert code == 0
    assert list(verdicts(report)) == ["model.pkl"]


def test_rebuild_changes_nothing_in_the_users_repository(trained):
    def state():
        inner = (".git/", ".mlrepro/", ".dvc/tmp/", ".dvc/cache/")
        files = sorted(
            (str(p), p.stat().st_mtime_ns, p.read_bytes())
            for p in trained.root.rglob("*")
            if p.is_file() and not any(part in str(p) for part in inner)
        )
        git = [trained.git(*a) for a in (["status", "--porcelain"], ["branch", "-a"],
               ["worktree", "list"], ["stash", "list"], ["rev-parse", "HEAD"])]  # fmt: skip
        return files, git

    before = state()

    rebuild(trained, "last")

    assert state() == before
    assert list((trained.root.parent / "home/.cache/mlrepro/rooms").iterdir()) == []


def test_rebuild_uses_the_recorded_code_and_data_not_the_present_ones(trained):
    trained.write("train.py", "raise SystemExit('not this one')")
    trained.write("data.csv", "100\n")

    code, report = rebuild(trained, "last")

    assert code == 0
    assert report["verdict"] == "identical"


def test_rebuild_restores_uncommitted_code_and_untracked_data(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n")
    project.mlrepro("run", "python", "train.py", check=True)
    (project.root / "data.csv").unlink()
    (project.root / "train.py").unlink()

    code, report = rebuild(project, "last")

    assert code == 0
    assert report["verdict"] == "identical"


def test_rebuild_restores_data_tracked_by_dvc(trained):
    trained.git("rm", "-q", "--cached", "data.csv")
    trained.dvc("add", "-q", "data.csv")
    trained.commit("data by dvc")
    trained.mlrepro("run", "python", "train.py", check=True)
    (trained.root / "data.csv").unlink()

    code, _report = rebuild(trained, "last")

    assert code == 0


def test_a_drifted_metric_is_exit_1_and_says_by_how_much(project):
    project.write(
        "train.py", "import os, json; json.dump({'loss': os.getpid()}, open('metrics.json', 'w'))"
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 1
    assert "verdict: drifted" in done.stdout
    assert "loss" in done.stdout


def test_train_seconds_in_metrics_are_set_aside(project):
    script = "import time, json; json.dump({'auc': 0.9, 'train_seconds': time.time()}, open('metrics.json', 'w'))"
    project.write("train.py", script)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 0
    assert "train_seconds" in done.stdout
    assert "verdict: equivalent" in done.stdout


def test_a_dated_output_folder_is_paired_with_its_counterpart(project):
    project.write(
        "train.py",
        """
import datetime, os, json
folder = datetime.datetime.now().strftime("outputs/%Y-%m-%d_%H-%M-%S-%f")
os.makedirs(folder)
json.dump({"auc": 0.9}, open(folder + "/metrics.json", "w"))
open(folder + "/model.pkl", "w").write("weights")
""",
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    code, report = rebuild(project, "last")

    assert code == 0
    assert report["verdict"] == "identical"
    assert all(a["rebuilt_path"] for a in report["artifacts"])


def test_a_script_with_the_absolute_path_of_its_own_repository_reads_the_room(project):
    data = project.write("data.csv", "1\n")
    project.write(
        "train.py",
        f"x = open({str(data)!r}).read(); open({str(project.root)!r} + '/model.pkl', 'w').write(x)",
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    data.write_text("2\n")
    (project.root / "model.pkl").write_text("untouched")

    code, report = rebuild(project, "last")

    assert (code, report["verdict"]) == (0, "identical")
    assert (project.root / "model.pkl").read_text() == "untouched"


def test_a_script_that_finds_its_data_beside_itself_needs_no_binding(project):
    project.write("data.csv", "1\n")
    project.write(
        "src/train.py",
        "from pathlib import Path; r = Path(__file__).resolve().parent.parent; (r / 'model.pkl').write_text((r / 'data.csv').read_text())",
    )
    project.commit()
    project.mlrepro("run", "python", "src/train.py", check=True)

    code, report = rebuild(project, "last")

    assert (code, report["verdict"]) == (0, "identical")


def test_a_run_that_only_printed_is_compared_by_what_it_printed(project):
    project.write(
        "train.py", "import time; print('auc 0.91'); print(f'took {time.time():.3f} seconds')"
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 0
    assert "<stdout>" in done.stdout


def test_nothing_to_compare_is_125(project):
    project.write("train.py", "pass")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 125
    assert "nothing that could be compared" in done.stderr


def test_a_training_that_fails_in_the_room_is_125_and_says_why(project):
    project.write(
        "train.py", "import os; open('m.pkl', 'w').write('w') if os.environ['HOST_ONLY'] else 0"
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", env={"HOST_ONLY": "/some/path"}, check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 125
    assert "KeyError: 'HOST_ONLY'" in done.stderr


IN_THE_ROOM_ONLY_METRICS = """
import json, os
if "/rooms/" not in os.getcwd():
    open("model.pkl", "w").write("weights")
json.dump({"auc": 1}, open("metrics.json", "w"))
"""


def test_an_artifact_that_the_rebuild_does_not_make_is_missing(project):
    project.write("train.py", IN_THE_ROOM_ONLY_METRICS)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    code, report = rebuild(project, "last")

    assert code == 1
    assert verdicts(report)["model.pkl"] == "missing"


def test_an_old_artifact_in_git_does_not_stand_in_for_one_that_was_not_made(project):
    project.write("model.pkl", "weights")
    project.write("train.py", IN_THE_ROOM_ONLY_METRICS)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    code, report = rebuild(project, "last")

    assert code == 1
    assert verdicts(report)["model.pkl"] == "missing"


def test_a_lightgbm_model_repeats_itself(boosted):
    boosted.mlrepro("run", "python", "train.py", "seed=1", check=True)

    code, report = rebuild(boosted, "model.txt")

    assert (code, report["verdict"]) == (0, "identical")


def test_two_thread_counts_are_equivalent_and_the_parameter_is_named(boosted):
    boosted.mlrepro("run", "-n", "one", "python", "train.py", "num_threads=1", check=True)
    boosted.mlrepro("run", "-n", "two", "python", "train.py", "num_threads=2", check=True)

    done = boosted.mlrepro("diff", "one", "two", "--json")

    report = json.loads(done.stdout)
    (model,) = [a for a in report["artifacts"] if a["path"] == "model.txt"]
    assert model["difference"]["verdict"] == "equivalent"
    assert any("num_threads" in line for line in model["difference"]["metadata"])


def test_two_seeds_are_drifted(boosted):
    boosted.mlrepro("run", "-n", "one", "python", "train.py", "seed=1", check=True)
    boosted.mlrepro("run", "-n", "two", "python", "train.py", "seed=2", check=True)

    done = boosted.mlrepro("diff", "one", "two")

    assert done.returncode == 1
    assert "model.txt" in done.stdout
    assert "drifted" in done.stdout


def test_code_head_takes_the_code_of_head(trained):
    trained.write("train.py", TRAIN.replace("0.1", "0.9"))
    trained.commit("another rate")

    code, report = rebuild(trained, "--code", "head", "base")

    assert code == 1
    assert [c["what"] for c in report["code"]] == ["train.py"]


def test_git_bisect_finds_the_commit_that_moved_the_numbers(trained):
    for n in range(3):
        trained.write("train.py", TRAIN + f"# {n}\n")
        trained.commit(f"harmless {n}")
    trained.write("train.py", TRAIN.replace("0.1", "0.2"))
    culprit = trained.commit("planted")
    for n in range(2):
        trained.write("train.py", TRAIN.replace("0.1", "0.2") + f"# {n}\n")
        trained.commit(f"later {n}")
    trained.git("bisect", "start", "HEAD", "HEAD~6")

    done = trained.call(
        "git", "bisect", "run", "python", "-m", "mlrepro", "rebuild", "--code", "head", "base",
    )  # fmt: skip

    assert f"{culprit} is the first bad commit" in done.stdout


def test_keep_room_leaves_the_room_and_says_where(trained):
    code, report = rebuild(trained, "--keep-room", "last")

    assert code == 0
    assert os.path.isdir(report["room"])
    shutil.rmtree(report["room"])


def test_an_input_that_nobody_has_is_named_before_the_training(trained):
    shutil.rmtree(trained.root / ".dvc/cache")
    trained.git("rm", "-q", "--cached", "data.csv")
    trained.write(".gitignore", "/data.csv\n")
    trained.commit("data is ignored")
    trained.mlrepro("run", "python", "train.py", check=True)
    shutil.rmtree(trained.root / ".dvc/cache")

    done = trained.mlrepro("rebuild", "last")

    assert done.returncode == 125
    assert "data.csv" in done.stderr


def test_a_foreign_run_is_not_run_without_a_yes(trained, tmp_path):
    clone = tmp_path / "clone"
    trained.git("clone", "-q", str(trained.root), str(clone))

    done = trained.mlrepro("rebuild", "model.pkl", cwd=clone)

    assert done.returncode == 125
    assert "python train.py" in done.stderr
    assert "--yes" in done.stderr


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "model.pkl.mlrepro.yaml"),
        (lambda text: "!!python/object:os.system {}", "not readable as YAML"),
        (lambda text: text.replace("path: model.pkl", "path: ../model.pkl"), "leaves the project"),
        (lambda text: text.replace("path: model.pkl", "path: /etc/passwd"), "leaves the project"),
        (lambda text: text.replace("schema: 1", "schema: 99", 1), "schema 99"),
        (lambda text: "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\n", "aliases"),
        (
            lambda text: text.replace("status: completed", "status: failed"),
            "does not match its run id",
        ),
    ],
)
def test_a_damaged_or_hostile_manifest_is_one_sentence(trained, damage, words):
    path = trained.root / "model.pkl.mlrepro.yaml"
    path.write_text(damage(path.read_text()))

    done = trained.mlrepro("rebuild", "model.pkl")

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_the_manifest_of_another_file_is_refused(trained):
    shutil.copy(trained.root / "model.pkl.mlrepro.yaml", trained.root / "other.pkl.mlrepro.yaml")

    done = trained.mlrepro("rebuild", "other.pkl")

    assert done.returncode == 2
    assert "manifest of another file" in done.stderr


def test_an_unknown_ref_is_one_sentence(trained):
    done = trained.mlrepro("rebuild", "nothing-like-that")

    assert done.returncode == 2
    assert "nothing-like-that" in done.stderr


def test_a_bare_repository_is_one_sentence(trained, tmp_path):
    bare = tmp_path / "bare.git"
    trained.git("clone", "-q", "--bare", str(trained.root), str(bare))

    done = trained.mlrepro("rebuild", "last", cwd=bare)

    assert done.returncode == 2
    assert "bare" in done.stderr


def test_inputs_outside_the_project_appear_at_their_places(project, tmp_path):
    folder = tmp_path / "elsewhere/deep"
    folder.mkdir(parents=True)
    (folder / "data.csv").write_text("1\n")
    project.write("train.py", f"open('model.pkl', 'w').write(open('{folder}/data.csv').read())")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    shutil.rmtree(tmp_path / "elsewhere")

    code, report = rebuild(project, "last")

    assert (code, report["verdict"]) == (0, "identical")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_authors_home_is_found_in_a_colleagues(project, home, tmp_path):
    (home / "data.csv").write_text("1\n")
    project.write(
        "train.py",
        "import os; open('model.pkl', 'w').write(open(os.path.expanduser('~/data.csv')).read())",
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    (home / "data.csv").unlink()
    other = tmp_path / "bob"
    other.mkdir()

    code, report = rebuild(project, "last", env={"HOME": str(other)})

    assert (code, report["verdict"]) == (0, "identical")
    assert list(other.glob("*.csv")) == []


def test_a_script_that_makes_its_folder_itself_is_rebuilt(project):
    project.write(
        "train.py", "import os; os.mkdir('out'); open('out/model.pkl', 'w').write('weights')"
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    code, report = rebuild(project, "last")

    assert (code, report["verdict"]) == (0, "identical")


def test_recorded_environments_that_are_gone_are_mapped_to_the_active_one(project, tmp_path):
    for folder in (tmp_path / "env", project.root / ".venv"):
        project.call(sys.executable, "-m", "venv", "--without-pip", str(folder))
    project.write("train.py", "open('model.pkl', 'w').write('weights')")
    project.write("train.sh", f"{tmp_path}/env/bin/python train.py\n")
    project.write("Makefile", "train:\n\t.venv/bin/python train.py\n")
    project.write(".gitignore", ".venv\n")
    project.commit()
    commands = (
        ["sh", "train.sh"],
        ["make", "-s", "train"],
        [f"{tmp_path}/env/bin/python", "train.py"],
    )
    for number, command in enumerate(commands):
        project.mlrepro("run", "-n", f"run{number}", *command, check=True)
    shutil.rmtree(tmp_path / "env")
    shutil.rmtree(project.root / ".venv")

    results = [rebuild(project, f"run{number}") for number in range(len(commands))]

    assert [code for code, _ in results] == [0, 0, 0]
    assert not any("not the recorded environment" in str(report["notes"]) for _, report in results)


def test_what_cannot_be_compared_hides_neither_the_others_nor_a_drift(project):
    project.write(
        "train.py",
        "import os, json; json.dump({'pid': os.getpid()}, open('metrics.json', 'w'));"
        "open('model.pkl', 'w').write(os.environ['W'])",
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", env={"W": "a"}, check=True)
    (project.root / "metrics.json").write_text("{}")
    shown = json.loads(project.mlrepro("show", "last", "--json").stdout)
    (value,) = [a["digest"][4:] for a in shown["artifacts"] if a["path"] == "metrics.json"]
    for place in ("files", "mlrepro/files"):
        object_ = project.root / f".dvc/cache/{place}/md5/{value[:2]}/{value[2:]}"
        object_.unlink(missing_ok=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 125
    assert "metrics.json was rebuilt with other bytes" in done.stderr
    assert "model.pkl identical" in done.stderr


@pytest.mark.parametrize(
    ("kill", "number"),
    [(os.killpg, signal.SIGINT), (os.killpg, signal.SIGTERM), (os.kill, signal.SIGTERM)],
)
def test_a_rebuild_that_is_stopped_leaves_no_room(project, home, kill, number):
    project.write("train.py", "import time; open('model.pkl', 'w').write('w'); time.sleep(1.5)")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlrepro", "rebuild", "last"], stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert "training" in process.stderr.readline()
    time.sleep(0.5)

    kill(process.pid, number)
    _, said = process.communicate()

    assert process.returncode != 0
    assert "Traceback (most recent call last)" not in said.split("mlrepro:")[0]
    assert list((home / ".cache/mlrepro/rooms").iterdir()) == []


def test_several_refs_are_one_exit_code():
    moved = DriftReport("0" * 64, "", ())
    untold = InconclusiveError("why")

    assert exit_code([moved, untold]) == 1
    assert exit_code([untold]) == 125
    assert exit_code([]) == 0


def test_an_unknown_ref_is_found_before_anything_is_trained(trained):
    said = []

    with pytest.raises(RefNotFoundError, match="nothing-like-that"):
        list(rebuild_all(["last", "nothing-like-that"], notify=said.append))

    assert not any("training" in sentence for sentence in said)


@pytest.mark.parametrize("name", ["done.flag", "metrics.json"])
def test_an_empty_file_is_nothing_to_compare(project, name):
    project.write("train.py", f"open({name!r}, 'w')")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("rebuild", "last")

    assert done.returncode == 125
    assert "nothing that could be compared" in done.stderr


@pytest.mark.parametrize(
    "error", [StoreError("the ledger is damaged"), OSError(28, "No space left on device")]
)
def test_trouble_of_a_store_is_never_taken_for_a_drift(trained, monkeypatch, error):
    def fails(*_arguments, **_options):
        raise error

    monkeypatch.chdir(trained.root)
    monkeypatch.setattr(refs, "resolve", fails)

    with pytest.raises(InconclusiveError, match=r"damaged|No space left") as caught:
        rebuilt("last")

    assert caught.value.exit_code == 125


def test_a_manifest_in_git_names_no_folder_that_a_training_would_follow(trained, monkeypatch):
    monkeypatch.chdir(trained.root)
    monkeypatch.setattr(mounts, "available", lambda: False)

    report = rebuilt("model.pkl")

    assert str(report.verdict) == "identical"


def test_an_input_that_head_has_otherwise_is_reported(trained):
    trained.write("data.csv", "5\n")
    trained.write("train.py", TRAIN + "# another")
    trained.commit("other data")

    _code, report = rebuild(trained, "--code", "head", "base")

    assert [change["what"] for change in report["inputs"]] == ["data.csv"]


@pytest.mark.skipif(not mounts.available(), reason="no namespaces on this machine")
def test_a_file_in_ones_own_home_is_shown_and_not_lent(project, home, tmp_path):
    (home / "data.bin").write_text("right")
    project.write("train.py", f"open('m.pkl', 'w').write(open('{home}/data.bin').read())")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    project.write("train.py", f"open('{home}/data.bin', 'r+b').write(b'wrong')")
    project.commit("a training that spoils its input")
    bob = tmp_path / "bob"
    bob.mkdir()
    (home / "data.bin").rename(bob / "data.bin")

    done = project.mlrepro("rebuild", "--code", "head", "last", env={"HOME": str(bob)})

    assert done.returncode == 125
    assert "Read-only file system" in done.stderr
    assert (bob / "data.bin").read_text() == "right"


def test_a_room_that_is_kept_is_named_where_the_training_failed(project):
    project.write("train.py", "import os; assert '/rooms/' not in os.environ['TMPDIR_SEEN']")
    project.commit()
    project.mlrepro("run", "python", "train.py", env={"TMPDIR_SEEN": "/tmp/x"}, check=True)

    done = project.mlrepro("rebuild", "--keep-room", "last")

    assert done.returncode == 125
    room = done.stderr.rpartition("The clean room is kept: ")[2].strip()
    assert os.path.isdir(room)
    shutil.rmtree(room)


def test_a_secret_is_this_machines_own_and_never_recorded(project):
    project.write("train.py", "open('model.pkl', 'w').write(str(len(open('.env').read())))")
    project.write(".gitignore", ".env\n")
    project.commit()
    secret = project.write(".env", "TOKEN=one")
    project.mlrepro("run", "python", "train.py", check=True)
    secret.write_text("TOKEN=two")

    code, report = rebuild(project, "last")

    assert (code, report["verdict"]) == (0, "identical")
    found = project.call("grep", "-r", "TOKEN=one", ".mlrepro", ".dvc", check=False)
    assert found.stdout == ""
