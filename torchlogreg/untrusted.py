"""What files from strangers must not do: fill the memory, run code, write on the terminal."""

from __future__ import annotations

import codecs
import os
import re
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = 20_000
"""Columns of a .csv or .parquet file; a frame takes a millisecond for each."""

LONGEST = 1000
"""Characters of a column's name, or of a text that is a category."""

HEAD = 2**24
"""Bytes in which the header of a .csv must end."""

BLOCK = 2**20

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


def shown(value: object) -> str:
    """A value from a file in a message: quoted, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: BaseException) -> str:
    """The message of a library's error: one line of at most 300 printable characters."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def check_text(path: Path) -> None:
    """Read a .csv once, in blocks, for what pandas would misread or could not hold.

    Raises
    ------
    ValueError
        If it is not UTF-8, holds NULs, has too long a header, or is larger than memory as numbers.
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
    numbers = f"{n_lines} rows of {n_columns} columns"
    refuse_too_large(path, max(8 * n_lines * n_columns, start), numbers)


def _check_header(path: Path, head: bytes) -> int:
    """Number of columns, from the beginning of a .csv."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            raise ValueError(f"{path} is {name} text; save it as UTF-8")
    header = re.split(rb"[\r\n]", head.removeprefix(codecs.BOM_UTF8).lstrip(), maxsplit=1)[0]
    n_columns = header.count(b",") + 1
    refuse_too_wide(path, n_columns)
    if len(header) >= HEAD:
        raise ValueError(f"{path}: the header does not end within {HEAD >> 20} MiB; is it a table?")
    return n_columns


def refuse_too_wide(path: Path, n_columns: int) -> None:
    """Refuse more columns than a frame can carry."""
    if n_columns > MOST_COLUMNS:
        raise ValueError(
            f"{path} has {n_columns} columns, but at most {MOST_COLUMNS} are read from such a file;"
            " save wide tables of numbers as .npy"
        )


def read_array(path: Path) -> NDArray[Any]:
    """Read a .npy table (n, p) of real numbers: floats as float64, none of it by pickle.

    1. The header, as numpy reads it; nothing is allocated for the shape that it claims.
    2. Refuse other kinds and dimensions, and shapes that the file has no bytes for.
    3. The body, in native byte order.

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
        size = shape[0] * shape[1]
        there = os.fstat(file.fileno()).st_size - file.tell()
        if min(shape) < 0 or size * dtype.itemsize > there:
            raise ValueError(
                f"{path} is no .npy array of numbers: its header says {shown(shape)} numbers of "
                f"{dtype.itemsize} bytes, but {there} bytes follow; it is cut short or damaged"
            )
        refuse_too_large(path, 8 * size + 200 * shape[1], f"{shape[0]} x {shape[1]} numbers")
        raw = np.fromfile(file, np.dtype(np.uint8) if dtype.kind == "b" else dtype, size)  # 3
    table = raw.reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "b":
        truth: NDArray[Any] = table != 0  # a byte of 2 would be a True unlike True
        return truth
    # Long doubles beyond float64, or with bits of no number: not finite then, and refused as such.
    with np.errstate(over="ignore", invalid="ignore"):
        native = np.dtype(np.float64) if dtype.kind == "f" else dtype.newbyteorder("=")
        result: NDArray[Any] = table.astype(native)
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
