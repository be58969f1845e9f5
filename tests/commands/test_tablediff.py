"""Rows of two tables as sets, also where their columns are not the same."""

import pytest

from mlrepro.commands import tablediff

TABLE = "id,x,city\n1,0.5,a\n2,1.5,b\n3,2.5,c\n4,3.5,d\n"


@pytest.fixture
def overlap(tmp_path):
    """Return how two tables overlap, and what only one of them has."""

    def found(a, b):
        paths = [tmp_path / name for name in "abxy"]
        for path, text in zip(paths, (a, b), strict=False):
            path.write_bytes(text.encode())
        rows = tablediff.rows(*paths[:2], "t.csv")
        tablediff.write_apart(*paths)
        return rows, *(path.read_text().splitlines() for path in paths[2:])

    return found


def test_a_new_column_does_not_hide_that_rows_are_the_same(overlap):
    rows, gone, come = overlap(TABLE, "new,city,id,x\n9,a,1,0.5\n9,zz,3,2.5\n9,d,4,3.5\n")

    assert (rows.a, rows.b, rows.both, rows.shifted, rows.moved) == (4, 3, 2, True, False)
    assert (rows.gone, rows.come) == ((), ("new",))
    assert gone == ["id,x,city", "2,1.5,b", "3,2.5,c"]
    assert come == ["id,x,city", "3,2.5,zz"]


def test_cells_of_several_lines_and_short_rows_are_kept_together(overlap):
    rows, gone, _ = overlap('id,t\n1,"a\nb"\n2\n', 'id,t,u\n1,"a\nb",0\n')

    assert (rows.a, rows.b, rows.both) == (2, 1, 1)
    assert gone == ["id,t", "2,"]


def test_two_columns_of_one_name_are_compared_by_whole_lines(overlap):
    rows, gone, come = overlap("x,x\n1,2\n", "x,y\n1,2\n")

    assert (rows.both, rows.gone, rows.come) == (1, (), ("y",))
    assert (gone, come) == (["x,x"], ["x,y"])
