"""Processes: workers, children and shells that do the reading."""

from __future__ import annotations

from tests.coverage.case import Case

_READ = "open('data.txt').read()"


def _multiprocessing(method: str) -> Case:
    return Case(
        f"multiprocessing {method}",
        f"""
        import multiprocessing
        def read(name):
            return len(open(name).read())
        if __name__ == "__main__":
            worker = multiprocessing.get_context("{method}").Process(target=read, args=("data.txt",))
            worker.start()
            worker.join()
            assert worker.exitcode == 0
        """,
        reads=("data.txt",),
    )


def _isolated(option: str) -> Case:
    return Case(
        f"a child as `python {option}`",
        f"""
        import subprocess, sys
        subprocess.run([sys.executable, "{option}", "-c", "{_READ}"], check=True)
        """,
        reads=("data.txt",),
        missed={"audit": "R"},
        named={"audit": f"with {option}, which shuts the probe out"},
    )


CASES = (
    Case(
        "loky workers",
        """
        import joblib
        def read(name):
            return len(open(name).read())
        assert all(joblib.Parallel(2)(joblib.delayed(read)("data.txt") for _ in range(2)))
        """,
        reads=("data.txt",),
    ),
    _multiprocessing("spawn"),
    _multiprocessing("fork"),
    _multiprocessing("forkserver"),
    Case(
        "threads",
        f"""
        import threading
        threads = [threading.Thread(target=lambda: {_READ}) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
        reads=("data.txt",),
    ),
    Case(
        "os.exec",
        f"""
        import os, sys
        os.execv(sys.executable, [sys.executable, "-c", "{_READ}"])
        """,
        reads=("data.txt",),
    ),
    _isolated("-I"),
    _isolated("-E"),
    _isolated("-S"),
    Case(
        "a child with an empty environment",
        f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "{_READ}"], env={{}}, check=True)
        """,
        reads=("data.txt",),
        missed={"native": "R", "audit": "R"},
        named={"native": "an environment of its own", "audit": "an environment of its own"},
    ),
    Case(
        "sh -c 'awk … | cat > out'",
        """
        import os
        assert os.system("awk '{ print $1 }' data.txt | cat > out.txt") == 0
        """,
        reads=("data.txt",),
        writes=("out.txt",),
        missed={"audit": "W"},
        named={"audit": "only Python's reads are seen"},
    ),
    Case(
        "standard input, opened by the caller",
        "import sys; assert sys.stdin.read()",
        reads=("data.txt",),
        stdin="data.txt",
    ),
    # Beyond the 57.
    Case(
        "standard input of a program that is not Python",
        "sort -o out.txt",
        language="command",
        reads=("data.txt",),
        writes=("out.txt",),
        stdin="data.txt",
        missed={"audit": "RW"},
        named={"audit": "the compiled program `sort"},
        counted=False,
    ),
)
