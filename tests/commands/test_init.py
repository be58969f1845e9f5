"""Init: what it does to a folder, and what it says of this installation."""

from __future__ import annotations

from mlrepro import probe
from mlrepro.commands.init import init


def test_a_second_init_has_nothing_to_do(tmp_path, home):
    first = init(tmp_path)

    again = init(tmp_path)

    assert any("git repository" in sentence for sentence in first)
    assert again == ()


def test_an_installation_without_the_native_observer_is_told(tmp_path, home, monkeypatch):
    init(tmp_path)
    monkeypatch.setattr(probe, "library", lambda: None)

    (said,) = init(tmp_path)

    assert said.startswith("what native libraries read is seen only in part: the preload library")
