"""Distributions as installers leave them, made by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from mlrepro.capture.observation import Interpreter


def row(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(data)}"


def install(
    site: Path,
    name: str = "demo",
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    direct: object = None,
    installer: str = "pip",
) -> Path:
    """Lay out a distribution and its files; return its `dist-info`."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    files = {f"{name}/__init__.py": "x = 1\n"} if files is None else files
    rows = []
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
        quoted = f'"{path}"' if "," in path else path
        rows.append(row(quoted, text.encode()))
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    if direct is not None:
        text = direct if isinstance(direct, str) else json.dumps(direct)
        (info / "direct_url.json").write_text(text)
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n")
    return info


def edit(path: Path, text: str) -> None:
    """Change a file later than it was installed."""
    path.write_text(text)
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def python_with(
    *folders: Path, prefix: Path | str = "prefix", base: Path | str = ""
) -> Interpreter:
    return Interpreter(
        pid=1,
        argv=("python",),
        executable="python",
        prefix=str(prefix),
        base_prefix=str(base or prefix),
        version="3.11.7",
        implementation="cpython",
        path=tuple(map(str, folders)),
        build="3.11.7 (main) [GCC]",
    )
