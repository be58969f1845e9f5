"""Who seeds a generator and who makes one without a seed; that no draw changes by our looking."""

from __future__ import annotations

from tests.probe.fitting import prints_the_same, run


def told(seen) -> list[tuple[str, str | None]]:
    return [(one["name"], one["seed"]) for one in seen.seedings]


def test_seeds_of_the_global_generators_are_told(tmp_path) -> None:
    seen = prints_the_same(
        tmp_path,
        """
        import random
        import numpy as np
        random.seed(3)
        random.seed("three")
        np.random.seed(42)
        np.random.seed([1, 2])
        np.random.seed(np.int64(7))
        print(random.random(), np.random.rand())
        """,
    )

    assert told(seen) == [
        ("python", "3"),
        ("python", "three"),
        ("numpy", "42"),
        ("numpy", "[1, 2]"),
        ("numpy", "7"),
    ]


def test_generators_without_a_seed_are_told_with_the_line_that_made_them(tmp_path) -> None:
    seen = run(
        tmp_path,
        """
        import random
        import numpy as np
        np.random.default_rng()
        np.random.default_rng(seed=None)
        np.random.RandomState()
        np.random.Generator(np.random.PCG64())
        random.Random()
        np.random.seed()
        random.seed()
        """,
    )

    assert [(one["name"], one["where"].rpartition("/")[2]) for one in seen.seedings] == [
        ("numpy default_rng", "train.py:4"),
        ("numpy default_rng", "train.py:5"),
        ("numpy generator", "train.py:6"),
        ("numpy generator", "train.py:7"),
        ("python Random", "train.py:8"),
        ("numpy", "train.py:9"),
        ("python", "train.py:10"),
    ]
    assert {one["seed"] for one in seen.seedings} == {None}


def test_seeded_generators_copies_and_those_of_the_standard_library_are_no_news(tmp_path) -> None:
    seen = run(
        tmp_path,
        """
        import copy, pickle, random, tempfile
        import numpy as np
        rng = np.random.default_rng(1)
        old = np.random.RandomState(2)
        for one in (rng, old, random.Random(3)):
            copy.deepcopy(one)
            pickle.loads(pickle.dumps(one))
        rng.spawn(2) if hasattr(rng, "spawn") else None
        list(map(np.random.RandomState, (1, 2)))
        random.Random(5)
        tempfile.mktemp()
        """,
    )

    assert seen.seedings == []


def test_a_million_seedings_are_counted_and_not_written(tmp_path) -> None:
    seen = run(
        tmp_path,
        """
        import random
        for n in range(100_000):
            random.seed(n)
        """,
    )

    assert [one["count"] for one in seen.seedings[:11]] == [*range(1, 11), 16]
    assert seen.seedings[-1]["count"] == 100_000
    assert len(seen.seedings) < 30


def test_forked_children_count_for_themselves(tmp_path) -> None:
    seen = run(
        tmp_path,
        """
        import os, random
        random.seed(1)
        if os.fork() == 0:
            random.seed(2)
            os._exit(0)
        os.wait()
        """,
    )

    assert [(one["seed"], one["count"]) for one in seen.seedings] == [("1", 1), ("2", 1)]


def test_the_functions_stay_what_they_were(tmp_path) -> None:
    prints_the_same(
        tmp_path,
        """
        import inspect, pickle, random
        import numpy as np
        print(random.seed.__self__ is random._inst, type(random.seed).__name__)
        print(isinstance(np.random.RandomState(1), np.random.RandomState))
        for one in (random.seed, np.random.seed, np.random.default_rng, random.Random.seed):
            print(one.__module__, one.__qualname__, inspect.signature(one), one.__doc__[:40])
        for one in (np.random.seed, np.random.default_rng, random.Random):
            print(pickle.loads(pickle.dumps(one)) is one, pickle.dumps(one))
        np.random.seed(seed=3)
        random.seed(a=3, version=1)
        print(np.random.rand(), random.random(), np.random.default_rng(seed=1).random())
        for wrong in (np.random.seed, np.random.default_rng):
            try:
                wrong(-1)
            except ValueError as error:
                print(error)
        class Mine(random.Random):
            def seed(self, a=None):
                super().seed(a)
        print(Mine(3).random())
        """,
    )


def test_states_before_and_after_a_fit_tell_whether_it_drew(tmp_path) -> None:
    seen = prints_the_same(
        tmp_path,
        """
        import random
        import numpy as np
        from sklearn.base import BaseEstimator, _fit_context

        class Drawing(BaseEstimator):
            _parameter_constraints = {}

            @_fit_context(prefer_skip_nested_validation=True)
            def fit(self, draws):
                for _ in range(draws):
                    random.gauss(0, 1), np.random.randn()
                return self

        Drawing().fit(0)  # scikit-learn 1.9 imports at its first fit what draws
        random.seed(1), np.random.seed(1)
        for draws in (0, 1, 1, 2):  # every second one was kept from the first
            Drawing().fit(draws)
        print(random.getstate(), np.random.get_state())
        """,
    )

    for name in ("python", "numpy"):
        unmoved = [fit["entry"][name] == fit["exit"][name] for fit in seen.fits[1:]]
        assert unmoved == [True, False, False, False]
        assert seen.fits[2]["entry"][name] == seen.fits[1]["exit"][name]


def test_the_same_states_have_the_same_digests_in_every_process(tmp_path) -> None:
    script = """
    import random
    import numpy as np
    from sklearn.preprocessing import StandardScaler
    random.seed(1), np.random.seed(2)
    StandardScaler().fit([[1.0], [2.0]])
    """
    first, second = (tmp_path / name for name in "ab")
    first.mkdir(), second.mkdir()

    entries = [run(folder, script).fits[0]["entry"] for folder in (first, second)]

    assert entries[0] == entries[1]
