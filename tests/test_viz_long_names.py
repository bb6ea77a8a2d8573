"""Names as long as files may have them: cut to what fits, in a few layouts."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_viz_scenes import recorded, rows, sgd

from torchlogreg import LogisticRegression
from torchlogreg.viz import CostCurves
from torchlogreg.viz.canvas import fit_width


def test_names_of_ten_thousand_characters_are_shortened_in_few_layouts(monkeypatch) -> None:
    """A character less each time, they kept a film from ever beginning."""
    asked = []
    real = Text.get_window_extent

    def counted(text: Text, *rest: object) -> object:
        asked.append(text)
        return real(text, *rest)

    monkeypatch.setattr(Text, "get_window_extent", counted)
    history = recorded(LogisticRegression, *rows(2, n=40), sgd(0.3))
    long = "ab" * 5000
    scene = CostCurves({"a" * 10_000: history, long: history}, title=long)
    assert len(asked) < 300
    texts = [t.get_text() for t in scene.figure.findobj(Text) if "abab" in t.get_text()]
    assert texts and all(len(t) < 400 and "…" in t for t in texts)


@pytest.mark.parametrize("words", ["seven words that are too many for it", "m" * 50, "a b " * 20])
@pytest.mark.parametrize("width", [0.02, 0.1, 0.3])
def test_a_text_is_cut_to_the_longest_part_that_fits(words: str, width: float) -> None:
    figure = Figure(figsize=(4, 3), dpi=100)
    FigureCanvasAgg(figure)
    text, other = figure.text(0, 0, words, fontsize=20), figure.text(0, 0, words, fontsize=15)
    fit_width(text, width)
    limit = width * figure.bbox.width
    assert text.get_fontsize() == 15

    def wide(length: int) -> float:
        other.set_text(words[:length].rstrip() + "…")
        return float(other.get_window_extent().width)

    best = max((n for n in range(1, len(words)) if wide(n) <= limit), default=1)
    assert text.get_text() == words[:best].rstrip() + "…"
