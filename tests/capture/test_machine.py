"""The platform, of this machine and of made-up ones."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from mlrepro.capture import machine
from mlrepro.drift import Change
from mlrepro.manifest import Platform, ThreadPool

CPU = "processor : 0\nmodel name : Fast 9000\nflags : sse avx\n\nprocessor : 1\n"


def made_up(tmp_path: Path, files: dict[str, str]) -> Platform:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return machine.platform(proc=tmp_path / "proc", system=tmp_path)


def test_this_machine_is_described():
    found = machine.platform()

    assert found.machine == os.uname().machine
    assert found.cores >= found.affinity >= 1
    assert found == machine.platform()


def test_a_machine_that_tells_nothing_has_empty_fields(tmp_path):
    found = made_up(tmp_path, {})

    assert (found.cpu, found.cpu_flags, found.memory, found.quota) == ("", "", 0, None)
    assert found.gpu == ()


def test_processor_memory_and_system_are_read(tmp_path):
    found = made_up(
        tmp_path,
        {
            "proc/cpuinfo": CPU,
            "proc/meminfo": "MemTotal:       2048 kB\n",
            "etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n',
        },
    )

    assert (found.cpu, found.memory, found.system) == ("Fast 9000", 2**21, "Debian GNU/Linux 12")


def test_the_order_of_cpu_flags_does_not_matter(tmp_path):
    one = made_up(tmp_path / "1", {"proc/cpuinfo": CPU})
    two = made_up(tmp_path / "2", {"proc/cpuinfo": CPU.replace("sse avx", "avx sse")})
    three = made_up(tmp_path / "3", {"proc/cpuinfo": CPU.replace("sse avx", "avx")})

    assert one.cpu_flags == two.cpu_flags != three.cpu_flags


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_the_smallest_quota_of_the_cgroups_above_counts(tmp_path, files, quota):
    assert made_up(tmp_path, files).quota == quota


def test_gpus_are_read_from_the_driver(tmp_path):
    found = made_up(
        tmp_path,
        {
            "proc/driver/nvidia/version": "NVRM version: UNIX Kernel Module  535.104.05  Sat\n",
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H100\nIRQ: 1\n",
        },
    )

    assert found.gpu == ("NVIDIA H100, driver 535.104.05",)


def test_amd_gpus_are_read_from_their_compute_driver(tmp_path):
    nodes = "sys/class/kfd/kfd/topology/nodes"
    found = made_up(
        tmp_path,
        {
            f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
            f"{nodes}/1/properties": "simd_count 440\ngfx_target_version 90010\n",
            f"{nodes}/1/name": "aldebaran\n",
            f"{nodes}/2/properties": "simd_count 96\ndamaged\n",
            "sys/module/amdgpu/version": "6.3.6\n",
        },
    )

    assert found.gpu == ("AMD aldebaran gfx90a, driver 6.3.6", "AMD GPU, driver 6.3.6")


def test_features_that_numerical_libraries_choose_their_code_by_are_readable(tmp_path):
    found = made_up(tmp_path, {"proc/cpuinfo": "flags : fpu vme avx2 fma avx512f rtm\n"})
    arm = made_up(tmp_path / "arm", {"proc/cpuinfo": "Features : fp asimd crc32 sve\n"})

    assert found.cpu_features == ("avx2", "avx512f", "fma")
    assert arm.cpu_features == ("asimd", "sve")


def test_caches_are_read(tmp_path):
    cache = "sys/devices/system/cpu/cpu0/cache"
    kinds = [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "512K")]
    files = {
        f"{cache}/index{index}/{name}": value + "\n"
        for index, kind in enumerate(kinds)
        for name, value in zip(("level", "type", "size"), kind, strict=True)
    }

    assert made_up(tmp_path, files).caches == ("L1d 32K", "L2 512K")


def test_only_the_cpu_features_that_one_machine_lacks_are_named():
    one = Platform(cpu_features=("avx", "avx2", "fma"))
    two = Platform(cpu_features=("avx", "fma"))
    old = Platform()

    assert machine.changes(one, two) == (Change("CPU features", "avx2", "none besides"),)
    assert machine.changes(old, one) == ()


def test_differences_are_named_and_the_machines_name_is_none():
    one = machine.platform()
    two = dataclasses.replace(one, host="elsewhere", cores=one.cores + 2, quota=1.5)

    assert machine.changes(one, one) == ()
    assert machine.changes(one, two) == (
        Change("cores", str(one.cores), str(one.cores + 2)),
        Change("CPU quota", str(one.quota or "none"), "1.5"),
    )


def test_another_kernel_of_a_library_is_named_where_both_sides_tell():
    recorded = ThreadPool("openblas", "libopenblas.so", 2, "Nehalem"), ThreadPool("openmp", "x", 2)
    current = ThreadPool("openblas", "libopenblas.so", 8, "Haswell"), ThreadPool("mkl", "y", 2, "z")

    assert machine.kernels(recorded, current) == (Change("openblas kernel", "Nehalem", "Haswell"),)
    assert machine.kernels(recorded, recorded) == ()
