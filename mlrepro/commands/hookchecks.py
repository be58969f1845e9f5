"""Hook checks: what a commit may not do to a model, and what it should be told of its code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mlrepro import plain
from mlrepro.commands import hookcode, staged
from mlrepro.commands.hook import Finding, HookReport
from mlrepro.commands.hooknames import is_allowed, looks_like_model, may_be_model, shown
from mlrepro.commands.staged import Change
from mlrepro.errors import ManifestError, MlreproError, RefNotFoundError
from mlrepro.manifest import LARGEST, SUFFIX, Digest, Input, Kept, Manifest, Role, Source
from mlrepro.stores import git, ledger, objects
from mlrepro.stores.dvcconfig import cache_dir, is_shared
from mlrepro.stores.dvcfiles import SUFFIX as DVC
from mlrepro.stores.dvcfiles import Pointer, parse_pointer
from mlrepro.stores.git import Repository

_LARGEST_MODEL = 2 * 2**30
_HEAD = 2048
_LET_THROUGH = "list it under `allow` in `[tool.mlrepro.hook]` of pyproject.toml"


@dataclass(frozen=True)
class _Model:
    """One model as the index has it; empty and None stand for what it has not.

    Attributes
    ----------
    path : str
        Of the weights.
    changes : dict of str to Change
        What the commit changes: by ``""`` for the weights, ``.dvc``, ``.mlrepro.yaml``.
    weights, pointer, manifest : str
        Blobs of the index.
    """

    path: str
    changes: dict[str, Change]
    weights: str
    pointer: str
    manifest: str

    @property
    def is_new(self) -> bool:
        change = self.changes.get(DVC) or self.changes.get("")
        return bool(change and change.is_new)

    @property
    def had_manifest(self) -> bool:
        change = self.changes.get(SUFFIX)
        return bool(change and change.before and not change.blob)


@dataclass
class _Desk:
    """What the checks look things up in, each read when it is first needed."""

    repo: Repository
    models: tuple[_Model, ...]
    changes: tuple[Change, ...]
    refusals: list[tuple[_Model, Finding]] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    recorded: dict[str, Manifest] = field(default_factory=dict)
    _records: dict[str, Manifest] = field(default_factory=dict)

    def refuse(self, model: _Model, sentence: str, hint: str) -> None:
        self.refusals.append((model, Finding(sentence, hint)))

    def warn(self, sentence: str, hint: str) -> None:
        self.warnings.append(Finding(sentence, hint))

    @cached_property
    def texts(self) -> dict[str, bytes | None]:
        """The staged pointers and manifests, and the pointers that the commit deletes."""
        gone = [c.before for c in self.changes if c.path.endswith(DVC) and not c.blob]
        blobs = [b for m in self.models for b in (m.pointer, m.manifest) if b]
        return staged.contents(self.repo, [*blobs, *gone], largest=LARGEST)

    @cached_property
    def moved(self) -> frozenset[str]:
        """What the commit deletes: a model that comes back under another name is not new."""
        gone = [c for c in self.changes if c.before and not c.blob]
        pointers = (self.pointer(c.before, c.path) for c in gone if c.path.endswith(DVC))
        return frozenset([*(c.before for c in gone), *(str(p.digest) for p in pointers if p)])

    @cached_property
    def taken(self) -> frozenset[str]:
        """The paths that another commit brings as they are: a merge, a cherry-pick."""
        return staged.taken_over(self.repo, {c.path: c.blob for c in self.changes})

    def is_brought(self, model: _Model) -> bool:
        return all(change.path in self.taken for change in model.changes.values())

    @cached_property
    def stores(self) -> objects.Stores:
        root = self.repo.root
        return objects.stores(cache_dir(root), shared=is_shared(root))

    @cached_property
    def made(self) -> dict[str, tuple[str, str]]:
        return ledger.by_digest(self.repo)

    def pointer(self, blob: str, where: str) -> Pointer | None:
        """Return a pointer to one output; a ``.dvc`` of another kind is DVC's own affair."""
        try:
            return parse_pointer(self.texts.get(blob) or b"", where=where)
        except ManifestError:
            return None

    def record(self, blob: str) -> Manifest:
        """Return a staged manifest; the weights of one run share it."""
        if blob not in self._records:
            text = self.texts[blob]
            if text is None:
                raise ManifestError(f"it is longer than {LARGEST >> 20} MiB")
            self._records[blob] = Manifest.from_yaml(text)
        return self._records[blob]

    def entry(self, run: str) -> ledger.Entry | None:
        try:
            return ledger.resolve(self.repo, run)
        except RefNotFoundError:
            return None

    def run_of_weights(self, digest: Digest) -> str:
        """Return the run that made these bytes as weights; empty where none did."""
        run, path = self.made.get(str(digest), ("", ""))
        entry = self.entry(run) if run else None
        artifact = entry.manifest.artifact(path) if entry else None
        return run if artifact and artifact.role is Role.WEIGHTS else ""


def check(repo: Repository, changes: Sequence[Change], *, files: Sequence[str] = ()) -> HookReport:
    """Judge what is staged, and files as if they were staged; see `mlrepro.commands.hook`."""
    changed = {c.path for c in changes}
    same = staged.entries(repo, [f for f in files if f not in changed])
    changes = (*changes, *(Change(path, "100644", blob, blob) for path, blob in same.items()))
    desk = _Desk(repo, tuple(_models(repo, changes)), changes)
    for model in desk.models:
        _judge(desk, model)
    own = [c for c in changes if c.path not in desk.taken]
    recorded = {p: r for p, r in desk.recorded.items() if p + SUFFIX not in desk.taken}
    desk.warnings += [Finding(*w) for w in hookcode.warnings(repo, own, recorded)]
    return _report(desk)


def _report(desk: _Desk) -> HookReport:
    """Let through what the project lists, and only warn of what a merge or cherry-pick brings."""
    if not desk.refusals:
        return HookReport((), tuple(desk.warnings))
    stopped = [(m, f) for m, f in desk.refusals if not is_allowed(desk.repo.root, m.path)]
    refusals = tuple(f for m, f in stopped if not desk.is_brought(m))
    warnings = tuple(f for m, f in stopped if desk.is_brought(m))
    return HookReport(refusals, (*warnings, *desk.warnings))


def _models(repo: Repository, changes: Sequence[Change]) -> Iterator[_Model]:
    """Group what is staged by the model that it belongs to."""
    found: dict[str, dict[str, Change]] = {}
    for change in changes:
        for suffix in (DVC, SUFFIX):
            if change.path.endswith(suffix):
                found.setdefault(change.path.removesuffix(suffix), {})[suffix] = change
    others = {c.path: c for c in changes if not c.path.endswith((DVC, SUFFIX))}
    known = staged.entries(repo, [path + SUFFIX for path in others])
    for path, change in others.items():
        if path in found or path + SUFFIX in known:
            found.setdefault(path, {})[""] = change
    for change in _new_models(repo, [c for c in changes if c.is_new and c.path not in found]):
        found[change.path] = {"": change}
    blobs = staged.entries(repo, [path + s for path in found for s in ("", DVC, SUFFIX)])
    for path, own in found.items():
        yield _Model(path, own, *(blobs.get(path + s, "") for s in ("", DVC, SUFFIX)))


def _new_models(repo: Repository, new: Iterable[Change]) -> Iterator[Change]:
    candidates = [c for c in new if c.is_file and may_be_model(c.path)]
    heads = staged.contents(repo, [c.blob for c in candidates], largest=256 * 2**20)
    for change in candidates:
        if looks_like_model(change.path, (heads[change.blob] or b"")[:_HEAD]):
            yield change


def _judge(desk: _Desk, model: _Model) -> None:
    if model.manifest:
        _judge_recorded(desk, model)
    elif model.pointer or model.weights:
        _judge_bare(desk, model)


def _judge_bare(desk: _Desk, model: _Model) -> None:
    """Judge a model without a manifest in the index."""
    pointer = desk.pointer(model.pointer, model.path + DVC) if model.pointer else None
    change = model.changes.get(DVC) or model.changes.get("")
    if change is None:
        if model.had_manifest:
            name = shown(model.path)
            hint = f"Keep it: `git restore --staged --worktree {name}{SUFFIX}`."
            desk.warn(f"`{name}` stays, without its manifest", hint)
        return
    if (model.pointer and pointer is None) or not change.blob:
        return
    digest = pointer.digest if pointer else _weights(desk, model, None)
    run = desk.run_of_weights(digest) if digest else ""
    if model.had_manifest or run:
        _refuse_missing(desk, model, run)
    elif _is_unheard_of(desk, model, change, pointer):
        desk.refuse(
            model,
            f"no run made the new model `{shown(model.path)}`, so nobody could rebuild it",
            f"Train it with `mlrepro run`; if it is no model of yours, {_LET_THROUGH}.",
        )


def _is_unheard_of(desk: _Desk, model: _Model, change: Change, pointer: Pointer | None) -> bool:
    """Say whether a model without a run is new here, and not moved from another name."""
    if not model.is_new or change.blob in desk.moved:
        return False
    if pointer is None:
        return True  # `_new_models` has read its first bytes
    moved = str(pointer.digest) in desk.moved
    return not moved and looks_like_model(model.path, _head(desk, pointer))


def _refuse_missing(desk: _Desk, model: _Model, run: str) -> None:
    name = shown(model.path)
    is_here = (desk.repo.root / (model.path + SUFFIX)).is_file()
    where = f" (run {run[:12]})" if run else ""
    desk.refuse(
        model,
        f"the model `{name}` is staged without its manifest{where}",
        f"Run `git add {name}{SUFFIX}`."
        if is_here
        else f"Train it again with `mlrepro run`, or {_LET_THROUGH}.",
    )


def _judge_recorded(desk: _Desk, model: _Model) -> None:
    """Judge a model that has a manifest in the index."""
    name = shown(model.path)
    try:
        record = desk.record(model.manifest)
    except ManifestError as error:
        hint = error.hint or "Restore it."
        desk.refuse(model, f"`{name}{SUFFIX}` cannot be trusted: {shown(str(error))}", hint)
        return
    if not _matches(desk, model, record):
        return
    if SUFFIX in model.changes or DVC in model.changes:
        desk.recorded[model.path] = record
        _judge_run(desk, model, record)


def _matches(desk: _Desk, model: _Model, record: Manifest) -> bool:
    """Say whether a manifest and the model beside it are of each other, and refuse otherwise."""
    name = shown(model.path)
    own = record.artifact(model.path)
    if own and (own.kept is Kept.DVC_YAML or (own.files is not None and not model.pointer)):
        return True
    digests = {a.digest for a in record.artifacts if a.role not in (Role.STDOUT, Role.STDERR)}
    wanted = own.digest if own else None
    if not model.pointer and not model.weights:
        desk.refuse(
            model,
            f"`{name}{SUFFIX}` is staged without `{name}{DVC}`",
            f"Run `git add {name}{DVC}`, or unstage both with `git restore --staged`.",
        )
        return False
    if model.pointer:
        pointer = desk.pointer(model.pointer, model.path + DVC)
        found = pointer.digest if pointer else None
        file = f"{name}{DVC}"
    else:
        found, file = _weights(desk, model, wanted), name
    # A model that was renamed with its manifest is the run's under its earlier name.
    if found is not None and (found == wanted if wanted else found in digests):
        return True
    desk.refuse(
        model,
        f"`{file}` is not the model that its manifest records (run {record.short})",
        f"Train it with `mlrepro run`, or restore both: `git restore --staged --worktree {file} "
        f"{name}{SUFFIX}`.",
    )
    return False


def _judge_run(desk: _Desk, model: _Model, record: Manifest) -> None:
    """Judge whether the run of a staged model could be rebuilt; only this clone's own must be."""
    entry = desk.entry(record.id)
    lost = _lost(desk, record)
    if entry is None:
        lost.append("its ledger entry")
    if not lost:
        return
    name = shown(model.path)
    sentence = f"run {record.short}, which made `{name}`, has lost {', '.join(lost)}"
    if entry and entry.mine:
        fetch = f"Fetch it with `mlrepro pull {record.short}`"
        desk.refuse(model, sentence, f"{fetch}, or train again with `mlrepro run`.")
    else:
        sentence = f"run {record.short}, which made `{name}`, is not whole in this clone: "
        sentence += f"it lacks {', '.join(lost)}"
        desk.warn(sentence, f"Fetch it with `mlrepro pull {record.short}`.")


def _lost(desk: _Desk, record: Manifest) -> list[str]:
    lost = []
    code = record.code
    if code and not code.shadow:
        gone = [n for n in (code.snapshot, code.tree) if n and not git.has(desk.repo, n)]
        lost += ["its code"] if gone else []
    wanted = [a.digest for a in record.artifacts if a.kept is not Kept.NOWHERE]
    try:
        wanted += _stored_inputs(desk, record)
    except (MlreproError, ValueError):
        lost.append("its list of inputs")
    try:
        absent = desk.stores.missing(wanted)
    except MlreproError:
        absent = wanted[:1]
    if absent:
        word = "object" if len(absent) == 1 else "objects"
        lost.append(f"{len(absent)} {word} ({absent[0]})")
    return lost


def _stored_inputs(desk: _Desk, record: Manifest) -> list[Digest]:
    """Return what the stores have to hold; a manifest shows only the first of many inputs."""
    inputs: Iterable[Input] = record.inputs
    if "inputs" in record.lists and desk.entry(record.id):
        data = json.loads(ledger.listing(desk.repo, record, "inputs"))
        inputs = [plain.load(Input, one, where="input") for one in data]
    return [i.digest for i in inputs if i.source is Source.STORED and i.digest]


def _weights(desk: _Desk, model: _Model, wanted: Digest | None) -> Digest | None:
    """Return the digest of weights that git holds; if need be, as a checkout would write them."""
    found = staged.contents(desk.repo, [model.weights], largest=_LARGEST_MODEL)[model.weights]
    digest = _md5(found) if found is not None else None
    if wanted is None or digest == wanted:
        return digest
    # End-of-line conversion and Git LFS store other bytes than those that the run wrote.
    return _md5(staged.call(desk.repo, "cat-file", "--filters", f":{model.path}"))


def _md5(data: bytes) -> Digest:
    return Digest("md5", hashlib.md5(data, usedforsecurity=False).hexdigest())


def _head(desk: _Desk, pointer: Pointer) -> bytes:
    """Return the first bytes of what a pointer names, where this clone has them."""
    place = desk.stores.find(pointer.digest)
    if place is None or pointer.digest.is_dir:
        return b""
    with place.open("rb") as file:
        return file.read(_HEAD)
