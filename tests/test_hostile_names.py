"""Names from strangers, in pictures, pages, tables and messages: they stay text."""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from event_pages import read
from torchlogreg import L2, FitState, Hook, LogisticRegression, SoftmaxRegression, fit
from torchlogreg.hooks import TensorBoardBoundary, tensorboard_hooks
from torchlogreg.inference import infer
from torchlogreg.viz.raster import glyphs

F64 = torch.float64

NAMES = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=2>",
    "$\\frac{",
    "a|b`c*d [x](javascript:window.hit=3) ![p](http://127.0.0.1:9/p.png)",
    "\x1b[31mred\x07\u202e",
    "two\nlines\r\nand\u2028more",
    "x" * 1000,
    "../../etc/passwd",
    "{0.__class__} %s ${t}",
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning"),
]


def rows(p: int, n: int = 60) -> torch.Tensor:
    """Noise."""
    return torch.randn(n, p, generator=torch.Generator().manual_seed(0), dtype=F64)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_fit_with_hostile_names_writes_all_its_pages(tmp_path: Path, classes: int) -> None:
    """A line end in a name, as spreadsheets have them, ended the fit: "raqm_layout() failed"."""
    p, y = len(NAMES), torch.arange(60) % classes
    model: Any = SoftmaxRegression(p, classes, dtype=F64)
    hooks = tensorboard_hooks(
        tmp_path, share=None, feature_names=NAMES, class_names=NAMES[3 : 3 + classes]
    )
    result = fit(model, rows(p), y, penalty=L2(0.1), feature_names=NAMES, hooks=hooks)
    assert result.converged
    written = read(tmp_path).Tensors("summary/text_summary")[0].tensor_proto.string_val[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what it comes with
        from tensorboard.plugin_util import markdown_to_safe_html
    page = markdown_to_safe_html(written.decode())  # a picture in a name was fetched by the page
    assert not any(tag in page for tag in ("<img", "<a ", "<script", "<h1"))
    assert "![p](http://127.0.0.1:9/p.png)" in html.unescape(page)
    assert [path.name.startswith("events.out") for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_one_line_of_bounded_width(name: str) -> None:
    height, width = glyphs(name).shape
    assert height < 30 and width < 4000


def test_a_summary_shows_hostile_names_as_text() -> None:
    p, y = len(NAMES), torch.arange(60) % 3
    model = SoftmaxRegression(p, 3, reference=True, dtype=F64)
    fit(model, rows(p), y, penalty=L2(0.1))
    result = infer(
        model, rows(p), y, penalty=L2(0.1), allow_penalty=True, feature_names=NAMES,
        class_names=NAMES[3:6],
    )  # fmt: skip
    assert all(line.isprintable() for line in str(result.summary()).split("\n"))
    page = result._repr_html_()
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page


def test_a_message_names_a_hostile_column_in_one_printable_line() -> None:
    X, y = torch.arange(10.0, dtype=F64)[:, None], (torch.arange(10) > 4).double()
    for name in NAMES:
        model = LogisticRegression(1, dtype=F64)
        message = fit(model, X, y, feature_names=[name], max_epochs=30).message
        assert message.isprintable() and "completely separated" in message


class FailsAtTheStart(TensorBoardBoundary):
    """A picture that cannot be drawn."""

    def _stage(self, *_args: Any) -> None:
        raise RuntimeError("cannot be drawn")


class FailsAtTheEnd(Hook):
    """A last look that goes wrong, too."""

    def on_fit_end(self, state: FitState) -> None:
        raise OSError("no last look")


@pytest.mark.parametrize("others", [(), (FailsAtTheEnd(),)])
def test_what_failed_first_is_told(tmp_path: Path, others: tuple[Hook, ...]) -> None:
    """The last look failed as well, and only its error reached the user, without the cause."""
    with pytest.raises((RuntimeError, OSError)) as caught:
        fit(
            LogisticRegression(2, dtype=F64), rows(2), torch.arange(60) % 2,
            hooks=(*others, FailsAtTheStart(tmp_path)),
        )  # fmt: skip
    first = caught.value if not others else caught.value.__context__
    assert str(first) == "cannot be drawn"
