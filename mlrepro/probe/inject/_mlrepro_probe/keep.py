"""Keep: copy a file's bytes aside before the program changes them."""

import os

_LARGEST = 512 * 2**20
_FICLONE = 0x40049409


def copy(path, log, size):
    """Return the name of the copy in the log's folder, or an empty name where there is none."""
    name = "kept-%d-%d" % (os.getpid(), abs(hash(path)))
    target = log.folder + "/" + name
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _write(source, target, size):
                return name
        finally:
            os.close(source)
    except OSError:
        pass
    return ""


def _write(source, target, size):
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if _cloned(descriptor, source):
            return True
        if size > _LARGEST:
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


def _cloned(descriptor, source):
    """Share the blocks where the file system can: no time, no space."""
    try:
        import fcntl

        fcntl.ioctl(descriptor, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True
