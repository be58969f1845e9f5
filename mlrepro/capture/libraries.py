"""Libraries: name the native libraries that a run had loaded, by their build ids.

Two builds of one version can compute other numbers: another compiler, another BLAS inside. What
tells them apart is the build id that the linker wrote into the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlrepro import paths
from mlrepro.manifest import Change

_MOST_REMEMBERED = 5_000

# Families of those that make the numbers or their order, in the order in which they are told.
_NUMERIC = tuple(
    re.compile(family)
    for family in (
        r"lib(?:g|i|)omp5?\b|libtbb",
        r"lib.*openblas|libmkl|libblis|libflame|libarmpl|lib[cf]?blas\b|lib.*lapack",
        r"libm\b|libmvec\b|libc\b|libstdc\+\+|libgfortran|libquadmath|libgcc_s",
        r"lib_?lightgbm|libxgboost|_catboost|libcatboost",
        r"libtorch|libc10|libtensorflow|lib.*xla|libdnnl",
        r"libcu|libnv|libnccl|libroc|libamdhip|libhip|libMIOpen",
    )
)
# What `auditwheel` puts into a file's name, and the version behind the suffix.
_WHEEL_HASH = re.compile(r"(?:-[0-9a-f]{8})+(?=\.)")
_VERSION = re.compile(r"(?:(?<=\.so)[.0-9]+|-[0-9.]+(?=\.so$))$")
_OF_SYSTEM = ("", "/", "/usr", "/usr/local")


@dataclass(frozen=True)
class Library:
    """A native library that a process of the run had loaded.

    Attributes
    ----------
    name : str
        Its file name.
    path : str
        Relative to the interpreter's prefix where it lies in it, or else absolute.
    build_id : str
        What its linker wrote into it, in hex; empty where there is none.
    content : str
        Where there is no build id: 16 hex digits of the sha256 of its size and of 1 MiB of it,
        16 blocks from its start to its end; of all of it where it is no larger.
    package : str
        The distribution that brought it; empty for the system's own.
    """

    name: str
    path: str
    build_id: str = ""
    content: str = ""
    package: str = ""

    @property
    def identity(self) -> str:
        """What tells two builds apart; empty where the file could not be read."""
        return self.build_id or self.content


def found(
    mapped: Iterable[str], *, cache: Path | None = None, prefixes: Sequence[str] = ()
) -> tuple[Library, ...]:
    """Return the libraries behind mapped files, in the order of their names.

    Parameters
    ----------
    mapped : iterable of str
        Absolute paths, as `Observation.libraries` has them; a file that is no library is left out.
    cache : Path, optional
        A file that spares reading files again that did not change: 250 of them take 2 ms.
    prefixes : sequence of str
        Folders that paths are told relative to, the first that holds one: the interpreter's prefix
        and base prefix. One of the system's (``/usr``) counts for nothing.
    """
    known = _remembered(cache)
    before = len(known)
    packages = _Packages()
    inside = [os.path.normpath(prefix) for prefix in prefixes if prefix]
    inside = [prefix for prefix in inside if prefix not in _OF_SYSTEM]
    result = []
    for path in sorted(set(mapped)):
        facts = _facts(path, known, packages.of)
        if facts is not None:
            result.append(Library(os.path.basename(path), _shown(path, inside), *facts))
    if cache and len(known) != before:
        with suppress(OSError):
            paths.write_beside(cache, json.dumps(dict(list(known.items())[-_MOST_REMEMBERED:])))
    return tuple(sorted(result, key=lambda library: (library.name, library.path)))


def changes(
    recorded: Sequence[Library], current: Sequence[Library], *, explained: Collection[str] = ()
) -> tuple[Change, ...]:
    """Name the libraries that another build was loaded of: the numeric ones, the others counted.

    Parameters
    ----------
    recorded, current : sequence of Library
        Nothing is said where either is empty: then it is not known.
    explained : collection of str
        Packages of which is said elsewhere that they differ; their libraries do too.
    """
    if not recorded or not current:
        return ()
    before, now = _grouped(recorded, explained), _grouped(current, explained)
    differ = [key for key in {**before, **now} if _differ(before.get(key, ()), now.get(key, ()))]
    named = sorted((key for key in differ if _is_numeric(key[0])), key=lambda k: (_rank(k[0]), k))
    told = [
        Change(_title(*key), _words(before.get(key, ())), _words(now.get(key, ()))) for key in named
    ]
    others = len(differ) - len(named)
    if others:
        counts = [sum(not _is_numeric(stem) for stem, _ in side) for side in (before, now)]
        words = f"{counts[1]} loaded, {others} of them new, gone or of another build"
        told.append(Change("other libraries", f"{counts[0]} loaded", words))
    return tuple(told)


_Key = tuple[str, str]


def _grouped(
    libraries: Iterable[Library], explained: Collection[str]
) -> Mapping[_Key, list[Library]]:
    """Bring together what is one library in several versions: its stem and its package."""
    groups: dict[_Key, list[Library]] = {}
    for library in libraries:
        if not library.package or library.package not in explained:
            groups.setdefault((_stem(library.name), library.package), []).append(library)
    return groups


def _stem(name: str) -> str:
    return _VERSION.sub("", _WHEEL_HASH.sub("", name))


def _differ(before: Sequence[Library], now: Sequence[Library]) -> bool:
    builds = [{library.identity for library in side} for side in (before, now)]
    return builds[0] != builds[1] and "" not in builds[0] | builds[1]


def _rank(stem: str) -> int:
    """Return the place of a library's family; their number for one that makes no numbers."""
    ranks = (rank for rank, family in enumerate(_NUMERIC) if family.match(stem))
    return next(ranks, len(_NUMERIC))


def _is_numeric(stem: str) -> bool:
    return _rank(stem) < len(_NUMERIC)


def _title(stem: str, package: str) -> str:
    return f"library {stem} of {package}" if package else f"library {stem}"


def _words(libraries: Sequence[Library]) -> str:
    words = [f"{one.name} {one.identity[:16]}".strip() for one in libraries]
    return ", ".join(sorted(set(words))) or "not loaded"


# -- one file ------------------------------------------------------------------------------------

_Facts = tuple[str, str, str]
_BLOCKS, _BLOCK = 16, 2**16


def _remembered(cache: Path | None) -> dict[str, list[str]]:
    """Read what is known of files by their states; it may be lost at any time."""
    if cache:
        with suppress(OSError, ValueError, TypeError):  # absent, or damaged
            return dict(json.loads(cache.read_text()))
    return {}


def _facts(path: str, known: dict[str, list[str]], package: Callable[[str], str]) -> _Facts | None:
    """Return build id, content and package of a library; None where the file is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):  # deleted meanwhile; a name that is none
        return ("", "", "") if ".so" in os.path.basename(path) else None
    if not stat.S_ISREG(state.st_mode):  # a GPU's device, say, that is mapped too
        return None
    name = f"{state.st_dev}.{state.st_ino}.{state.st_size}.{state.st_mtime_ns}"
    with suppress(KeyError, TypeError, ValueError):
        build_id, content, distribution = map(str, known[name])
        return build_id, content, distribution
    try:
        with open(path, "rb") as file:
            found_id = build_id_of(file.fileno())
            if found_id is None:
                return None
            content = "" if found_id else _content(file.fileno(), state.st_size)
    except OSError:
        return "", "", ""
    known[name] = [found_id, content, package(path)]
    return found_id, content, known[name][2]


def _content(descriptor: int, size: int) -> str:
    last = max(size - _BLOCK, 0)  # blocks overlap in a small file, and are then all of it
    digest = hashlib.sha256(str(size).encode())
    for block in range(_BLOCKS):
        digest.update(os.pread(descriptor, _BLOCK, last * block // (_BLOCKS - 1)))
    return digest.hexdigest()[:16]


def _shown(path: str, prefixes: Sequence[str]) -> str:
    for prefix in prefixes:
        if path.startswith(prefix + "/"):
            return path[len(prefix) + 1 :]
    return path


# -- ELF -----------------------------------------------------------------------------------------

_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
_MOST_SEGMENTS, _MOST_NOTES, _LONGEST_ID = 512, 2**16, 64
# By class: the header behind `e_ident`, its length, and one program header with the places of
# p_type, p_offset, p_filesz and p_align in it (System V ABI, "Object Files").
_CLASSES = {
    1: ("HHIIIIIHHHHHH", "IIIIIIII", (0, 1, 4, 7)),
    2: ("HHIQQQIHHHHHH", "IIQQQQQQ", (0, 2, 5, 7)),
}


def build_id_of(descriptor: int) -> str | None:
    """Return the build id of an open ELF file: empty where it has none, None where it is no ELF.

    Whatever the file says of itself is checked before it is used: a damaged one has no build id.
    """
    start = os.pread(descriptor, 64, 0)
    if start[:4] != b"\x7fELF":
        return None
    with suppress(struct.error, KeyError, IndexError):  # cut off; a class or an order that is none
        order = {1: "<", 2: ">"}[start[5]]
        for offset, size, align in _note_segments(descriptor, start, order):
            notes = os.pread(descriptor, min(size, _MOST_NOTES), offset)
            for name, kind, value in _notes(notes, order, 8 if align == 8 else 4):
                if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and len(value) <= _LONGEST_ID:
                    return value.hex()
    return ""


def _note_segments(descriptor: int, start: bytes, order: str) -> Iterator[tuple[int, int, int]]:
    header, segment, places = _CLASSES[start[4]]
    fields = struct.unpack_from(order + header, start, 16)
    offset, each, count = fields[4], fields[8], fields[9]
    length = struct.calcsize(order + segment)
    if not length <= each <= 4 * length or offset >= 2**63:
        return
    table = os.pread(descriptor, each * min(count, _MOST_SEGMENTS), offset)
    for at in range(0, len(table) - length + 1, each):
        one = struct.unpack_from(order + segment, table, at)
        kind, where, size, align = (one[place] for place in places)
        if kind == _PT_NOTE and where < 2**63:
            yield where, size, align


def _notes(data: bytes, order: str, align: int) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from(order + "III", data, at)
        value = at + _up(12 + name_size, align)
        if value + size > len(data):
            return
        yield data[at + 12 : at + 12 + name_size], kind, data[value : value + size]
        at = value + _up(size, align)


def _up(number: int, align: int) -> int:
    return -(-number // align) * align


# -- the distribution that brought it ------------------------------------------------------------

_SITES = ("site-packages", "dist-packages")


class _Packages:
    """Which distribution's ``RECORD`` holds a file; each folder's are read once, when asked."""

    def __init__(self) -> None:
        self._sites: dict[str, dict[str, str]] = {}

    def of(self, path: str) -> str:
        """Return the distribution's name in normal form, or nothing."""
        parts = path.split("/")
        sites = [at for at, part in enumerate(parts) if part in _SITES]
        if not sites:
            return ""
        site = "/".join(parts[: sites[-1] + 1])
        if site not in self._sites:
            self._sites[site] = dict(_recorded(site))
        return self._sites[site].get(path, "")


def _recorded(site: str) -> Iterator[tuple[str, str]]:
    for info in sorted(Path(site).glob("*.dist-info")):
        name = re.sub(r"[-_.]+", "-", info.stem.rpartition("-")[0]).lower()
        with suppress(OSError):
            for line in (info / "RECORD").read_bytes().splitlines():
                if b".so" in line:  # a name with a comma is quoted; no library has one
                    file = os.fsdecode(line.partition(b",")[0])
                    yield os.path.normpath(os.path.join(site, file)), name
