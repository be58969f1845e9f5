"""Native: what the preload library needs, its log and its variable, and who cannot load it.

The log is one file of fixed size, mapped by every process of the run; its layout is written down
in ``preload.c``, and `mlrepro.capture.nativelog` reads it.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "LD_PRELOAD"

NAME = "native.log"
MAGIC = b"MLRPRLOG"
VERSION = 1
HEADER = struct.Struct("<8sII6QqqQQ")

HEADER_SIZE = 4096
SMALL = 65536
LARGEST = 256 * 2**20
SMALLEST = 4 * 2**20
LEAST_FREE = 8 * SMALLEST
"""On a disk with less free than this, the training itself needs what is left."""

EMULATED = 8 * 2**20
"""Where the file system cannot reserve space, it is written: about 5 ms."""

IN_MEMORY = 32 * 2**20
"""Where the file system is the machine's memory, space that is reserved is taken: 20 ms."""

_PLACE_OF_FOLDER = 256
_LONGEST_FOLDER = 2048
_TOUCHED = 2**20

_ELF = b"\x7fELF"
_BITS, _LITTLE = 2, 1
_LOAD, _DYNAMIC, _INTERPRETER, _NOTE = 1, 2, 3, 4
_NEEDED, _STRINGS = 1, 5
_SANITIZER = re.compile(rb"^lib(?:a|t|m|l|hwa)san\.so")
_LARGEST_PART = 2**20
_GO_NOTE = (b"Go\0\0", 4)


def create(folder: Path) -> None:
    """Make the log in a folder that exists, with all its space reserved.

    Raises
    ------
    OSError
        Where the disk is full: a sparse file would end the user's process with SIGBUS later.
    """
    path = folder / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = _reserve(descriptor, _affordable(folder))
        large = _power_of_two(size // 512)
        first = HEADER_SIZE + 8 * (SMALL + large)
        os.pwrite(descriptor, bytes(_TOUCHED), 0)  # so that the first touches cost no disk block
        where = os.fsencode(os.path.realpath(folder))
        if len(where) >= _LONGEST_FOLDER:
            raise OSError(f"the path of the log is too long: {folder}")
        os.pwrite(descriptor, where, _PLACE_OF_FOLDER)
        clock = (time.time_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        head = (MAGIC, VERSION, HEADER_SIZE, size, SMALL, large, first, first, 0, *clock, 0, 0)
        os.pwrite(descriptor, HEADER.pack(*head), 0)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def _affordable(folder: Path) -> int:
    disk = os.statvfs(folder)
    most = min(LARGEST, IN_MEMORY) if _is_in_memory(folder) else LARGEST
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE:
        raise OSError(f"too little free space for the log: {folder}")
    return max(SMALLEST, min(most, free // 100) // 4096 * 4096)


def _is_in_memory(folder: Path) -> bool:
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds = [line.rpartition(" - ")[2].split()[:1] for line in lines if number in line.split()[2:3]]
    return ["tmpfs"] in kinds or ["ramfs"] in kinds


def _reserve(descriptor: int, size: int) -> int:
    """Give the file its space, and return how much it got.

    The C library writes to each block where the file system reserves none by itself, which takes
    a second for 256 MiB. Blocks that are reserved and never written count as no data.
    """
    start = min(size, EMULATED)
    os.posix_fallocate(descriptor, 0, start)
    if not _is_reserved(descriptor):
        return start
    if size > start:
        os.posix_fallocate(descriptor, 0, size)
    return size


def _is_reserved(descriptor: int) -> bool:
    try:
        os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError:  # no data at all
        status = os.fstat(descriptor)
        if status.st_blocks * 512 >= status.st_size:
            return True
        os.pwrite(descriptor, bytes(status.st_size), 0)  # promised, and nothing behind it
    return False


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()


def preload(variables: Mapping[str, str], library: Path) -> dict[str, str]:
    """Return variables with the library in front of what the user preloads himself.

    Parameters
    ----------
    variables : mapping
        The environment of the program to be started.
    library : Path
        As `mlrepro.probe.library` returned it.
    """
    own = [part for part in re.split(r"[ :]+", variables.get(VARIABLE, "")) if part]
    rest = [part for part in own if part != str(library)]
    return {**variables, VARIABLE: ":".join([str(library), *rest])}


def unfit(program: str, path: str | None = None) -> str:
    """Say why a program cannot load the library; the empty string where it can.

    Parameters
    ----------
    program : str
        A path, or a name that is looked up.
    path : str, optional
        Where to look it up; the environment's ``PATH`` otherwise.

    Returns
    -------
    str
        ``static``, ``go``, ``musl``, ``foreign``, ``sanitizer``, ``setuid``; empty where the
        program can, or is none.
    """
    found = shutil.which(program, path=path)
    for _ in range(2):  # a script's interpreter is looked at, and that is no script
        if found is None:
            return ""
        try:
            word, found = _look(found)
        except (OSError, ValueError, struct.error, OverflowError):
            return ""
        if word or not found:
            return word
    return ""


def machine(path: str) -> tuple[int, int, int] | None:
    """Return class, byte order and machine of an ELF file; None where it is none."""
    try:
        with Path(path).open("rb") as file:
            return _machine(file.read(64))
    except OSError:
        return None


def _look(path: str) -> tuple[str, str]:
    """Return the word for a program, or else the interpreter that its first line names."""
    with Path(path).open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        head = file.read(512)
        if head.startswith(b"#!"):
            return "", _interpreter(head)
        if not head.startswith(_ELF):
            return "", ""
        # Another user's rights: the loader then takes libraries from trusted folders only.
        other_user = status.st_mode & 0o4000 and status.st_uid != os.getuid()
        other_group = status.st_mode & 0o2000 and status.st_gid != os.getgid()
        if other_user or other_group:
            return "setuid", ""
        if _machine(head) != machine(sys.executable):
            return "foreign", ""
        return _Elf(file.fileno(), head).word(), ""


def _interpreter(head: bytes) -> str:
    words = head[2:].split(b"\n", 1)[0].split()
    return os.fsdecode(words[0]) if words else ""


def _machine(head: bytes) -> tuple[int, int, int] | None:
    if len(head) < 20 or not head.startswith(_ELF):
        return None
    order = "<" if head[5] == _LITTLE else ">"
    return head[4], head[5], struct.unpack_from(order + "H", head, 18)[0]


@dataclass(frozen=True)
class _Part:
    """A program header."""

    kind: int
    offset: int
    address: int
    size: int


class _Elf:
    """A program of this machine, by its program headers."""

    def __init__(self, descriptor: int, head: bytes) -> None:
        self.descriptor = descriptor
        self.order = "<" if head[5] == _LITTLE else ">"
        self.wide = head[4] == _BITS
        self.parts = tuple(self._parts(head))

    def word(self) -> str:
        if any(_is_go(note) for note in self._contents(_NOTE)):
            return "go"
        interpreters = list(self._contents(_INTERPRETER))
        if not interpreters:
            return "static"
        if b"/ld-musl" in interpreters[0]:
            return "musl"
        return "sanitizer" if any(map(_SANITIZER.match, self._needed())) else ""

    def _parts(self, head: bytes) -> Iterator[_Part]:
        if self.wide:
            (start,) = struct.unpack_from(self.order + "Q", head, 32)
            size, count = struct.unpack_from(self.order + "HH", head, 54)
            form, fields = struct.Struct(self.order + "IIQQQQ"), (0, 2, 3, 5)
        else:
            (start,) = struct.unpack_from(self.order + "I", head, 28)
            size, count = struct.unpack_from(self.order + "HH", head, 42)
            form, fields = struct.Struct(self.order + "IIIIII"), (0, 1, 2, 4)
        table = self._read(start, size * count)
        for place in range(0, len(table) - form.size + 1, max(size, form.size)):
            values = form.unpack_from(table, place)
            yield _Part(*(values[number] for number in fields))

    def _contents(self, kind: int) -> Iterator[bytes]:
        return (self._read(p.offset, p.size) for p in self.parts if p.kind == kind)

    def _needed(self) -> Iterator[bytes]:
        form = struct.Struct(self.order + ("qQ" if self.wide else "iI"))
        for table in self._contents(_DYNAMIC):
            whole = table[: len(table) // form.size * form.size]
            entries = list(form.iter_unpack(whole))
            strings = next((value for tag, value in entries if tag == _STRINGS), 0)
            place = self._place(strings)
            for tag, value in entries:
                if tag == _NEEDED and place:
                    yield self._read(place + value, 64).split(b"\0", 1)[0]

    def _place(self, address: int) -> int:
        for part in self.parts:
            if part.kind == _LOAD and part.address <= address < part.address + part.size:
                return address - part.address + part.offset
        return 0

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self.descriptor, min(size, _LARGEST_PART), offset)


def _is_go(note: bytes) -> bool:
    """Whether notes hold Go's build id; its program header has it alone, or among others."""
    name, kind = _GO_NOTE
    place = note.find(name)
    return place >= 12 and note[place - 4 : place] in (
        struct.pack("<I", kind),
        struct.pack(">I", kind),
    )
