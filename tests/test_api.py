"""The public interface, as a notebook uses it."""

import subprocess
import sys

import mlrepro


def test_every_public_name_is_there():
    for name in mlrepro.__all__:
        assert getattr(mlrepro, name)


def test_a_run_and_its_rebuild_from_python(project):
    project.write("train.py", "open('model.pkl', 'w').write('weights')")
    project.commit()

    result = mlrepro.run([sys.executable, "train.py"])
    report = mlrepro.rebuild("model.pkl")

    assert result.exit_code == 0
    assert report.verdict is mlrepro.Verdict.IDENTICAL


def test_importing_mlrepro_imports_nothing_else():
    code = "import sys, mlrepro; print([m for m in sys.modules if m.startswith('mlrepro.')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
