"""Enter: show folders at other places to one command, then become that command.

A script of its own: run as ``python -I -S _enter.py PLAN COMMAND…`` it imports nothing of mlrepro.
It makes a mount namespace (with a user namespace, unless root), so all that it mounts is seen by
the command and its children alone, and vanishes with the last of them. PLAN is JSON::

    {"binds": [["/home/ann/project", "/cache/rooms/1/project"], …], "fixed": ["/data/x.csv", …],
     "cwd": "/home/ann/project"}

What is fixed can be read there and not written, by root neither.

What does not exist is made to appear without touching the disk: a tmpfs lies over the deepest
existing ancestor, all that was in there is bound back, and the rest is created in the tmpfs. Where
that ancestor is ``/``, a new root is built likewise.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

NOT_FOUND, NOT_EXECUTABLE, CANNOT_ENTER = 127, 126, 125

# linux/mount.h, linux/sched.h
_BIND, _REC, _PRIVATE, _DETACH = 0x1000, 0x4000, 0x40000, 2
_READ_ONLY, _REMOUNT, _RELATIVE_TIME = 1, 0x20, 1 << 21
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_OLD_ROOT = ".mlrepro-old-root"

_libc = ctypes.CDLL(None, use_errno=True)


def _expect_zero(status: int, what: str) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() or None)
    status = _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None)
    _expect_zero(status, f"mounting at {target}")


def _enter_namespace() -> None:
    """Make a mount namespace of our own, with the user's own ids in it."""
    user, group = os.geteuid(), os.getegid()
    if user != 0 or _libc.unshare(_NEW_MOUNTS):
        _expect_zero(_libc.unshare(_NEW_USER | _NEW_MOUNTS), "making a user namespace")
        # The same ids inside as outside: we may mount all the same, until exec takes that away.
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    _mount("none", Path("/"), "", _REC | _PRIVATE)


class _View:
    """What the command will see."""

    def __init__(self) -> None:
        self._ours: set[int] = set()  # device numbers of our tmpfs
        self._shown: list[Path] = []  # where something is bound already

    def show(self, target: Path, source: int) -> None:
        """Let `target` be what the descriptor `source` is."""
        folder = stat.S_ISDIR(os.stat(source).st_mode)
        if not target.exists() or target.is_dir() != folder:
            self._make_room(target)
            self._create(target, folder=folder)
        self._bind(f"/proc/self/fd/{source}", target)
        self._shown.append(target.resolve())

    @staticmethod
    def fix(target: Path) -> None:
        """Let nobody write to what is shown at `target`."""
        now = os.statvfs(target).f_flag
        # A user namespace may add a restriction, and must repeat all that there are.
        kept = now & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
        kept |= _RELATIVE_TIME if now & os.ST_RELATIME else 0
        _mount("none", target, "", _REMOUNT | _BIND | _READ_ONLY | kept)

    def leave_old_root(self) -> None:
        """Take the old root away, if a new one was built."""
        old = Path("/") / _OLD_ROOT
        if os.stat("/").st_dev in self._ours and old.is_dir():
            _expect_zero(_libc.umount2(os.fsencode(old), _DETACH), "leaving the old root")
            old.rmdir()

    def _make_room(self, target: Path) -> None:
        """Let the deepest existing ancestor of `target` be a folder that we may write to."""
        missing, ancestor = target, target.parent
        while not ancestor.is_dir():
            missing, ancestor = ancestor, ancestor.parent
        ours = os.stat(ancestor).st_dev in self._ours
        # Inside what we show, mount points are made for real: a tmpfs would swallow outputs.
        if ours or any(ancestor.resolve().is_relative_to(shown) for shown in self._shown):
            return
        if ancestor.samefile("/"):
            self._build_root(without=missing.name)
        else:
            self._cover(ancestor, without=missing.name)

    def _cover(self, folder: Path, *, without: str) -> None:
        inner = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        names = [name for name in _names(folder) if name != without]
        self._mount_empty(folder, like=inner)
        for name in names:
            self._take_over(f"/proc/self/fd/{inner}/{name}", folder / name)
        os.close(inner)

    def _build_root(self, *, without: str) -> None:
        inner = os.open("/", os.O_PATH | os.O_DIRECTORY)
        names = [name for name in _names(Path("/")) if name != without]
        place = _building_place(names)
        under_place = os.open(place, os.O_PATH | os.O_DIRECTORY)
        self._mount_empty(place, like=inner)
        for name in names:
            if name != place.name:
                self._take_over(f"/proc/self/fd/{inner}/{name}", place / name)
        (place / place.name).mkdir()
        # Not recursively: what is mounted there by now is the new root itself.
        _mount(f"/proc/self/fd/{under_place}", place / place.name, "", _BIND)
        os.close(under_place)
        os.close(inner)
        _become_root(place)

    def _mount_empty(self, place: Path, *, like: int) -> None:
        mode = stat.S_IMODE(os.stat(like).st_mode)
        _mount("mlrepro", place, "tmpfs", 0, f"mode={mode:o}")
        self._ours.add(os.stat(place).st_dev)

    def _take_over(self, source: str, target: Path) -> None:
        if Path(source).is_symlink():
            target.symlink_to(os.readlink(source))
            return
        self._create(target, folder=Path(source).is_dir())
        self._bind(source, target)

    @staticmethod
    def _create(target: Path, *, folder: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            target.mkdir()
        else:
            target.touch(exist_ok=False)

    @staticmethod
    def _bind(source: str, target: Path) -> None:
        # Recursively: what lies mounted below may not be uncovered in a user namespace.
        _mount(source, target, "", _BIND | _REC)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  names, not paths
    except PermissionError as error:
        raise OSError(error.errno, f"{folder} cannot be listed") from error


def _building_place(names: list[str]) -> Path:
    """Return a folder below / with nothing mounted below it, to build a new root on."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for name in names:
        place = Path("/", name)
        free = not any(path.startswith(f"/{name}/") for path in mounted)
        if free and place.is_dir() and not place.is_symlink():
            return place
    raise OSError(errno.EBUSY, "there is no folder to build a new root on")


def _become_root(place: Path) -> None:
    """Make `place` the root; the old one stays below it, since what we show comes from there."""
    old = place / _OLD_ROOT
    old.mkdir()
    os.chdir(place)
    if _libc.pivot_root(b".", os.fsencode(_OLD_ROOT)):  # refused on an initial ramdisk
        old.rmdir()
        os.chroot(".")
    os.chdir("/")


def _become(command: list[str], folder: str) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; the command must not
        signal.signal(number, signal.SIG_DFL)
    # Not os.environ: Python itself sets LC_CTYPE in a C locale.
    entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    variables = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
    if b"PWD" in variables:
        variables[b"PWD"] = os.fsencode(folder)
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606  that is its purpose
    except OSError as error:
        script = shutil.which(command[0], path=os.fsdecode(variables.get(b"PATH", os.defpath)))
        if error.errno != errno.ENOEXEC or script is None:
            raise
    # No `#!`: a shell gives it to sh.
    os.execve("/bin/sh", ["/bin/sh", script, *command[1:]], variables)  # noqa: S606


def main(plan: str, *command: str) -> int:
    """Enter and become the command; return a status only where that fails."""
    wanted = json.loads(plan)
    try:
        _enter_namespace()
        view = _View()
        # All are opened before the first is shown: one may cover another.
        sources = [(Path(t), os.open(s, os.O_PATH)) for t, s in wanted["binds"]]
        for target, source in sources:
            view.show(target, source)
        for fixed in wanted["fixed"]:
            view.fix(Path(fixed))
        for _, source in sources:
            os.close(source)
        view.leave_old_root()
        os.chdir(wanted["cwd"])
    except OSError as error:
        sys.stderr.write(f"mlrepro: {error.strerror}\n")
        return CANNOT_ENTER
    try:
        _become(list(command), wanted["cwd"])
    except OSError as error:
        sys.stderr.write(f"mlrepro: `{command[0]}` cannot be started: {error.strerror}\n")
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
    return CANNOT_ENTER


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
