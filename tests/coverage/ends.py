"""Ends: processes that do not end as Python would like, or close what is not theirs."""

from __future__ import annotations

import signal

from tests.coverage.case import Case

_WORK = "open('out.txt', 'w').write(open('data.txt').read())"

CASES = (
    Case(
        "SIGKILL to itself after the work",
        f"import os\n{_WORK}\nos.kill(os.getpid(), 9)",
        reads=("data.txt",),
        writes=("out.txt",),
        status=-signal.SIGKILL,
    ),
    Case(
        "os._exit",
        f"import os\n{_WORK}\nos._exit(3)",
        reads=("data.txt",),
        writes=("out.txt",),
        status=3,
    ),
    Case(
        "closerange(3, 256) before reading",
        "import os\nos.closerange(3, 256)\nassert open('data.txt').read()",
        reads=("data.txt",),
    ),
)
