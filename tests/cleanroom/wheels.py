"""Wheels made by hand, served from a folder: environments for tests that need no network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import mlrepro
from mlrepro.capture import environment
from mlrepro.locks import Lock, Requirement
from mlrepro.stores import uv


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel of pure Python."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts:
        lines = [f"{script} = {target}\n" for script, target in scripts.items()]
        content[f"{info}/entry_points.txt"] = "[console_scripts]\n" + "".join(lines)
    rows = [f"{path},{_hash(text.encode())},{len(text)}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return target


def _hash(data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def numlib(folder: Path, version: str) -> Path:
    """Write a wheel of a package whose numbers are those of its version, with a program."""
    code = (
        "import sys\n\n"
        f"def weight(n):\n    return n * {version}\n\n"
        "def main():\n"
        "    with open('model.json', 'w') as file:\n"
        "        file.write('[%r]' % weight(3))\n"
    )
    return wheel(
        folder, "numlib", version, {"numlib.py": code}, scripts={"train-it": "numlib:main"}
    )


def made(target: Path, *requirements: str, links: Path, python: Path) -> Path:
    """Make an environment as a user would, with uv and nothing but the wheels of a folder."""
    program = uv.find()
    subprocess.run([program, "venv", "-q", "--no-config", "--python", python, target], check=True)
    if requirements:
        install(target, *requirements, links=links)
    return target


def install(target: Path, *requirements: str, links: Path) -> None:
    """Install what a folder of wheels has."""
    subprocess.run(
        [uv.find(), "pip", "install", "-q", "--no-config", "--no-index", "--find-links", links,
         "--python", target / "bin/python", *requirements],
        check=True,
    )  # fmt: skip


def develop(
    target: Path, name: str, version: str, source: Path, scripts: Mapping[str, str]
) -> None:
    """Install a package of a project as `pip install --editable` does."""
    folder = packages_of(target)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("")
    url = {"url": f"file://{source.parent}", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(url))
    (folder / f"__editable__.{name}.pth").write_text(f"{source}\n")
    for script, place in scripts.items():
        module, _, function = place.partition(":")
        path = target / "bin" / script
        path.write_text(f"#!{target}/bin/python\nfrom {module} import {function}\n{function}()\n")
        path.chmod(0o755)


def with_mlrepro(target: Path) -> str:
    """Put a copy of mlrepro into an environment; return what starts it with what it needs."""
    folder = packages_of(target)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(mlrepro.__file__).parent, folder / "mlrepro", ignore=ignored)
    needed = sysconfig.get_path("purelib")
    return f"import sys; sys.path.append({needed!r}); from mlrepro.cli import entry; entry()"


def packages_of(target: Path) -> Path:
    """Return an environment's folder of packages."""
    return next(target.glob("lib/python3*/site-packages"))


def hashes(links: Path, name: str, version: str) -> tuple[str, ...]:
    """Return the hashes of the wheels of a version."""
    found = links.glob(f"{name}-{version}-*.whl")
    return tuple(f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found)


def lock_of(prefix: Path, links: Path, *more: Requirement) -> Lock:
    """Return the lock of an environment whose wheels lie in a folder."""
    asked = environment.interpreter(str(prefix / "bin/python"), variables={"PATH": os.defpath})
    known, packages = environment.fingerprint(asked)
    found = {one.name: Requirement(one.name, one.version, hashes(links, one.name, one.version))
             for one in packages}  # fmt: skip
    found.update({one.name: one for one in more})
    assert known.fingerprint is not None
    return Lock(known.fingerprint, known.python, "cpython", tuple(found.values()))
