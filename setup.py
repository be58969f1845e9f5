"""Setup: build the libraries in C, which no line of ``pyproject.toml`` can say.

They are no extension modules: they need no header of Python and link nothing of it, so one build
serves all Pythons. Where they cannot be built the installation succeeds without them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NAME = "mlrepro.probe._preload"
SOURCE = "mlrepro/probe/preload.c"
KERNEL = "mlrepro.comparators._kernel"
KERNEL_SOURCE = "mlrepro/comparators/kernel.c"
FLAGS = ("-O2", "-fPIC", "-shared", "-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden")
# Last, so that no CFLAGS make the sums of two machines differ.
EXACTLY = ("-O3", "-fno-fast-math", "-ffp-contract=off")
SLOWER = "mlrepro was built without its kernel in C: numpy compares arrays, at about half the speed"
LOST = "mlrepro was built without its preload library: only reads and writes of Python are seen"


class BuildLibrary(build_ext):
    """Compile and link with one call of the compiler."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return a name that does not tell the version of Python."""
        return fullname.replace(".", os.sep) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Build, or say in one sentence what is lost."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}.tmp")
        try:
            own = EXACTLY if ext.name == KERNEL else ("-ldl",)
            subprocess.run([*_compiler(), *ext.sources, "-o", str(fresh), *own], check=True)
            os.replace(fresh, target)  # a running program may have mapped the old one
        except (OSError, subprocess.CalledProcessError) as error:
            target.unlink(missing_ok=True)  # one of older sources would be worse than none
            why = error.strerror if isinstance(error, OSError) else "it cannot compile it"
            lost = SLOWER if ext.name == KERNEL else LOST
            sys.stderr.write(f"{lost} ({_compiler()[0]}: {why})\n")
        finally:
            fresh.unlink(missing_ok=True)


class BuildWheel(bdist_wheel):
    """Tag the wheel for its platform, and for every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags."""
        tags = super().get_tag()
        return ("py3", "none", tags[2]) if self.distribution.ext_modules else tags


def _compiler() -> list[str]:
    chosen = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or "clang"
    flags = [os.environ.get(name, "") for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS")]
    return [*shlex.split(chosen), *FLAGS, *(word for text in flags for word in shlex.split(text))]


def _is_for_this_system() -> bool:
    try:
        return sys.platform.startswith("linux") and bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):  # another C library
        return False


def _extensions() -> list[Extension]:
    found = [Extension(NAME, [SOURCE], optional=True)] if _is_for_this_system() else []
    if sys.platform.startswith("linux") and sys.maxsize > 1 << 32:
        found.append(Extension(KERNEL, [KERNEL_SOURCE], optional=True))
    return found


setup(
    ext_modules=_extensions(),
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": BuildWheel},
)
