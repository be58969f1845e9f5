"""Git hook: what the installed hooks start: `mlrepro hook run`, without click's 30 ms."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mlrepro.errors import MlreproError

_HINT = "A mistake of mlrepro's own: set MLREPRO_TRACEBACK=1 to see where, and report it."


def entry() -> None:
    """Do what the hook named by the first argument does, and exit as git expects."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Do what a hook does, and say on stderr what there is to say.

    Returns
    -------
    int
        0 where the commit may go on, 1 where it is refused.
    """
    name, *rest = arguments or ("pre-commit",)
    is_check = name == "pre-commit"
    try:
        return _check(rest) if is_check else _trailers(rest)
    except MlreproError as error:
        _say(("" if is_check else "warning: ") + str(error), error.hint)
    except OSError as error:
        _say(f"{error.strerror or error} `{error.filename or ''}`", None)
    except Exception as error:  # a mistake of ours must not cost anybody a commit
        if "MLREPRO_TRACEBACK" in os.environ:
            raise
        what = " ".join(str(error).split())
        _say(f"warning: the commit was not checked: {type(error).__name__}: {what}", _HINT)
        return 0
    # A message without its trailer is no reason to lose a commit, and `--no-verify` would not help.
    return 1 if is_check else 0


def _check(files: Sequence[str]) -> int:
    from mlrepro.commands import hook  # noqa: PLC0415  its errors are to be caught too

    report = hook.check(Path.cwd(), files=files or None)
    for finding in report.warnings:
        _say(f"warning: {finding.sentence}", finding.hint)
    for finding in report.refusals:
        _say(finding.sentence, finding.hint)
    return 1 if report.refusals else 0


def _trailers(arguments: Sequence[str]) -> int:
    from mlrepro.commands import hook  # noqa: PLC0415  its errors are to be caught too

    hook.trailers(Path.cwd(), Path(os.path.abspath(arguments[0])), *arguments[1:3])
    return 0


def _say(sentence: str, hint: str | None) -> None:
    sys.stderr.write(f"mlrepro: {sentence}\n")
    if hint:
        sys.stderr.write(f"  hint: {hint}\n")
