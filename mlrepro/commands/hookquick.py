"""Hook, quick: shows that an ordinary commit is in order, without the 110 ms of reading YAML.

A staged manifest that is, byte for byte, one that this clone wrote to its ledger needs no reading:
its canonical JSON lies beside it. Whatever is less ordinary than that is left to `hookchecks`, so
what is shown here has to be enough, not everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrepro.commands import staged
from mlrepro.commands.staged import Change
from mlrepro.stores import git
from mlrepro.stores.dvcconfig import cache_dir
from mlrepro.stores.git import Repository

_SUFFIX, _DVC = ".mlrepro.yaml", ".dvc"
_LARGEST = 2**20
_POINTER = re.compile(
    rb"outs:\n- md5: ([0-9a-f]{32})\n  size: \d+\n(?:  isexec: true\n)?  hash: md5\n  path: (.+)\n"
)
_HEAD = re.compile(
    rb"(?:#.*\n)?schema: 1\nid: '?([0-9a-f]{64})'?\nrun:\n(?:[ -].*\n)*?"
    rb"  started: '?(\d{4}-\d{2})-(\d{2})T"
)
# New files of these kinds are no models, whatever they hold.
_CODE = (
    ".bat", ".c", ".cfg", ".cpp", ".csv", ".gitattributes", ".gitignore", ".h", ".ini", ".ipynb",
    ".jl", ".lock", ".md", ".ps1", ".py", ".pyi", ".r", ".rs", ".rst", ".sh", ".sql", ".toml",
    ".yaml", ".yml",
)  # fmt: skip
_NO_CODE = (_SUFFIX, _DVC, ".gitignore", ".dvcignore", ".md", ".rst")
_OTHER_HEADS = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD")


def is_in_order(repo: Repository, changes: Sequence[Change]) -> bool:
    """Say whether nothing can be wrong with a commit; False where that takes more than a glance."""
    if any((repo.git_dir / head).is_file() for head in _OTHER_HEADS):
        return False
    models = {c.path.removesuffix(_SUFFIX): c for c in changes if c.path.endswith(_SUFFIX)}
    others = [c for c in changes if not c.path.endswith((_SUFFIX, _DVC))]
    if not all(_is_harmless(change) for change in others) or _left_behind(repo):
        return False
    wanted = [c.path + _SUFFIX for c in others]
    wanted += [path + suffix for path in models for suffix in (_SUFFIX, _DVC)]
    index = staged.entries(repo, wanted)
    # No other file has a manifest, and each staged pointer or manifest has the other beside it.
    pairs = {path + suffix for path in models for suffix in (_SUFFIX, _DVC)}
    ours = {c.path for c in changes if c.path.endswith((_SUFFIX, _DVC))}
    if index.keys() != pairs or not ours <= pairs:
        return False
    return not models or _are_recorded(repo, models, index)


def _is_harmless(change: Change) -> bool:
    return not change.is_new or change.path.lower().endswith(_CODE)


def _left_behind(repo: Repository) -> bool:
    listed = ("ls-files", "-z", "-m", "-o", "--exclude-standard", "--", f"*{_SUFFIX}")
    return bool(staged.matching(repo, *listed))


def _are_recorded(repo: Repository, models: Iterable[str], index: Mapping[str, str]) -> bool:
    """Say whether each model is, with its pointer, one that this clone's ledger records."""
    names = {path: (index[path + _SUFFIX], index[path + _DVC]) for path in models}
    texts = staged.contents(repo, [n for pair in names.values() for n in pair], largest=_LARGEST)
    tips = git.refs(repo, "refs/mlrepro/log/").values()
    cache = cache_dir(repo.root)
    runs: dict[str, dict[str, Any] | None] = {}
    for path, (manifest, pointer) in names.items():
        if manifest not in runs:
            runs[manifest] = _recorded(repo, tips, manifest, texts[manifest] or b"")
            if not _is_whole(repo, cache, runs[manifest]):
                return False
        if not _points(texts[pointer] or b"", path, runs[manifest] or {}):
            return False
    return True


def _recorded(
    repo: Repository, tips: Iterable[str], manifest: str, text: bytes
) -> dict[str, Any] | None:
    """Return the record whose manifest has these very bytes; None where no log of ours has it."""
    head = _HEAD.match(text[:4096])
    if head is None:
        return None
    run, month, day = (group.decode() for group in head.groups())
    for tip in tips:
        folder = f"{tip}:runs/{month}/{day}/{run[:2]}/{run}"
        if staged.names(repo, [f"{folder}/manifest.yaml"]) == [manifest]:
            names = [f"{folder}/manifest.json", f"{folder}/inputs.json"]
            data, inputs = git.read_objects(repo, names)
            found: dict[str, Any] = json.loads(data or b"{}")
            return _with_all_inputs(found, inputs)
    return None


def _with_all_inputs(record: dict[str, Any], listed: bytes | None) -> dict[str, Any] | None:
    """Put all inputs into a record that shows only some; None where their list is not sound."""
    listing = record.get("lists", {}).get("inputs")
    if listing is None:
        return record
    if f"sha256:{hashlib.sha256(listed or b'').hexdigest()}" != listing["digest"]:
        return None
    return {**record, "inputs": json.loads(listed or b"[]")}


def _is_whole(repo: Repository, cache: Path, record: Mapping[str, Any] | None) -> bool:
    """Say whether a run's code and objects are here, and its code is what will be committed."""
    code = (record or {}).get("code")
    if not record or not code or code.get("shadow"):
        return False
    if not all(staged.names(repo, [code["snapshot"], code["tree"]])):
        return False
    if any(c.before and not c.path.endswith(_NO_CODE) for c in staged.changes(repo, code["tree"])):
        return False
    stores = (f"{cache}/mlrepro/files/md5", f"{cache}/files/md5")
    return all(
        re.fullmatch(r"md5:[0-9a-f]{32}", digest)
        and any(os.path.isfile(f"{store}/{digest[4:6]}/{digest[6:]}") for store in stores)
        for digest in _digests(record)
    )


def _digests(record: Mapping[str, Any]) -> Iterator[str]:
    for artifact in record.get("artifacts", ()):
        if artifact["kept"] != "nowhere":
            yield artifact["digest"]
    for one in record.get("inputs", ()):
        if one["source"] == "stored" and "digest" in one:
            yield one["digest"]


def _points(text: bytes, path: str, record: Mapping[str, Any]) -> bool:
    pointer = _POINTER.fullmatch(text)
    made = [a for a in record.get("artifacts", ()) if a["path"] == path and a["kept"] == "pointer"]
    return (
        pointer is not None
        and os.fsdecode(pointer[2]) == path.rpartition("/")[2]
        and [a["digest"] for a in made] == [f"md5:{pointer[1].decode()}"]
    )
