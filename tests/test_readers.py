"""Tables: what is read as what."""

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchlogreg.readers import read_table

FRAME = pd.DataFrame(
    {
        "age": [31, 45, 52, 28, 39, 61],
        "income": [1.5, 2.25, 3.0, 0.5, 2.0, 4.75],
        "city": ["Rome", "Oslo", "Rome", "Bern", "Oslo", "Bern"],
        "member": [True, False, True, True, False, False],
        "bought": ["yes", "no", "no", "yes", "no", "yes"],
    }
)


def write(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def save(tmp_path, frame, suffix):
    path = tmp_path / f"table{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_frame_is_encoded_column_by_column(tmp_path, suffix):
    data = read_table(save(tmp_path, FRAME, suffix), "bought")
    assert data.feature_names == ("age", "income", "city=Oslo", "city=Rome", "member")
    np.testing.assert_array_equal(data.X[:, 0], FRAME["age"])
    np.testing.assert_array_equal(data.X[:, 1], FRAME["income"])
    np.testing.assert_array_equal(data.X[:, 2], FRAME["city"] == "Oslo")
    np.testing.assert_array_equal(data.X[:, 3], FRAME["city"] == "Rome")
    np.testing.assert_array_equal(data.X[:, 4], [1, 0, 1, 1, 0, 0])
    assert data.X.dtype == np.float64 and data.y.dtype == np.int64
    assert data.class_names == ("no", "yes") and not data.ordered
    np.testing.assert_array_equal(data.y, [1, 0, 0, 1, 0, 1])
    assert (data.name, data.target_name) == ("table", "bought")
    assert data.source.endswith(f"table{suffix}")


TARGETS = [  # column, task, class names (none: a number)
    (["b", "a", "b"], None, ("a", "b")),
    ([True, False, True], None, ("False", "True")),
    ([10, 9, 10], None, ("9", "10")),
    ([-1, 1, 1], None, ("-1", "1")),
    ([1.0, 2.0, 1.0], None, ()),
    ([1.0, 2.0, 1.0], "classes", ("1", "2")),
    ([0.5, 2.0, 0.5], "classes", ("0.5", "2")),
    ([3, 4, 3], "number", ()),
    ([True, False, True], "number", ()),
    (list(range(20)), None, tuple(str(i) for i in range(20))),
    (list(range(21)), None, ()),
    (list(range(21)), "classes", tuple(str(i) for i in range(21))),
]


@pytest.mark.parametrize(("column", "task", "class_names"), TARGETS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_target_is_classes_or_a_number(tmp_path, column, task, class_names, suffix):
    frame = pd.DataFrame({"x": np.arange(len(column)) / 7, "y": column})
    data = read_table(save(tmp_path, frame, suffix), "y", task=task)
    assert data.class_names == class_names
    if class_names:
        assert data.y.dtype == np.int64
        expected = sorted(set(column))
        assert [expected[code] for code in data.y] == column
    else:
        assert data.y.dtype == np.float64
        np.testing.assert_array_equal(data.y, np.array(column, dtype=float))


def test_an_ordered_categorical_keeps_its_order_and_drops_unused_levels(tmp_path):
    levels = ["never", "low", "mid", "high"]
    grade = pd.Categorical(["mid", "low", "high", "low"], categories=levels, ordered=True)
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": grade})
    data = read_table(save(tmp_path, frame, ".parquet"), "y")
    assert data.ordered and data.class_names == ("low", "mid", "high")
    np.testing.assert_array_equal(data.y, [1, 0, 2, 0])


def test_a_categorical_feature_keeps_its_own_first_level(tmp_path):
    size = pd.Categorical(["s", "l", "m", "s"], categories=["s", "m", "l"])
    frame = pd.DataFrame({"size": size, "y": [0, 1, 0, 1]})
    data = read_table(save(tmp_path, frame, ".parquet"), "y")
    assert data.feature_names == ("size=m", "size=l")
    np.testing.assert_array_equal(data.X, [[0, 0], [0, 1], [1, 0], [0, 0]])


@given(st.lists(st.sampled_from(["a", "b", "c", "Ä"]), min_size=2, max_size=12))
def test_indicators_tell_every_level_apart(tmp_path_factory, texts):
    frame = pd.DataFrame(
        {"t": texts, "x": range(len(texts)), "y": [i % 2 for i in range(len(texts))]}
    )
    data = read_table(save(tmp_path_factory.mktemp("t"), frame, ".csv"), "y")
    levels = sorted(set(texts))
    assert data.feature_names == (*(f"t={level}" for level in levels[1:]), "x")
    rows = {(text, *row[:-1]) for text, row in zip(texts, data.X.tolist(), strict=True)}
    assert len(rows) == len({row[1:] for row in rows}) == len(levels)


@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, 2, 3, 4], dtype="Int64"),
        pd.array([0.5, 1.5, 2.5, 3.5], dtype="Float64"),
        pd.array([True, False, True, True], dtype="boolean"),
        np.array([1, 2, 3, 4], dtype=np.float32),
        [decimal.Decimal("1.5"), decimal.Decimal("2.5"), decimal.Decimal(3), decimal.Decimal(4)],
    ],
    ids=lambda c: str(getattr(c, "dtype", "decimal")),
)
def test_every_kind_of_number_is_read_as_float64(tmp_path, column):
    frame = pd.DataFrame({"x": column, "y": [0, 1, 0, 1]})
    data = read_table(save(tmp_path, frame, ".parquet"), "y")
    np.testing.assert_array_equal(data.X[:, 0], [float(v) for v in column])


ARRAY = np.array([[1.5, 0, 10], [2.5, 1, 20], [3.5, 1, 30.5]])


@pytest.mark.parametrize(
    ("target", "index"), [(None, 2), ("1", 1), (1, 1), (-1, 2), ("-3", 0), ("x0", 0)]
)
def test_an_array_is_read_by_index(tmp_path, target, index):
    path = tmp_path / "table.npy"
    np.save(path, ARRAY)
    data = read_table(path, target)
    assert data.target_name == f"x{index}"
    np.testing.assert_array_equal(data.X, np.delete(ARRAY, index, axis=1))
    if index == 1:  # whole numbers in an array of floats are classes
        assert data.class_names == ("0", "1")
    else:
        assert data.class_names == ()
        np.testing.assert_array_equal(data.y, ARRAY[:, index])


def test_huge_whole_floats_in_an_array_are_still_told_apart(tmp_path):
    np.save(tmp_path / "table.npy", np.array([[1.0, 1e300], [2.0, 0.0]]))
    data = read_table(tmp_path / "table.npy")
    assert len(data.class_names) == 2 and data.y.tolist() == [1, 0]


def test_spaces_after_commas_and_a_byte_order_mark_are_skipped(tmp_path):
    path = write(tmp_path, "\ufeffa, b, y\n1, u, no\n2, v, yes\n")
    data = read_table(path, "y")
    assert data.feature_names == ("a", "b=v") and data.class_names == ("no", "yes")


def test_a_column_may_be_called_what_a_field_may_not(tmp_path):
    """Sodium, ``NA``, was "a column without a name"."""
    path = write(tmp_path, "NA,None,y\n1,3,no\n2,4,yes\n")
    assert read_table(path, "y").feature_names == ("NA", "None")


def test_a_path_may_be_text_and_its_suffix_in_capitals(tmp_path):
    path = write(tmp_path, "a,y\n1,0\n2,1\n", "TABLE.CSV")
    assert len(read_table(str(path), "y")) == 2


def test_a_text_column_with_one_level_adds_nothing(tmp_path):
    path = write(tmp_path, "a,t,y\n1,u,0\n2,u,1\n")
    assert read_table(path, "y").feature_names == ("a",)
