"""The pictures of the TensorBoard hooks, read back and looked at pixel by pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from event_pages import clouds, pictures, pixels, read, train
from problems import CLASSIFIERS, MODELS, problem
from torchlogreg import BoostMisclassified, LogisticRegression, fit
from torchlogreg.hooks import (
    EventFile,
    TensorBoardBoundary,
    TensorBoardDetails,
    TensorBoardSurface,
)
from torchlogreg.hooks.landscape import flat_params
from torchlogreg.hooks.moments import MOST
from torchlogreg.penalties import L2
from torchlogreg.viz.raster import LEFT, TOP

F64 = torch.float64


# The boundary


def test_each_side_of_the_boundary_has_the_colour_of_its_class(tmp_path: Path) -> None:
    train(TensorBoardBoundary(EventFile(tmp_path, share=None)), *clouds())
    plot = pixels(pictures(tmp_path, "boundary/last")[30])
    left, right = plot[:, :8].mean((0, 1)), plot[:, -8:].mean((0, 1))
    assert left[0] > left[2] + 40, "vermilion where class 0 is"
    assert right[2] > right[0] + 40, "blue where class 1 is"


def test_the_line_runs_where_the_probability_is_one_half(tmp_path: Path) -> None:
    X, y = clouds()
    model = LogisticRegression(2, dtype=F64)
    hook = TensorBoardBoundary(EventFile(tmp_path, share=None))
    fit(model, X, y, optimizer="newton", penalty=L2(0.01), hooks=[hook])
    (picture,) = pictures(tmp_path, "boundary/last").values()
    array = np.asarray(picture.convert("RGB")).astype(int)
    left, right, bottom, top = hook._picture.paper.limits
    w1, w2, bias = flat_params(model).tolist()
    height, width = hook._picture.paper.height, hook._picture.paper.width
    found = 0
    for row in range(5, height, 20):
        x2 = top - row / (height - 1) * (top - bottom)
        x1 = -(bias + w2 * x2) / w1
        column = round((x1 - left) / (right - left) * (width - 1))
        if 3 <= column < width - 3:
            near = array[TOP + row, LEFT + column - 2 : LEFT + column + 3].sum(1)
            found += int(near.min() < 250)
    assert found >= 8


def test_a_model_that_knows_nothing_gives_one_colour(tmp_path: Path) -> None:
    X, y = clouds()
    train(TensorBoardBoundary(EventFile(tmp_path, share=None)), X, y)
    corners = pixels(pictures(tmp_path, "boundary/first")[0])[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.ptp(corners, axis=0).max() == 0


def test_the_first_picture_explains_its_markers_as_the_last_does(tmp_path: Path) -> None:
    # The legend was drawn after the first picture had been laid out, and was missing from it.
    train(TensorBoardBoundary(EventFile(tmp_path, share=None)), *clouds())
    first, last = (
        np.asarray(pictures(tmp_path, f"boundary/{end}")[epoch].convert("L"))[TOP - 26 : TOP - 4]
        for end, epoch in (("first", 0), ("last", 30))
    )
    assert np.array_equal(first, last) and (first < 200).sum() > 200


@pytest.mark.parametrize("n", [900, 3000])
def test_a_crowd_hides_neither_the_boundary_nor_how_many_rows_are_shown(
    tmp_path: Path, n: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, 2, generator=generator, dtype=F64)
    y = (X[:, 0] + 1.5 * torch.randn(n, generator=generator, dtype=F64) > 0).double()
    hook = TensorBoardBoundary(EventFile(tmp_path, share=None))
    model = LogisticRegression(2, dtype=F64)
    fit(model, X, y, optimizer="newton", penalty=L2(0.01), hooks=[hook])
    (picture,) = pictures(tmp_path, "boundary/last").values()
    array = np.asarray(picture.convert("L")).astype(int)
    paper = hook._picture.paper
    w1, w2, bias = flat_params(model).tolist()
    dark = []
    for row in range(5, paper.height - 5):
        x2 = paper.limits[3] - row / (paper.height - 1) * (paper.limits[3] - paper.limits[2])
        column = round(float(paper.columns(np.array(-(bias + w2 * x2) / w1))))
        if 5 <= column < paper.width - 5:
            dark.append(array[TOP + row, LEFT + column - 1 : LEFT + column + 2].min() < 90)
    assert len(dark) > 100 and np.mean(dark) > 0.98
    foot = array[-22:-2, 330:]
    assert ((foot < 200).sum() > 100) == (n > 1000), "1,000 of 3,000 rows"


def test_heavier_rows_cover_more_pixels(tmp_path: Path) -> None:
    X = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-0.2, 2.0], [0.2, -2.0]], dtype=F64)
    y = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=F64)
    dark = {}
    for name, weight in (("even", [1, 1, 1, 1]), ("heavy", [9, 1, 1, 1])):
        hook = TensorBoardBoundary(EventFile(tmp_path / name, share=None))
        train(hook, X, y, max_epochs=1, sample_weight=torch.tensor(weight, dtype=F64))
        plot = pixels(pictures(tmp_path / name, "boundary/first")[0])
        square = np.array([0xD5, 0x5E, 0x00])
        dark[name] = int((abs(plot - square).sum(2) < 12).sum())
    assert dark["heavy"] > 1.3 * dark["even"]


def test_misclassified_rows_have_a_dark_edge(tmp_path: Path) -> None:
    X, y = clouds()
    counts = []
    for name, labels in (("right", y), ("wrong", 1 - y)):
        model = LogisticRegression(2, dtype=F64)
        with torch.no_grad():
            model.weight[0, 0], model.bias[0] = 3.0, -6.0
        hook = TensorBoardBoundary(EventFile(tmp_path / name, share=None))
        fit(model, X, labels, optimizer="sgd", max_epochs=1, tol=0.0, hooks=[hook])
        plot = pixels(pictures(tmp_path / name, "boundary/first")[0])
        counts.append(int((plot.sum(2) < 200).sum()))
    assert counts[1] > 2 * counts[0]


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_palette_pngs_of_the_size_asked_for(
    tmp_path: Path, name: str, p: int
) -> None:
    case = problem(name, p=p)
    weighting = BoostMisclassified(1.5, cap=4) if name in CLASSIFIERS else None
    file = EventFile(tmp_path, share=None)
    hooks = [TensorBoardBoundary(file, size=320)]
    hooks += [TensorBoardSurface(file, size=280), TensorBoardDetails(file, size=240)]
    fit(
        case.model(),
        case.X,
        case.y,
        weighting=weighting,
        max_epochs=8,
        tol=0.0,
        hooks=hooks,
        optimizer="lbfgs",
    )
    events = read(tmp_path)
    sizes = {"boundary": 320, "surface": 280}
    tags = events.Tags()["images"]
    assert {"boundary", "boundary/first", "boundary/last", "surface", "surface/last"} <= set(tags)
    assert ("confusion" in tags) == ("calibration" in tags) == (name in CLASSIFIERS)
    assert ("observed" in tags) == (name == "linear")
    for tag in tags:
        for event in events.Images(tag):
            picture = Image.open(io.BytesIO(event.encoded_image_string))
            picture.load()
            size = sizes.get(tag.split("/")[0], 240)
            assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (size, size))
            assert (event.width, event.height) == (size, size)


@pytest.mark.parametrize("features", [None, "pca", (0, 2), ("b", "c")])
def test_more_features_are_seen_on_a_chosen_plane(tmp_path: Path, features: object) -> None:
    X, y = clouds(p=4)
    hook = TensorBoardBoundary(
        EventFile(tmp_path, share=None),
        features=features,
        feature_names=("a", "b", "c", "d"),  # type: ignore[arg-type]
    )
    train(hook, X, y)
    assert 5 <= len(pictures(tmp_path, "boundary")) <= MOST
    labels = hook._picture.scene.labels
    expected = {None: "a", "pca": "principal", (0, 2): "a", ("b", "c"): "b"}[features]  # type: ignore[index]
    assert labels[0].startswith(expected)


def test_a_diverging_fit_is_still_drawn(tmp_path: Path) -> None:
    X, y = clouds()
    file = EventFile(tmp_path, share=None)
    hooks = (TensorBoardBoundary(file), TensorBoardSurface(file), TensorBoardDetails(file))
    model = LogisticRegression(2, dtype=F64)
    loud = torch.optim.SGD(model.parameters(), lr=1e300)
    fit(model, 1e8 * X, y, optimizer=loud, max_epochs=6, tol=0.0, hooks=hooks)
    assert not bool(torch.isfinite(model.weight).all())
    assert list(pictures(tmp_path, "boundary/last")) == [6]
    assert list(pictures(tmp_path, "surface/last")) == [6]


# What is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every": 0}, "every is 0"),
        ({"size": 100}, "size is 100"),
        ({"features": "umap"}, "'pca'"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused_at_once(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        TensorBoardBoundary(tmp_path, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"features": (0, 9)}, "names 9, but there are 3"),
        ({"features": (1, 1)}, "two different"),
        ({"features": ("a", "x1")}, "names 'a'"),
        ({"feature_names": ("a",)}, "1 feature_names for 3 columns"),
        ({"class_names": ("a",)}, "1 class_names for 2 classes"),
    ],
)
def test_names_that_do_not_fit_the_data_are_refused_before_training(
    tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    X, y = clouds(p=3)
    with pytest.raises(ValueError, match=words):
        train(TensorBoardBoundary(tmp_path / "a", **settings), X, y)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_a_share_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share is 0"):
        EventFile(tmp_path, share=0)
