"""The one line that says why a table cannot be read."""

import datetime
import sys

import numpy as np
import pandas as pd
import pytest
from test_readers import ARRAY, FRAME, save, write

from torchlogreg.readers import read_table


def many(entry):
    return "x,y\n" + "".join(f"{entry(i)},{i % 2}\n" for i in range(60))


BAD_CSV = {
    "no target": ("a,y\n1,0\n2,1\n", None, r"no target is named; the columns are 'a', 'y'"),
    "misspelt": ("age,price\n1,0\n", "prise", "no column 'prise'; did you mean 'price'"),
    "nothing near": ("age,price\n1,0\n", "qqq", "there are 'age', 'price'"),
    "missing": ("a,b,y\n1,2,0\n,3,1\n4,,1\n", "y", r"'a' \(first in row 1\), 'b' \(first in row 2"),
    # pandas reads this "NA" as text, because of the long number beside it.
    "missing among text": (f"a,y\n1,b\n2,NA\n3,{'9' * 30}\n4,b\n", "y", r"'y' \(first in row 1"),
    "missing target": ("a,y\n1,no\n2,\n", "y", r"missing .* in 'y' \(first in row 1\)"),
    "infinite": ("a,y\n1,0\n2,1\ninf,1\n", "y", r"infinite values in 'a' \(first in row 2\)"),
    "many missing": (
        "a,b,c,d,e,f,y\n,,,,,,1\n",
        "y",
        r"'e' \(first in row 0\) and 1 more columns",
    ),
    "short row": ("a,b,y\n1,2,0\n3,4\n", "y", r"'y' \(first in row 1\)"),
    "long row": ("a,y\n1,0\n2,1,5\n", "y", "no regular table: .*Expected 2 fields in line 3"),
    "long rows": ("a,y\n1,0,5\n2,1,5\n", "y", "no regular table: "),
    "open quote": ('a,y\n"1,0\n2,1\n', "y", "no regular table: .*EOF inside string"),
    "twice": ("a,a,y\n1,2,0\n3,4,1\n", "y", "more than one column called 'a'"),
    "no name": (",a,y\n0,1,0\n1,2,1\n", "y", "column 0 has no name; name it, or remove it"),
    "clash": ("a,a=v,y\nu,1,0\nv,2,1\n", "y", "more than one column called 'a=v'"),
    "empty": ("", "y", "is empty"),
    "no rows": ("a,y\n", "y", "has no rows"),
    "one column": ("a;y\n1;2\n", "y", r"has 1 column \('a;y'\).*by commas"),
    "one class": ("a,y\n1,u\n2,u\n", "y", "'y' is 'u' in all 2 rows"),
    "no feature": ("t,y\nu,0\nu,1\n", "y", "every column but 'y' has a single level"),
    "dates": ("d,y\n2024-01-31,0\n2024-02-01,1\n", "y", r"'d' holds dates \(2024-01-31 in row 0"),
    "times": ("d,y\n31/1/2024 10:00,0\n1/2/2024,1\n", "y", "'d' holds dates"),
    "dates to predict": ("a,d\n1,2024-01-31\n2,2024-02-01\n", "d", "'d' holds dates"),
    "names": (many(lambda i: f"name{i}"), "y", "'x' has 60 distinct texts .*group its levels"),
    "typing error": (
        many(lambda i: "1,5".replace(",", ";") if i == 7 else i),
        "y",
        "'x' has 60 distinct texts in 60 rows, because row 7 has '1;5'",
    ),
    "names to predict": (
        "x,y\n" + "".join(f"{i},name{i}\n" for i in range(60)),
        "y",
        "'y' has 60 distinct values in 60 rows, which are no classes",
    ),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_a_bad_csv_is_explained_in_one_line(tmp_path, case):
    text, target, message = BAD_CSV[case]
    with pytest.raises(ValueError, match=message) as caught:
        read_table(write(tmp_path, text), target)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_more_levels_than_memory_is_good_for_are_refused(tmp_path):
    text = "x,y\n" + "".join(f"n{i % 1001},{i % 2}\n" for i in range(3000))
    with pytest.raises(ValueError, match="'x' has 1001 distinct texts"):
        read_table(write(tmp_path, text), "y")


def test_text_where_a_number_is_needed_names_column_and_row(tmp_path):
    path = write(tmp_path, "a,y\n1,2.5\n2,high\n3,4\n")
    with pytest.raises(ValueError, match=r"'y' has 'high' in row 1, but task='number'"):
        read_table(path, "y", task="number")
    with pytest.raises(ValueError, match="task is 'rank', but"):
        read_table(path, "y", task="rank")


def test_wrong_encoding_is_explained(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("a,y\nKöln,0\nRom,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_table(path, "y")


def test_paths_that_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.csv"):
        read_table(tmp_path / "absent.csv", "y")
    with pytest.raises(ValueError, match="is a directory; name one"):
        read_table(tmp_path, "y")
    with pytest.raises(ValueError, match=r"ends in '.xlsx', but .csv, .parquet, .npy can"):
        read_table(write(tmp_path, "x", "table.xlsx"), "y")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    path = save(tmp_path, FRAME, ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'torchlogreg\[parquet\]'"):
        read_table(path, "bought")


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no Parquet table: ") as caught:
        read_table(write(tmp_path, "a,y\n1,2\n", "table.parquet"), "y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([datetime.date(2024, 1, 31)] * 2, "'c' holds dates"),
        (pd.to_datetime(["2024-01-31", "2024-02-01"]), "'c' holds dates"),
        (pd.to_datetime(["2024-01-31", "2024-02-01"], utc=True), "'c' holds dates"),
        (pd.to_timedelta([1, 2], unit="h"), "'c' holds dates"),
        ([[1, 2], [3]], "'c' is nested"),
        ([b"u", b"v"], "'c' holds 'binary', but numbers"),
    ],
    ids=["date", "datetime", "zone", "timedelta", "list", "bytes"],
)
def test_columns_of_objects_are_named(tmp_path, column, message):
    frame = pd.DataFrame({"c": column, "y": [0, 1]})
    with pytest.raises(ValueError, match=message):
        read_table(save(tmp_path, frame, ".parquet"), "y")


BAD_ARRAYS = [
    (np.zeros(3), None, r"holds float64 \(3,\)"),
    (np.zeros((2, 2), dtype=complex), None, "holds complex128"),
    (np.array([["a", "b"]]), None, "holds <U1"),
    (np.array([[1, "b"]], dtype=object), None, "is no .npy array of numbers: "),
    (np.zeros((0, 3)), None, "has no rows"),
    (np.zeros((3, 1)), None, "has 1 column"),
    (np.array([[0.0, 1], [np.nan, 0]]), None, r"'x0' \(first in row 1\)"),
    (ARRAY, 3, "no column 3; name an index from 0 to 2"),
    (ARRAY, "age", "no column 'age'; name an index"),
    (ARRAY * [1, 0, 1], 1, "'x1' is '0' in all 3 rows"),
]


@pytest.mark.parametrize(("array", "target", "message"), BAD_ARRAYS)
def test_a_bad_array_is_explained_in_one_line(tmp_path, array, target, message):
    path = tmp_path / "table.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path, target)
    assert "\n" not in str(caught.value)


def test_files_that_only_end_in_npy_are_refused(tmp_path):
    np.savez(tmp_path / "archive.npz", ARRAY)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(ValueError, match=r"is no .npy array of numbers"):
        read_table(tmp_path / "archive.npy")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match=r"is no .npy array"):
        read_table(tmp_path / "empty.npy")
