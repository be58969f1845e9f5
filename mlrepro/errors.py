"""Errors: all that can go wrong, drawn once as a tree; each class owns its exit code and hint.

::

    MlreproError                        1
    ├── UsageError                      2    the request cannot be understood or met here
    │   ├── NotARepositoryError
    │   ├── RefNotFoundError
    │   ├── AmbiguousRefError
    │   ├── ConfigError
    │   └── ManifestError                    a manifest that must not be trusted
    │       └── SchemaTooNewError
    ├── StoreError                      1    a store could not do its work
    │   ├── GitError
    │   ├── DvcError
    │   ├── UvError
    │   │   └── UvMissingError
    │   ├── LockError
    │   ├── LockTimeoutError
    │   └── ObjectNotFoundError
    ├── RefusedError                    1    mlrepro could, but must not without a yes
    ├── ComparisonError                 125  two files that no comparator could read
    ├── InternalError                   125  a mistake of mlrepro's own
    └── InconclusiveError               125  a rebuild about which nothing can be said
        ├── RestoreError
        ├── TrainingFailedError
        └── NothingToCompareError
"""

from __future__ import annotations


class MlreproError(Exception):
    """Anything that mlrepro says in one sentence.

    Parameters
    ----------
    message : str
        One sentence without a full stop at the end.
    hint : str, optional
        What to do about it; the class's own hint otherwise.
    """

    exit_code = 1
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(MlreproError):
    """The request cannot be understood, or not be met in this place."""

    exit_code = 2


class NotARepositoryError(UsageError):
    """The folder is not inside a git repository with a working tree."""

    hint = "Run `mlrepro init` in the project's folder, or change into it."


class RefNotFoundError(UsageError):
    """No artifact, manifest, run id or run name answers to the given reference."""

    hint = "`mlrepro ls` lists the runs; `mlrepro pull` fetches those of your colleagues."


class AmbiguousRefError(UsageError):
    """A reference that fits more than one run."""

    hint = "Give more digits of the run id."


class ConfigError(UsageError):
    """A setting of `[tool.mlrepro]` or `mlrepro.toml` that cannot be used."""


class ManifestError(UsageError):
    """A manifest that is damaged, hostile, or not what its name says."""

    hint = "Restore it with `git checkout -- FILE`; nothing was changed."


class SchemaTooNewError(ManifestError):
    """A manifest written by a newer mlrepro."""

    hint = "Upgrade with `uv tool upgrade mlrepro`."


class StoreError(MlreproError):
    """A store could not do its work."""


class GitError(StoreError):
    """Git refused or failed."""


class DvcError(StoreError):
    """DVC refused or failed."""


class UvError(StoreError):
    """UV refused or failed."""


class UvMissingError(UvError):
    """UV is neither on the PATH nor installed beside mlrepro."""

    hint = "Install it with `pip install uv`; `--env current` works without it."


class LockError(StoreError):
    """The environment of a run cannot be locked."""


class LockTimeoutError(StoreError):
    """Another process held a lock for too long."""

    hint = "Wait for the other `dvc` or `mlrepro` process, then try again."


class ObjectNotFoundError(StoreError):
    """A recorded object is absent from the cache and from its remotes."""

    hint = "Ask the author for `mlrepro push`, then run `mlrepro pull`."


class RefusedError(MlreproError):
    """Something that mlrepro does only after a yes."""

    hint = "Read the list above, then repeat the command with `--yes`."


class ComparisonError(MlreproError):
    """A file that its comparator cannot read; never taken for a pass."""

    exit_code = 125


class InternalError(MlreproError):
    """A mistake of mlrepro's own; never taken for a verdict."""

    exit_code = 125
    hint = "Set MLREPRO_TRACEBACK=1 to see where, and report it."


class InconclusiveError(MlreproError):
    """A rebuild about which nothing can be said."""

    exit_code = 125


class RestoreError(InconclusiveError):
    """The code or the data of a run cannot be put back."""


class TrainingFailedError(InconclusiveError):
    """The training did not succeed in the clean room."""


class NothingToCompareError(InconclusiveError):
    """The run left nothing that could be compared."""
