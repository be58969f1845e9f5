"""Demo: two models recorded by an author, rebuilt by a colleague who has only the two remotes.

Everything happens in `.demo/`, with real git, real DVC and two different HOMEs. Before the
colleague begins, the author's folder and caches are moved away.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = HERE.parent / ".demo"


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def call(person: str, folder: Path, line: str, *, expect: int = 0) -> None:
    """Show a command and run it as a person would, in her HOME, with the demo's environment."""
    home = PLACE / "home" / person
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = {person}\n\temail = {person}@example.org\n"
        "[init]\n\tdefaultBranch = main\n"
    )
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "XDG_", "DVC_"))},
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / ".dvc-site"),
    }
    print(f"{person}$ {line}", flush=True)
    done = subprocess.run(
        shlex.split(line), cwd=folder, env=variables, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != expect:
        sys.exit(f"demo: `{line}` exited {done.returncode} instead of {expect}")


def main() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    project = PLACE / "ann" / "models"
    project.mkdir(parents=True)
    for name, example in (
        ("lightgbm", "lightgbm-early-stopping"),
        ("xgboost", "xgboost-regression"),
    ):
        shutil.copytree(HERE / example, project / name)

    say("1. Ann makes a repository with two training scripts; her data is tracked by DVC.")
    call("ann", project, "git init -q")
    call("ann", project, "mlrepro init")
    call("ann", project, "dvc add -q lightgbm/breast_cancer.csv xgboost/diabetes.csv")
    call("ann", project, "git add -A")
    call("ann", project, "git commit -q -m 'Two training scripts'")

    say("2. She puts `mlrepro run` in front of her training commands. Nothing else changes.")
    call("ann", project, "mlrepro run -n lightgbm python lightgbm/train.py")
    call("ann", project / "xgboost", "mlrepro run -n xgboost python train.py --depth 3")
    call("ann", project, "git add -A")
    call("ann", project, "git commit -q -m 'Two models'")

    say("3. She pushes: git as ever, and `mlrepro push` for the records, code and objects.")
    call("ann", PLACE, "git init -q --bare remote.git")
    call("ann", project, f"dvc remote add -q -d storage {PLACE / 'storage'}")
    call("ann", project, f"git remote add origin {PLACE / 'remote.git'}")
    call("ann", project, "git commit -q -am 'Name the DVC remote'")
    call("ann", project, "git push -q -u origin main")
    call("ann", project, "mlrepro push --yes")

    say("4. Ann leaves: her folder and her caches are gone.")
    (PLACE / "gone").mkdir()
    (PLACE / "ann").rename(PLACE / "gone" / "ann")
    (PLACE / "home").rename(PLACE / "gone" / "home")

    say("5. Bob clones the repository and makes both models again.")
    bob = PLACE / "bob"
    bob.mkdir()
    call("bob", bob, f"git clone -q {PLACE / 'remote.git'} models")
    call("bob", bob / "models", "mlrepro rebuild --yes lightgbm/model.txt")
    call("bob", bob / "models", "mlrepro rebuild --yes xgboost/model.ubj")

    say("6. He trains once more with another seed, and looks at what drift is.")
    call("bob", bob / "models", "dvc pull -q lightgbm/breast_cancer.csv")
    call("bob", bob / "models", "mlrepro run -n other-seed python lightgbm/train.py --seed 8")
    call("bob", bob / "models", "mlrepro pull")
    call("bob", bob / "models", "mlrepro diff lightgbm other-seed", expect=1)


if __name__ == "__main__":
    main()
