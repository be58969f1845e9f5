"""Installed modules that a process had imported, as the probe tells them at its end."""

from __future__ import annotations

import pytest

from tests.probe.watching import NAMES, Bench, interpreters, same, version

PROGRAM = """
import importlib.util, os, sys
sys.path.insert(0, os.path.abspath("lib/site-packages"))
sys.path.append(os.path.abspath("lib/site-packages"))  # twice

class Hostile(type(sys)):
    def __getattribute__(self, name):
        print("asked for", name)
        raise RuntimeError(name)

spec = importlib.util.find_spec("lazy")
spec.loader = importlib.util.LazyLoader(spec.loader)
sys.modules["lazy"] = lazy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lazy)

import package.inner, single
sys.modules["hostile"] = Hostile("hostile")
sys.modules["none"] = None
sys.modules["text"] = "text"
sys.modules["odd"] = type(sys)("odd")
sys.modules["odd"].__file__ = 5
os.mkdir("done")
if "os" in sys.argv:
    os._exit(3)
"""


@pytest.mark.parametrize("observer", NAMES)
@pytest.mark.parametrize("python", interpreters(), ids=version)
def test_installed_modules_are_told_and_no_module_is_asked(tmp_path, python, observer):
    bench = Bench(observer, tmp_path)
    for name in ("package/__init__", "package/inner", "single", "unused", "lazy"):
        bench.write(f"lib/site-packages/{name}.py", f"print('import of {name}')")
    bench.write("train.py", PROGRAM)

    bare = bench.bare(python, "train.py")
    (tmp_path / "done").rmdir()
    seen, observation = bench.watch(python, "train.py")
    (tmp_path / "done").rmdir()
    _, left = bench.watch(python, "train.py", "os")

    site = tmp_path / "lib" / "site-packages"
    expected = {"package/__init__.py", "package/inner.py", "single.py", "lazy.py"}
    assert same(bare, seen)
    assert {p for p in observation.imported if p.startswith(f"{site}/")} == {
        f"{site}/{name}" for name in expected
    }
    assert set(left.imported) == set(observation.imported)
