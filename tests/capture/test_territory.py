"""Whose a path is."""

from mlrepro.capture.territory import Territory


def test_what_a_rebuild_keeps_in_a_cache_elsewhere_is_mlrepros_own(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/cache")
    room = "/scratch/cache/mlrepro/rooms/1a2b"
    territory = Territory(f"{room}/at/project", home="/home/ann")

    assert not territory.holds(f"{room}/work/evaluations/rows-1.json")
    assert territory.holds(f"{room}/at/project/model.txt")
    assert territory.holds("/scratch/cache/other/data.csv")
