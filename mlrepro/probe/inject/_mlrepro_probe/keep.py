"""Keep: copy a file's bytes aside before the program changes them."""

import os

_LARGEST = 512 * 2**20
_FICLONE = 0x40049409


def copy(path, log, size):
    """Return the name of the copy in the log's folder, or an empty name where there is none."""
    name = "kept-%d-%d" % (os.getpid(), abs(hash(path)))
    target = log.folder + "/" + name
    try:
        if _is_locked(os.stat(path).st_ino):
            return ""
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _write(source, target, size):
                return name
        finally:
            os.close(source)
    except OSError:
        pass
    return ""


def _is_locked(inode):
    """Whether a process has record locks on a file: closing any descriptor of it ends them."""
    try:
        with open("/proc/locks", "rb") as file:
            return any(b"POSIX" in line and b":%d " % inode in line for line in file)
    except OSError:
        return False


def _write(source, target, size):
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if _cloned(descriptor, source):
            return True
        if size > _LARGEST or not _has_room(descriptor, size):
            os.unlink(target)
            return False
        offset = 0
        while True:
            sent = os.sendfile(descriptor, source, offset, 2**24)
            if sent == 0:
                return True
            offset += sent
    except OSError:
        os.unlink(target)
        raise
    finally:
        os.close(descriptor)


def _has_room(descriptor, size):
    """Whether a copy takes a sixteenth of what is free at most: copies never fill the disk."""
    disk = os.fstatvfs(descriptor)
    return size <= disk.f_bavail * disk.f_frsize // 16


def _cloned(descriptor, source):
    """Share the blocks where the file system can: no time, no space."""
    try:
        import fcntl

        fcntl.ioctl(descriptor, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True
