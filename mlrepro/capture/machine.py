"""Machine: the platform of a run, read from the kernel's files without starting a program."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mlrepro.manifest import Change, Platform, ThreadPool

_QUOTA_V2 = "cpu.max"
_QUOTA_V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
# A difference in these does not change numbers by itself.
_NOT_COMPARED = ("host",)
# Kernels are chosen by these. What the kernel's list has beside them changes from one Linux to the
# next and makes no numbers.
_FEATURES = frozenset(
    (
        *("sse2", "pni", "ssse3", "sse4_1", "sse4_2", "avx", "f16c", "fma", "fma4", "avx2"),
        *("avx_vnni", "avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl", "avx512ifma"),
        *("avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),
        *("asimd", "fphp", "asimdhp", "asimddp", "asimdfhm", "fcma", "bf16", "i8mm"),
        *("sve", "sve2", "svebf16", "svei8mm", "sme", "sme2", "neon", "vfpv4"),
    )
)
_WORDS = {
    "cpu_flags": "all CPU flags",
    "caches": "CPU caches",
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
        cpu_flags=_digest(flags),
        cpu_features=tuple(sorted(_FEATURES.intersection(flags))),
        caches=_caches(system / "sys/devices/system/cpu/cpu0/cache"),
        cores=os.cpu_count() or 0,
        affinity=_affinity(),
        quota=_quota(proc, system / "sys/fs/cgroup"),
        memory=_memory(_text(proc / "meminfo")),
        gpu=(*_gpus(proc / "driver/nvidia"), *_amd_gpus(system / "sys")),
        host=name.nodename,
    )


def changes(recorded: Platform, current: Platform) -> tuple[Change, ...]:
    """Name what differs between two machines, in the order of the manifest's fields."""
    found = []
    for name in Platform.__dataclass_fields__:
        before, now = getattr(recorded, name), getattr(current, name)
        if before == now or name in _NOT_COMPARED:
            continue
        if name == "cpu_features":
            found += _feature_change(before, now)
        elif name != "caches" or (before and now):  # an older mlrepro, or a container, hides them
            found.append(Change(_WORDS.get(name, name), _words(name, before), _words(name, now)))
    return tuple(found)


def _feature_change(before: tuple[str, ...], now: tuple[str, ...]) -> list[Change]:
    """Name only the features that one of two processors lacks."""
    if not before or not now:  # an older mlrepro did not tell
        return []
    sides = [
        " ".join(x for x in one if x not in other) for one, other in ((before, now), (now, before))
    ]
    return [Change("CPU features", *(words or "none besides" for words in sides))]


def kernels(recorded: Iterable[ThreadPool], current: Iterable[ThreadPool]) -> tuple[Change, ...]:
    """Name the libraries that chose another kernel for their processor, where both sides tell."""
    before, now = (
        {one.api: one.kernel for one in side if one.kernel} for side in (recorded, current)
    )
    return tuple(
        Change(f"{api} kernel", kernel, now[api])
        for api, kernel in before.items()
        if now.get(api, kernel) != kernel
    )


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


def _cpu(text: str) -> tuple[str, list[str]]:
    """Return the processor's name and its flags (``Features`` on ARM)."""
    fields: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name") or " ".join(
        f"{key} {fields[key]}" for key in ("CPU implementer", "CPU part") if key in fields
    )
    return model, sorted((fields.get("flags") or fields.get("Features") or "").split())


def _digest(flags: list[str]) -> str:
    return hashlib.sha256(" ".join(flags).encode()).hexdigest()[:16] if flags else ""


def _caches(folder: Path) -> tuple[str, ...]:
    """Return level and size of the first core's caches that hold data: ``L1d 32K``."""
    found = []
    for index in sorted(_entries(folder), key=lambda path: path.name):
        level, kind, size = (_text(index / name).strip() for name in ("level", "type", "size"))
        if level and size and kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return tuple(found)


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
    for card in sorted(_entries(driver / "gpus")):
        model = re.search(r"^Model:\s+(.+)$", _text(card / "information"), re.MULTILINE)
        words = f"{model[1].strip() if model else 'NVIDIA GPU'}"
        found.append(f"{words}, driver {version[1]}" if version else words)
    return tuple(found)


def _amd_gpus(sysfs: Path) -> tuple[str, ...]:
    """Name, instruction set and driver of each GPU that AMD's compute driver shows."""
    version = _text(sysfs / "module/amdgpu/version").strip()  # absent with the kernel's own driver
    found = []
    for node in sorted(_entries(sysfs / "class/kfd/kfd/topology/nodes")):
        lines = _text(node / "properties").splitlines()
        numbers = {key: int(n) for key, _, n in (x.partition(" ") for x in lines) if n.isdigit()}
        if numbers.get("simd_count"):  # a node without is a processor
            name = f"AMD {_text(node / 'name').strip() or 'GPU'}"
            isa = numbers.get("gfx_target_version", 0)  # 90010: gfx90a
            words = f"{name} gfx{isa // 10000}{isa // 100 % 100:x}{isa % 100:x}" if isa else name
            found.append(f"{words}, driver {version}" if version else words)
    return tuple(found)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
