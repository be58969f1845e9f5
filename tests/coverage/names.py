"""Names and places: the same file, called in many ways."""

from __future__ import annotations

from tests.coverage.case import Case

CASES = (
    Case(
        "outside the repository",
        "assert open('../outside/data.txt').read()",
        reads=("../outside/data.txt",),
    ),
    Case(
        "a symlink",
        "assert open('link.txt').read()",
        reads=("link.txt",),
        files=("../outside/data.txt",),
        links={"link.txt": "../outside/data.txt"},
    ),
    Case(
        "os.listdir",
        "import os; assert len(os.listdir('texts')) == 2",
        listed=("texts",),
        files=("texts/a.txt", "texts/b.txt"),
    ),
    Case(
        "glob",
        "import glob\nassert [open(name).read() for name in glob.glob('texts/*.txt')]",
        reads=("texts/a.txt", "texts/b.txt"),
        listed=("texts",),
    ),
    Case(
        "os.open(dir_fd=)",
        """
        import os
        folder = os.open("texts", os.O_RDONLY | os.O_DIRECTORY)
        assert os.read(os.open("a.txt", os.O_RDONLY, dir_fd=folder), 9)
        """,
        reads=("texts/a.txt",),
        missed={"audit": "R"},
    ),
    Case(
        "chdir",
        "import os; os.chdir('texts'); assert open('a.txt').read()",
        reads=("texts/a.txt",),
    ),
    Case(
        "imported project modules",
        "import helper, package.inner",
        reads=("helper.py", "package/__init__.py", "package/inner.py"),
        texts={"helper.py": "", "package/__init__.py": "", "package/inner.py": "import helper"},
    ),
)
