"""Machine: the platform of a run, read from the kernel's files without starting a program."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from mlrepro.manifest import Change, Platform

_QUOTA_V2 = "cpu.max"
_QUOTA_V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
# A difference in these does not change numbers by itself.
_NOT_COMPARED = ("host",)
_WORDS = {
    "cpu_flags": "CPU features",
    "cpu": "CPU",
    "cores": "cores",
    "affinity": "usable cores",
    "quota": "CPU quota",
    "libc": "C library",
    "gpu": "GPU",
}


def platform(*, proc: Path = Path("/proc"), system: Path = Path("/")) -> Platform:
    """Return what is known of this machine; fields that cannot be read stay empty.

    Parameters
    ----------
    proc, system : Path
        Where to look for the kernel's files and for ``etc`` and ``sys``.
    """
    name = os.uname()
    model, flags = _cpu(_text(proc / "cpuinfo"))
    return Platform(
        system=_system(system) or name.sysname,
        kernel=name.release,
        libc=_libc(),
        machine=name.machine,
        cpu=model,
        cpu_flags=flags,
        cores=os.cpu_count() or 0,
        affinity=_affinity(),
        quota=_quota(proc, system / "sys/fs/cgroup"),
        memory=_memory(_text(proc / "meminfo")),
        gpu=_gpus(proc / "driver/nvidia"),
        host=name.nodename,
    )


def changes(recorded: Platform, current: Platform) -> tuple[Change, ...]:
    """Name what differs between two machines, in the order of the manifest's fields."""
    found = []
    for name in Platform.__dataclass_fields__:
        before, now = getattr(recorded, name), getattr(current, name)
        if before != now and name not in _NOT_COMPARED:
            found.append(Change(_WORDS.get(name, name), _words(name, before), _words(name, now)))
    return tuple(found)


def _words(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if name == "memory" and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    return "none" if value is None else str(value)


def _system(system: Path) -> str:
    for path in (system / "etc/os-release", system / "usr/lib/os-release"):
        fields = dict(line.partition("=")[::2] for line in _text(path).splitlines())
        name = fields.get("NAME", "").strip("\"'")
        version = fields.get("VERSION_ID", "").strip("\"'")
        if name:
            return f"{name} {version}".strip()
    return ""


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # musl, macOS
        return ""


def _cpu(text: str) -> tuple[str, str]:
    """Return the processor's name and the digest of its features (``Features`` on ARM)."""
    fields: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name") or " ".join(
        f"{key} {fields[key]}" for key in ("CPU implementer", "CPU part") if key in fields
    )
    flags = sorted((fields.get("flags") or fields.get("Features") or "").split())
    if not flags:
        return model, ""
    return model, hashlib.sha256(" ".join(flags).encode()).hexdigest()[:16]


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _quota(proc: Path, cgroup: Path) -> float | None:
    """Return the smallest number of CPUs that any cgroup above this process allows."""
    limits = []
    for line in _text(proc / "self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            limits += [_limit_v2(folder) for folder in _upwards(cgroup, path)]
            limits += [_limit_v2(folder) for folder in _upwards(cgroup / "unified", path)]
        elif "cpu" in controllers.split(","):
            for mount in (cgroup / "cpu", cgroup / controllers):
                limits += [_limit_v1(folder) for folder in _upwards(mount, path)]
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(mount: Path, path: str) -> list[Path]:
    """Return the process's group and those above it; in a container, its mount is the top."""
    folder = mount / path.lstrip("/")
    inside = [folder, *folder.parents]
    return [one for one in inside if one == mount or mount in one.parents]


def _limit_v2(folder: Path) -> float | None:
    quota, _, period = _text(folder / _QUOTA_V2).strip().partition(" ")
    return _ratio(quota, period)


def _limit_v1(folder: Path) -> float | None:
    quota, period = (_text(folder / name).strip() for name in _QUOTA_V1)
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None  # `max`, `-1`, or no such file
    return round(int(quota) / int(period), 3)


def _memory(text: str) -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _gpus(driver: Path) -> tuple[str, ...]:
    """Name and driver of each NVIDIA GPU, as its kernel module shows them."""
    version = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", _text(driver / "version"))
    found = []
    try:
        cards = sorted((driver / "gpus").iterdir())
    except OSError:
        return ()
    for card in cards:
        model = re.search(r"^Model:\s+(.+)$", _text(card / "information"), re.MULTILINE)
        words = f"{model[1].strip() if model else 'NVIDIA GPU'}"
        found.append(f"{words}, driver {version[1]}" if version else words)
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
