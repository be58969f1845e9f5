"""Variables: environment variables in three tables, and how a rebuild sets them.

*Restored*: the first group whenever it is set, and whatever else the program consulted, if it is
neither a secret nor a path. *Inherited*: what belongs to a person or a machine; only a salted hash
is recorded, of secrets not even that. *Derived*: what a rebuild makes anew. *Unset* are names that
the program itself asked for in vain; those of the first group, which interpreters and numerical
libraries ask for by themselves, are not listed: a rebuild sets them as recorded or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

from mlrepro.manifest import ThreadPool, Variables

# Read by native libraries, where not every observer sees a look-up: always recorded.
_ALWAYS = re.compile(
    r"^(?:OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|GOTO_|BLIS_|BLAS_|NUMEXPR_|VECLIB_|NUMBA_|NPY_|TBB_"
    r"|XLA_|TF_|CUBLAS_|CUDNN_|NVIDIA_TF32_|TORCH_|PYTORCH_|LC_|ARROW_|POLARS_|DUCKDB_|RAYON_"
    r"|GFORTRAN_|MALLOC_)"
    r"|^PYTHON(?:HASHSEED|OPTIMIZE|WARNINGS|UTF8|IOENCODING|COERCECLOCALE|MALLOC|INTMAXSTRDIGITS"
    r"|DEVMODE)$|^(?:TZ|LANG|LANGUAGE|GLIBC_TUNABLES|OPENBLAS_CORETYPE)$"
)
_INHERITED = re.compile(
    r"^(?:HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|DISPLAY|HOSTNAME|MAIL|EDITOR|PAGER|CUDA_.*"
    r"|NVIDIA_.*|ROCR_.*|HIP_.*|SSL_.*|XDG_.*|SSH_.*|GPG_.*|DBUS_.*|GIT_.*|AWS_.*|AZURE_.*"
    r"|GOOGLE_.*|GCLOUD_.*|HF_HOME|.*_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|KRB5.*)$",
    re.IGNORECASE,
)
_DERIVED = re.compile(
    r"^(?:PATH|TMPDIR|TEMP|TMP|PWD|OLDPWD|SHLVL|_|VIRTUAL_ENV.*|CONDA_.*|UV_.*|PYTHONPATH"
    r"|PYTHONHOME|PYTHONUNBUFFERED|PYTHONDONTWRITEBYTECODE|PYTHONPYCACHEPREFIX|PYENV_.*"
    r"|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_.*|COLUMNS|LINES|MLREPRO_.*|PIP_.*|PS1)$"
)
_SECRET = re.compile(
    r"TOKEN|SECRET|KEY|PASSW|PASSPHRASE|PASSWD|CREDENTIAL|AUTH|PRIVATE|COOKIE|SESSION|SIGNATURE"
    r"|DSN|_PAT$|_PWD$|_PW$|_PIN$|^PIN$|^PIN_|_PIN_|WEBHOOK|APIKEY|SALT",
    re.IGNORECASE,
)
# Secrets whatever their name: of GitHub, OpenAI, AWS, Slack, GitLab, Hugging Face, Stripe,
# Google; JWT, keys.
_SECRET_VALUE = re.compile(
    r"^(?:gh[pousr]_|github_pat_|sk-|[rps]k_live_|AIza[\w-]{20}"
    r"|AKIA|ASIA|xox[abprs]-|eyJ[\w-]+\.|glpat-|hf_[A-Za-z]{20})"
    r"|-----BEGIN "
)
_PATH = re.compile(r"(?:^|[:;=,])(?:/|~|\.{1,2}/)")
_ADDRESS = re.compile(r"://|^[^\s@]+@[^\s@]+$")
_LONGEST = 1000

_THREADS = {
    "openmp": ("OMP_NUM_THREADS",),
    "openblas": ("OPENBLAS_NUM_THREADS",),
    "mkl": ("MKL_NUM_THREADS",),
    "blis": ("BLIS_NUM_THREADS",),
}
SECRET = "secret"  # noqa: S105  a word in place of the secret
"""What stands for the value of a secret: the hash of a short password could be guessed."""


def tables(environ: Mapping[str, str], consulted: Collection[str], *, salt: str) -> Variables:
    """Sort the variables of a run into the three tables.

    Parameters
    ----------
    environ : mapping
        The variables that the training was started with.
    consulted : collection of str
        Names that the program looked up.
    salt : str
        Makes the hashes of this run different from those of any other.
    """
    restored: dict[str, str] = {}
    inherited: dict[str, str] = {}
    derived: list[str] = []
    for name in sorted(environ):
        value, used = environ[name], name in consulted
        if is_secret(name, value):
            if used:
                inherited[name] = SECRET
        elif _DERIVED.match(name):
            derived.append(name)
        elif _is_restored(name, value, used=used):
            restored[name] = value
        elif used or _INHERITED.match(name):
            inherited[name] = _hashed(name, value, salt)
    missing = (
        name
        for name in consulted
        if name not in environ and _is_programs_own(name) and not _ALWAYS.match(name)
    )
    return Variables(restored, inherited, tuple(derived), tuple(sorted(missing)))


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable looks like one whose value nobody else may see."""
    return bool(_SECRET.search(name) or _SECRET_VALUE.search(value))


def _is_programs_own(name: str) -> bool:
    """Whether a variable belongs to neither a person, nor a machine, nor mlrepro's own work."""
    return not (_INHERITED.match(name) or _DERIVED.match(name) or _SECRET.search(name))


def _is_restored(name: str, value: str, *, used: bool) -> bool:
    if not (_ALWAYS.match(name) or (used and not _INHERITED.match(name))):
        return False
    return not (_PATH.search(value) or _ADDRESS.search(value) or len(value) > _LONGEST)


def _hashed(name: str, value: str, salt: str) -> str:
    text = f"{salt}\0{name}\0{value}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def restore(
    recorded: Variables,
    environ: Mapping[str, str],
    *,
    threads: Sequence[ThreadPool] | None = None,
) -> dict[str, str]:
    """Return the variables for a rebuild.

    Parameters
    ----------
    recorded : Variables
        Of the run.
    environ : mapping
        Of the rebuilding machine: what is inherited and derived comes from here.
    threads : sequence of ThreadPool, optional
        The run's pools: each gets its recorded number of threads, unless a restored variable says
        so already. None leaves the numbers to this machine.
    """
    result = {
        name: value
        for name, value in environ.items()
        if not _ALWAYS.match(name) or _PATH.search(value)  # a cache's folder is this machine's own
    }
    for name in filter(_is_programs_own, recorded.unset):
        result.pop(name, None)
    safe = {n: v for n, v in recorded.restored.items() if not _DERIVED.match(n) and _is_plain(n, v)}
    result.update(safe)
    for pool in threads or ():
        for name in _THREADS.get(pool.api, ()):
            if name not in safe and pool.threads > 0:
                result[name] = str(max(pool.threads, int(result.get(name, "0"))))
    return result


def _is_plain(name: str, value: str) -> bool:
    """Whether a recorded variable may be set; a manifest may come from a stranger."""
    harmless = bool(_ALWAYS.match(name)) or not name.startswith(("LD_", "DYLD_", "PYTHON", "GIT_"))
    return harmless and re.fullmatch(r"[A-Za-z_]\w*", name) is not None and "\0" not in value


def absent(recorded: Variables, environ: Mapping[str, str]) -> list[str]:
    """Name the variables that the run inherited and that this machine does not have."""
    return sorted(name for name in recorded.inherited if name not in environ)


def differing(recorded: Variables, environ: Mapping[str, str], *, salt: str) -> list[str]:
    """Name the inherited variables that have another value here; secrets are not compared."""
    return sorted(
        name
        for name, value in recorded.inherited.items()
        if name in environ and value not in (SECRET, _hashed(name, environ[name], salt))
    )
