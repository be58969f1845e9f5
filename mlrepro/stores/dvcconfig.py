"""DVC's settings: read from DVC's four configuration files, without the 0.5 s of importing DVC."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_HAS_XDG: bool = sys.platform not in ("darwin", "win32")
_SECTION = re.compile(r"""^\s*\[\s*['"]?\s*(?P<name>.*?)\s*['"]?\s*\]\s*(?:\#.*)?$""")
_REMOTE = re.compile(r'^(remote|machine|db)\s+"(.*)"$')
_REMOTE_KEY = re.compile(r"^remote\.(.+)\.url$")
_PATHS = re.compile(r"^(cache\.dir|remote\..*\.url)$")


def is_initialised(root: Path) -> bool:
    """Say whether DVC was initialised in this very folder, not in one below or above it."""
    return (root / ".dvc").is_dir()


def setting(root: Path, key: str) -> str | None:
    """Return a setting as text, for instance ``core.remote`` or ``remote.store.url``.

    Files are looked at in DVC's order: the repository's ``config.local``, its ``config``, the
    user's, the machine's. Paths come back absolute, as DVC resolves them: relative to the folder
    of the file that holds them.
    """
    for path in _files(root):
        value = _read(path).get(key.lower() if not key.startswith("remote.") else key)
        if value is not None:
            return _resolved(path, value) if _PATHS.match(key) else value
    return None


def remotes(root: Path) -> tuple[str, ...]:
    """Return the names of DVC's remotes, in the order of their names."""
    found = (_REMOTE_KEY.match(key) for path in _files(root) for key in _read(path))
    return tuple(sorted({match[1] for match in found if match}))


def cache_dir(root: Path) -> Path:
    """Return DVC's cache folder; ``.mlrepro/cache`` where DVC was not initialised."""
    if not is_initialised(root):
        return root / ".mlrepro" / "cache"
    configured = setting(root, "cache.dir")
    return Path(configured) if configured else root / ".dvc" / "cache"


def is_shared(root: Path) -> bool:
    """Say whether the cache is shared by a group, so that its folders must be group-writable."""
    return setting(root, "cache.shared") == "group"


def is_true(value: str | None) -> bool:
    """Read a truth value as DVC does."""
    return value is not None and value.lower() in ("true", "1", "yes", "on")


def _files(root: Path) -> Iterator[Path]:
    yield root / ".dvc" / "config.local"
    yield root / ".dvc" / "config"
    yield _folder("DVC_GLOBAL_CONFIG_DIR", "XDG_CONFIG_HOME", "~/.config") / "config"
    yield _folder("DVC_SYSTEM_CONFIG_DIR", "XDG_CONFIG_DIRS", "/etc/xdg") / "config"


def _folder(variable: str, standard: str, otherwise: str) -> Path:
    if own := os.environ.get(variable):
        return Path(own)
    if not _HAS_XDG:
        import platformdirs  # noqa: PLC0415  12 ms, paid where XDG's rules do not hold

        is_global = variable == "DVC_GLOBAL_CONFIG_DIR"
        place = platformdirs.user_config_dir if is_global else platformdirs.site_config_dir
        return Path(place("dvc", "iterative"))
    base = os.environ.get(standard, "").split(os.pathsep)[0].strip() or otherwise
    return Path(base).expanduser() / "dvc"


def _read(path: Path) -> dict[str, str]:
    """Read one file in ConfigObj's form, as far as DVC writes it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    values, section = {}, ""
    for line in lines:
        if match := _SECTION.match(line):
            name = match["name"]
            remote = _REMOTE.match(name.replace("'", "").strip())
            section = f"{remote[1]}.{remote[2]}" if remote else name.lower()
        elif "=" in line and not line.lstrip().startswith("#"):
            key, _, value = line.partition("=")
            values[f"{section}.{key.strip().lower()}"] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        return value[1:end]
    return value.split(" #", 1)[0].rstrip()


def _resolved(file: Path, value: str) -> str:
    if re.match(r"\w+://", value):
        return value
    return os.path.abspath(file.parent / os.path.expanduser(value))
