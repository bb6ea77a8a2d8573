"""A result as text in the layout of the field: facts in two columns, then the coefficients."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchlogreg.inference.layout import (
    Row,
    cells,
    html_table,
    interval_heads,
    padded,
    printable_names,
    width_of,
)
from torchlogreg.models import LinearRegression, LogisticRegression, OrdinalRegression

if TYPE_CHECKING:
    from torchlogreg.inference.result import InferenceResult

WIDTH = 78
GAP = 3  # between the two columns of facts
TITLES = {
    "LinearRegression": "Linear regression",
    "LogisticRegression": "Logistic regression",
    "SoftmaxRegression": "Multinomial logistic regression",
    "OrdinalRegression": "Ordinal regression",
}
Fact = tuple[str, str]


def text(result: InferenceResult, level: float) -> str:
    """The whole summary; 78 columns wide unless names or numbers need more."""
    columns, facts = heads(result, level), _facts(result)
    table = printable_names(_groups(result, level))
    shown = [(name, cells(row, columns)) for _, rows in table for name, row in rows]
    widths = [max(len(head), *(len(c[i]) for _, c in shown)) + 2 for i, head in enumerate(columns)]
    least = max(WIDTH, sum(map(_longest, facts)) + GAP, *(width_of(h) for h, _ in table))
    first = max(least - sum(widths), *(width_of(name) for name, _ in shown))
    width = first + sum(widths)
    head = " " * first + "".join(h.rjust(w) for h, w in zip(columns, widths, strict=True))
    body: list[str] = []
    for heading, rows in table:
        if heading:
            body += [heading, "-" * width] if not body else ["-" * width, heading, "-" * width]
        for name, row in rows:
            numbers = "".join(c.rjust(w) for c, w in zip(cells(row, columns), widths, strict=True))
            body.append(padded(name, first) + numbers)
    rule = "=" * width
    lines = [_title(result).center(width).rstrip(), rule, *_beside(facts, width), rule]
    return "\n".join([*lines, head, "-" * width, *body, rule, *_notes(result)])


def html_text(result: InferenceResult, level: float) -> str:
    """The summary as HTML; all text is escaped."""
    left, right = _facts(result)
    facts = "".join(
        "<tr>"
        + "".join(f"<th>{html.escape(a)}</th><td>{html.escape(b)}</td>" for a, b in pair)
        + "</tr>"
        for pair in zip(*_evened(left, right), strict=True)
    )
    table = html_table("", heads(result, level), _groups(result, level))
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in _notes(result))
    return f"<table><caption>{html.escape(_title(result))}</caption>{facts}</table>{table}{notes}"


def _title(result: InferenceResult) -> str:
    name = type(result.form.model).__name__
    return TITLES.get(name, name)


def heads(result: InferenceResult, level: float) -> list[str]:
    """Heads of the columns of the table."""
    letter = "t" if result.use_t else "z"
    return ["coef", "std err", letter, f"P>|{letter}|", *interval_heads(level)]


def _groups(result: InferenceResult, level: float) -> list[tuple[str, list[Row]]]:
    """Rows of numbers under headings: one for each class, and one for thresholds."""
    table = result.table(level).tolist()
    lines: list[Row] = list(zip(result.names, table, strict=True))
    model, r = result.form.model, len(result.form.weight)
    if isinstance(model, OrdinalRegression):
        n = len(result.feature_names)
        return [("", lines[:n]), *([("thresholds", lines[n:])] if lines[n:] else [])]
    if isinstance(model, LinearRegression | LogisticRegression):
        return [("", lines)]
    size = len(lines) // r
    classes = result.class_names
    return [
        (
            f"class {name} against {classes[0]}",
            [
                (label.removeprefix(f"{name}: "), row)
                for label, row in lines[a * size : (a + 1) * size]
            ],
        )
        for a, name in enumerate(classes[1:])
    ]


def _facts(result: InferenceResult) -> tuple[list[Fact], list[Fact]]:
    """What stands left and right above the table."""
    model = result.form.model
    kind = result.kind
    if result.n_clusters is not None:
        kind = f"cluster ({result.n_clusters})"
    left = [("Model:", type(model).__name__)]
    if isinstance(model, OrdinalRegression):
        left.append(("Link:", model.link))
    left.append(("Method:", _method(result)))
    if result.penalty is not None:
        left.append(("Penalty:", repr(result.penalty)))
    left.append(("Covariance:", kind))
    if result.weight_kind is not None:
        left.append(("Weights:", result.weight_kind))
    left += [
        ("No. observations:", f"{result.nobs:.10g}"),
        ("Df residuals:", f"{result.df_resid:.10g}"),
        ("Df model:", f"{result.df_model}"),
    ]
    criteria = [("AIC:", f"{result.aic:.6g}"), ("BIC:", f"{result.bic:.6g}")]
    if model.n_classes is None:
        return left, [
            ("R-squared:", f"{result.rsquared:.4f}"),
            ("Adj. R-squared:", f"{result.rsquared_adj:.4f}"),
            ("F-statistic:", f"{result.fvalue:.5g}"),
            ("Prob (F-statistic):", f"{result.f_pvalue:.4g}"),
            ("Residual std error:", f"{math.sqrt(result.scale):.5g}"),
            ("Log-likelihood:", f"{result.llf:.5f}"),
            *criteria,
        ]
    right = [
        ("Pseudo R-squared:", f"{result.prsquared:.4f}"),
        ("Log-likelihood:", f"{result.llf:.5f}"),
        ("LL-null:", f"{result.llnull:.5f}"),
    ]
    if result.penalty is None:
        right.append(("LLR p-value:", f"{result.llr_pvalue:.4g}"))
    return left, [*right, *criteria]


def _method(result: InferenceResult) -> str:
    plain = "least squares" if result.form.model.n_classes is None else "maximum likelihood"
    return plain if result.penalty is None else "penalised " + plain.removeprefix("maximum ")


def _evened(left: list[Fact], right: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """Both columns, filled up to one length."""
    n = max(len(left), len(right))
    blank = ("", "")
    return left + [blank] * (n - len(left)), right + [blank] * (n - len(right))


def _longest(facts: list[Fact]) -> int:
    """Columns that the facts of one side need."""
    return max(len(a) + len(b) + 1 for a, b in facts)


def _beside(facts: tuple[list[Fact], list[Fact]], width: int) -> list[str]:
    """Two columns of facts, each name left and value right; the right one gets what it needs."""
    left, right = facts
    half = min(max((width - GAP) // 2, _longest(left)), width - GAP - _longest(right))
    rest = width - half - GAP
    return [
        (a + b.rjust(half - len(a)) + " " * GAP + c + d.rjust(rest - len(c))).rstrip()
        for (a, b), (c, d) in zip(*_evened(left, right), strict=True)
    ]


def _notes(result: InferenceResult) -> Sequence[str]:
    """What a reader of the numbers should know."""
    if result.penalty is None:
        return ()
    if result.penalty.needs_rows:
        return (
            "Errors from the information at the estimate; tests of the likelihood are left out.",
        )
    return ("Errors of the shrunken estimates: they do not know the bias of the penalty.",)
