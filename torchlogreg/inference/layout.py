"""Small tables of numbers, as text in the field's layout and as HTML."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence

Row = tuple[str, Sequence[float]]


def interval_heads(level: float) -> tuple[str, str]:
    """Heads of the two ends of an interval: ``("[0.025", "0.975]")``."""
    tail = 0.5 * (1 - level)
    return f"[{tail:.6g}", f"{1 - tail:.12g}]"  # 1 - 5e-8 is not 1


def printable(text: str) -> str:
    """Text on one line, without what moves a terminal's cursor: line breaks, tabs, escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def width_of(text: str) -> int:
    """Columns that a text takes: two for wide letters (Chinese, ...), none for accents alone."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def padded(text: str, width: int) -> str:
    """Text with blanks to the right, up to a width in columns."""
    return text + " " * (width - width_of(text))


def cell(value: float, decimals: int = 4) -> str:
    """A number in about 10 characters: fixed point where that shows digits, else ``1e-05``."""
    size = abs(value)
    if value == 0 or size != size or size == float("inf") or 10.0**-decimals <= size < 1e6:
        return f"{value:.{decimals}f}"
    return f"{value:.{decimals - 1}e}"


def text_table(
    title: str, heads: Sequence[str], groups: Sequence[tuple[str, Sequence[Row]]]
) -> str:
    """A table between rules; every group of rows has a heading, unless that is empty.

    Parameters
    ----------
    title : str
        May have several lines.
    heads : sequence of str
        Of the columns of numbers.
    groups : sequence of (heading, rows), a row being (name, numbers)
    """
    groups = printable_names(groups)
    lines = [(name, cells(row, heads)) for _, rows in groups for name, row in rows]
    names = [name for name, _ in lines] + [heading for heading, _ in groups]
    first = max([width_of(name) for name in names], default=0)
    widths = [max([len(h), 10, *(len(c[i]) for _, c in lines)]) for i, h in enumerate(heads)]
    body = []
    for heading, rows in groups:
        if heading:
            body.append(heading)
        for name, row in rows:
            body.append(_line(padded(name, first), cells(row, heads), widths))
    head = _line(" " * first, heads, widths)
    titles = [printable(line) for line in title.split("\n")]
    width = max(len(head), *(width_of(line) for line in titles))
    rule = "=" * width
    centred = [line.center(width).rstrip() for line in titles]
    return "\n".join([*centred, rule, head, "-" * width, *body, rule])


def printable_names(groups: Sequence[tuple[str, Sequence[Row]]]) -> list[tuple[str, list[Row]]]:
    """The same groups with headings and names that fit a line."""
    return [(printable(h), [(printable(name), row) for name, row in rows]) for h, rows in groups]


def html_table(
    title: str, heads: Sequence[str], groups: Sequence[tuple[str, Sequence[Row]]]
) -> str:
    """The same table as HTML; all text is escaped."""
    span = len(heads) + 1
    parts = [
        f"<table><caption>{html.escape(title).replace(chr(10), '<br>')}</caption><tr><th></th>"
    ]
    parts += [f"<th>{html.escape(head)}</th>" for head in heads]
    parts.append("</tr>")
    for heading, rows in groups:
        if heading:
            parts.append(f'<tr><th colspan="{span}" align="left">{html.escape(heading)}</th></tr>')
        for name, row in rows:
            numbers = "".join(f"<td>{c}</td>" for c in cells(row, heads))
            parts.append(f"<tr><th>{html.escape(name)}</th>{numbers}</tr>")
    return "".join([*parts, "</table>"])


def cells(row: Sequence[float], heads: Sequence[str]) -> list[str]:
    """Numbers as text; statistics and p-values take three decimals, as everywhere."""
    return [
        f"{value:.3f}"
        if head.startswith("P>") or (head in ("z", "t") and not 1e6 <= abs(value) < math.inf)
        else cell(value)
        for value, head in zip(row, heads, strict=True)
    ]


def _line(name: str, texts: Sequence[str], widths: Sequence[int]) -> str:
    return name + "".join("  " + t.rjust(w) for t, w in zip(texts, widths, strict=True))
