"""Layers: what one room adds to an environment that rebuilds share: the project's own packages.

An editable install leads to the author's working tree. Here the room's own copy is found instead:
its folders stand in front of ``PYTHONPATH``, its metadata and console scripts lie beside the room.
"""

from __future__ import annotations

import configparser
import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro import paths
from mlrepro.cleanroom.room import Room
from mlrepro.errors import UvMissingError
from mlrepro.locks import Lock
from mlrepro.stores import uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SOURCE = "project:"
_SCRIPT = re.compile(r"([\w.-]+)\s*=\s*([\w.]+)\s*:\s*([\w.]+)(?:\s*\[.*\])?", re.ASCII)
_RUNNERS = ("conda", "mamba", "micromamba")


@dataclass(frozen=True)
class Layer:
    """What a room adds.

    Attributes
    ----------
    modules : tuple of str
        Folders of the room's code to import from, relative to its root; ``.`` for itself.
    metadata : Path or None
        The folder with the ``dist-info`` of the project's packages.
    programs : Path or None
        A folder for the front of the PATH.
    prefix : Path or None
        The environment again, with the project's console scripts in its ``bin``: what a Makefile
        finds that says ``.venv/bin/train-model``. None where the project has no such scripts.
    """

    modules: tuple[str, ...] = ()
    metadata: Path | None = None
    programs: Path | None = None
    prefix: Path | None = None


def put(lock: Lock, room: Room, *, prefix: Path) -> Layer:
    """Lay out what a room adds to the environment of a lock.

    Parameters
    ----------
    lock : Lock
        Its requirements ``project:<path>`` are installed so.
    room : Room
        Where the code lies.
    prefix : Path
        The environment, whose Python the console scripts start.
    """
    own = [one for one in lock.requirements if one.source.startswith(_SOURCE)]
    layer = room.work / "layer"
    programs, metadata = layer / "bin", layer / "lib"
    for folder in (programs, metadata):
        folder.mkdir(parents=True, exist_ok=True)
    modules: list[str] = []
    found: list[str] = []
    for one in own:
        path = one.source.removeprefix(_SOURCE)
        project = room.root if path == "." else paths.resolve_inside(room.root, path)
        modules += [_joined(path, inner) for inner in _importable(project)]
        scripts = dict(_scripts(project))
        _describe(metadata, one.name, one.version, scripts)
        for name, (module, function) in scripts.items():
            _write(programs / name, _console(prefix, module, function))
        found += scripts
    for name in _RUNNERS:
        _write(programs / name, _RUNNER.format(name=name, here=shlex.quote(str(programs))))
    # That of mlrepro's own environment is on nobody's PATH.
    with contextlib.suppress(UvMissingError, FileExistsError):
        (programs / "uv").symlink_to(uv.find())
    seen = _view(layer / "env", prefix, programs, found) if found else None
    return Layer(tuple(dict.fromkeys(modules)), metadata if own else None, programs, seen)


def _view(target: Path, prefix: Path, programs: Path, scripts: Iterable[str]) -> Path:
    """Show an environment again, with more programs: a Python there has its packages, too."""
    (target / "bin").mkdir(parents=True)
    for entry in prefix.iterdir():
        if entry.name == "pyvenv.cfg":  # a link would lead Python to the other prefix
            shutil.copy(entry, target)
        elif entry.name != "bin":
            (target / entry.name).symlink_to(entry)
    for entry in (prefix / "bin").iterdir():
        (target / "bin" / entry.name).symlink_to(entry)
    for name in scripts:
        own = target / "bin" / name
        own.unlink(missing_ok=True)
        own.symlink_to(programs / name)
    return target


def _joined(path: str, inner: str) -> str:
    return inner if path == "." else path if inner == "." else f"{path}/{inner}"


def _importable(project: Path) -> list[str]:
    """Return where a project's packages lie: in what it declares, in ``src``, or at its top."""
    declared = [name for name in _declared(project) if (project / name).is_dir()]
    if declared:
        return list(dict.fromkeys(declared))
    source = project / "src"
    held = source.is_dir() and not (source / "__init__.py").exists()
    return ["src"] if held and any(source.iterdir()) else ["."]


def _declared(project: Path) -> Iterator[str]:
    tool = _toml(project / "pyproject.toml").get("tool", {})
    with contextlib.suppress(AttributeError, TypeError):
        setuptools = tool.get("setuptools", {})
        directories = setuptools.get("package-dir", {})
        if "" in directories:
            yield _plain(directories[""])
        elif isinstance(setuptools.get("packages"), dict):
            yield from map(_plain, setuptools["packages"].get("find", {}).get("where", ()))
        for one in tool.get("poetry", {}).get("packages", ()):
            yield _plain(one.get("from", "."))
        targets = tool.get("hatch", {}).get("build", {}).get("targets", {})
        for one in targets.get("wheel", {}).get("packages", ()):
            yield _plain(one.rpartition("/")[0] or ".")
    directories = _ini(project / "setup.cfg").get("options", {}).get("package_dir", "")
    yield from (_plain(line.partition("=")[2]) for line in directories.split("\n")
                if line.partition("=")[0].strip() == "" and "=" in line)  # fmt: skip


def _plain(name: str) -> str:
    """Return a declared folder, if it stays in the project; the code may be a stranger's."""
    name = name.strip().removeprefix("./").rstrip("/") or "."
    return name if name == "." else paths.inside(name, where="package folder")


def _scripts(project: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the console scripts that a project declares: name, module, function."""
    told = _toml(project / "pyproject.toml")
    with contextlib.suppress(AttributeError, TypeError):
        tables = (
            told.get("project", {}).get("scripts", {}),
            told.get("project", {}).get("gui-scripts", {}),
            told.get("tool", {}).get("poetry", {}).get("scripts", {}),
        )
        for table in tables:
            yield from _read(f"{name} = {target}" for name, target in table.items())
    entries = _ini(project / "setup.cfg").get("options.entry_points", {})
    yield from _read(entries.get("console_scripts", "").split("\n"))
    with contextlib.suppress(OSError):
        yield from _read(_CALLED.findall((project / "setup.py").read_text(errors="replace")))


_CALLED = re.compile(r"""["']([\w.-]+\s*=\s*[\w.]+\s*:\s*[\w.]+)["']""", re.ASCII)


def _read(lines: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in lines:
        if found := _SCRIPT.fullmatch(line.strip()):
            yield found[1], (found[2], found[3])


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _ini(path: Path) -> Mapping[str, Mapping[str, str]]:
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        parser.read(path, encoding="utf-8")
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _describe(
    folder: Path, name: str, version: str, scripts: Mapping[str, tuple[str, str]]
) -> None:
    """Let `importlib.metadata` find a package of the project."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{script} = {module}:{what}\n" for script, (module, what) in scripts.items()]
    if lines:
        (info / "entry_points.txt").write_text("[console_scripts]\n" + "".join(lines))


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _console(prefix: Path, module: str, function: str) -> str:
    """Return a console script; its first line starts any Python, however long its path is."""
    python = shlex.quote(str(prefix / "bin/python"))
    return (
        f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n"
        f"import sys\nfrom {module} import {function.partition('.')[0]}\n"
        f"sys.exit({function}())\n"
    )


_RUNNER = """\
#!/bin/sh
# mlrepro: `{name} run …` means the room's environment; anything else, the {name} of this machine.
if [ "$1" = run ]; then
    shift
    while [ $# -gt 0 ]; do
        case "$1" in
            --cwd) cd "$2" || exit 1; shift 2 ;;
            -n | --name | -p | --prefix | -e | --env | -r | --root-prefix) shift 2 ;;
            --) shift; break ;;
            -*) shift ;;
            *) break ;;
        esac
    done
    exec "$@"
fi
PATH=$(printf %s ":$PATH:" | sed "s|:"{here}":|:|"); PATH=${{PATH#:}}
exec {name} "$@"
"""
