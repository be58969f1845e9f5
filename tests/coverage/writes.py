"""Writes that hide: files that get their name late, or lose what they held."""

from __future__ import annotations

from tests.coverage.case import Case

CASES = (
    Case(
        "a temporary name, renamed into place",
        """
        import os
        open("out.tmp", "w").write(open("data.txt").read())
        os.replace("out.tmp", "out.txt")
        """,
        reads=("data.txt",),
        writes=("out.txt",),
    ),
    Case(
        "tempfile",
        """
        import tempfile
        with tempfile.NamedTemporaryFile("w", dir=".", suffix=".txt", delete=False) as file:
            file.write("1")
        """,
        writes=("tmp*.txt",),
    ),
    Case(
        "read, then overwrite",
        "text = open('data.txt').read()\nopen('data.txt', 'w').write(text[::-1] + 'more')",
        reads=("data.txt",),
        writes=("data.txt",),
    ),
    Case(
        "append",
        "open('data.txt', 'a').write('more')",
        writes=("data.txt",),
        also=("data.txt",),
    ),
    Case(
        "read, then delete",
        "import os\nassert open('data.txt').read()\nos.remove('data.txt')",
        reads=("data.txt",),
    ),
    Case(
        "shutil.copyfile",
        "import shutil; shutil.copyfile('data.txt', 'out.txt')",
        reads=("data.txt",),
        writes=("out.txt",),
    ),
)
