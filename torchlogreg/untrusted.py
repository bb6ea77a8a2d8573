"""What files from strangers must not do: fill the memory, run code, write on the terminal."""

from __future__ import annotations

import codecs
import os
import re
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = 20_000
"""Columns of a .csv or .parquet file; a frame takes a millisecond for each."""

LONGEST = 1000
"""Characters of a column's name, or of a text that is a category."""

HEAD = 2**24
"""Bytes in which the header of a .csv must end."""

BLOCK = 2**20

_FIELD = re.compile(rb'[ ]*+(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^,\r\n]*+)(?:,|(?=[\r\n])|\Z)')

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def room() -> int:
    """Bytes that the numbers of one file may take: a third of this process's memory.

    The rest is for the copies that reading and training make.
    """
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (ImportError, OSError, ValueError):  # Windows; no control group; "max"
        pass
    return min((limit for limit in limits if limit > 0), default=2**33) // 3


def refuse_too_large(path: object, n_bytes: int, what: str) -> None:
    """Refuse what would fill the memory, before any of it is read.

    Raises
    ------
    ValueError
    """
    if n_bytes > room():
        raise ValueError(
            f"{path}: {what} need {n_bytes / 2**30:.3g} GiB, but {room() / 2**30:.3g} GiB is what "
            "this process has for them; take fewer rows or columns, or a machine with more memory"
        )


def printable(text: str) -> str:
    """The text with control characters, line ends and changes of direction written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def literal(text: str) -> str:
    """The text for a page in Markdown, where it is shown as it is: no picture is fetched for it."""
    return "".join(c if c.isalnum() or c in " .,:/" else f"&#{ord(c)};" for c in printable(text))


def shown(value: object) -> str:
    """A value from a file in a message: quoted, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: BaseException) -> str:
    """The message of a library's error: one line of at most 300 printable characters."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def check_text(path: Path) -> tuple[int, int]:
    """Read a .csv once, in blocks, for what a parser would misread.

    Returns
    -------
    tuple of int
        Lines at most, and columns of the header.

    Raises
    ------
    ValueError
        If it is not UTF-8, holds NULs, or has too long or too wide a header.
    """
    with open(path, "rb") as file:
        n_columns = _check_header(path, file.read(HEAD))
        file.seek(0)
        decoder, start, n_lines = codecs.getincrementaldecoder("utf-8")(), 0, 0
        while block := file.read(BLOCK):
            if b"\0" in block:
                where = start + block.index(b"\0")
                raise ValueError(
                    f"{path} holds a NUL character (byte {where}), which no text has; it is "
                    "damaged, binary, or UTF-16: save it as UTF-8"
                )
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                where = start - pending + error.start
                raise ValueError(f"{path} is not UTF-8 text (byte {where}); save it so") from None
            n_lines += max(block.count(b"\n"), block.count(b"\r"))
            start += len(block)
    if decoder.getstate()[0]:
        raise ValueError(f"{path} is not UTF-8 text (it ends inside a character); save it so")
    return n_lines, n_columns


def _check_header(path: Path, head: bytes) -> int:
    """Number of columns, from the beginning of a .csv; line ends in quotes end no header."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            raise ValueError(f"{path} is {name} text; save it as UTF-8")
    head = head.removeprefix(codecs.BOM_UTF8).lstrip()
    n_columns, end = 0, 0
    for field in _FIELD.finditer(head):
        n_columns, end = n_columns + 1, field.end()
        if not field[0].endswith(b","):
            break
    refuse_too_wide(path, n_columns)
    if end >= HEAD - 3:
        raise ValueError(f"{path}: the header does not end within {HEAD >> 20} MiB; is it a table?")
    return n_columns


def refuse_too_wide(path: Path, n_columns: int) -> None:
    """Refuse more columns than a frame can carry."""
    if n_columns > MOST_COLUMNS:
        raise ValueError(
            f"{path} has {n_columns} columns, but at most {MOST_COLUMNS} are read from such a file;"
            " save wide tables of numbers as .npy"
        )


class Layout(NamedTuple):
    """Where the numbers of a .npy table are, and how they are stored."""

    shape: tuple[int, int]
    fortran: bool
    dtype: np.dtype[Any]
    start: int


def array_layout(path: Path) -> Layout:
    """Look at a .npy table (n, p) of real numbers without reading them; none of it by pickle.

    1. The header, as numpy reads it; nothing is allocated for the shape that it claims.
    2. Refuse other kinds and dimensions, and shapes that the file has no bytes for.

    Raises
    ------
    ValueError
        If it is not such a table.
    """
    with open(path, "rb") as file:
        try:
            shape, fortran, dtype = read_header(file)  # 1
        except Exception as error:  # its tokenizer and parser fail in many ways on hostile text
            raise ValueError(f"{path} is no .npy array of numbers: {one_line(error)}") from None
        if len(shape) != 2 or dtype.kind not in "biuf":  # 2
            raise ValueError(
                f"{path} holds {str(dtype)[:60]} {shown(shape)}, but real numbers, rows by "
                "columns, are needed"
            )
        there = os.fstat(file.fileno()).st_size - file.tell()
        if min(shape) < 0 or shape[0] * shape[1] * dtype.itemsize > there:
            raise ValueError(
                f"{path} is no .npy array of numbers: its header says {shown(shape)} numbers of "
                f"{dtype.itemsize} bytes, but {there} bytes follow; it is cut short or damaged"
            )
        return Layout((shape[0], shape[1]), fortran, dtype, file.tell())


def read_array(path: Path) -> NDArray[Any]:
    """Read a .npy table, if there is room for it; floats as float64.

    Raises
    ------
    ValueError
        If it is not such a table, or larger than memory.
    """
    (n, p), fortran, dtype, start = array_layout(path)
    refuse_too_large(path, 8 * n * p + 200 * p, f"{n} x {p} numbers")
    raw = np.fromfile(path, bytes_as(dtype), n * p, offset=start)
    return as_numbers(raw.reshape((n, p), order="F" if fortran else "C"), dtype)


def bytes_as(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What to read numbers of a file as: a byte of 2 would be a True unlike True."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def as_numbers(stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as they were read, in native byte order; floats as float64, booleans as such."""
    if dtype.kind == "b":
        truth: NDArray[Any] = stored != 0
        return truth
    # Long doubles beyond float64, or with bits of no number: not finite then, and refused as such.
    with np.errstate(over="ignore", invalid="ignore"):
        native = np.dtype(np.float64) if dtype.kind == "f" else dtype.newbyteorder("=")
        result: NDArray[Any] = stored.astype(native)
    return result


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of a .npy, as numpy reads them; nothing is allocated.

    Raises
    ------
    Exception
        Of any kind: numpy's tokenizer and parser fail in many ways on hostile text.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"format version {version} is unknown")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers of Python 2 are read, too
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:  # 3.0 is 2.0 with names in UTF-8, and numbers have no names
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    return tuple(int(length) for length in shape), bool(fortran), dtype
