"""Checkpoints that were forged, with a right checksum: a fit, or one line that names the file."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_checkpoint import run

from torchlogreg import L1, L2, FitState, Focal, Hook, Smoothed
from torchlogreg.checkpoints.file import Contents, path_of, read, write
from torchlogreg.hooks import Checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # a forged figure may overflow, or say "diverging"

WAYS: dict[str, dict[str, Any]] = {
    "newton": {"optimizer": "newton"},
    "lbfgs": {"optimizer": "lbfgs"},
    "adam": {"optimizer": "adam", "batch_size": 16},
    "saga": {"optimizer": "saga", "batch_size": 16, "penalty": L2(0.1)},
    "proximal newton": {"optimizer": "proximal_newton", "penalty": L1(0.02)},
    "weights that follow": {"optimizer": "newton", "weighting": lambda: Smoothed(Focal())},
    "samples": {"optimizer": "subsampled_newton", "n": 2000},
}
LEAVES: list[Any] = [
    *(None, True, 0, -1, 2**70, 1.5, float("nan"), "", "x", [], {}),
    *(["known", "X"], ["known", "param weight"], ["again", 0], ["again", 3]),
]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all nodes of a tree."""
    yield path
    inside = enumerate(node) if isinstance(node, list) else ()
    for key, value in node.items() if isinstance(node, dict) else inside:
        yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    """What lies there."""
    for key in path:
        tree = tree[key]
    return tree


def forged(contents: Contents, chance: random.Random) -> Contents:
    """One node is another one, or one of another place."""
    tree = copy.deepcopy(contents.tree)
    inner = [path for path in places(tree) if len(path) > 1 and path[0] != "fingerprint"]
    path = chance.choice(inner)
    other = chance.choice(LEAVES) if chance.random() < 0.5 else at(tree, chance.choice(inner))
    at(tree, path[:-1])[path[-1]] = copy.deepcopy(other)
    return contents._replace(tree=tree)


def outcome(folder: Path, contents: Contents, **settings: Any) -> str:
    """What came of a fit that is resumed from it: "", or the line."""
    write(path_of(folder, 3), contents)
    try:
        run(**settings, resume=folder)
    except ValueError as error:
        text = str(error)
        assert text.isprintable() and len(text) < 700 and str(folder) in text, text
        return text
    return ""


def attempt(way: str, folder: Path, cases: int, seed: int) -> int:
    """So many forged files of one fit; how many were refused."""
    (folder / "sound").mkdir()
    run(**WAYS[way], max_epochs=3, hooks=[Checkpoint(folder / "sound")])
    sound, chance = read(path_of(folder / "sound", 3)), random.Random(seed)
    (folder / "forged").mkdir()
    told = [outcome(folder / "forged", forged(sound, chance), **WAYS[way]) for _ in range(cases)]
    return sum(map(bool, told))


@pytest.mark.parametrize("way", WAYS)
def test_a_forged_checkpoint_is_a_fit_or_one_line(way: str, tmp_path: Path) -> None:
    """One in forty ended in a TypeError, an AttributeError or worse from within the fit."""
    assert 5 <= attempt(way, tmp_path, 20, seed=1) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_many_forged_checkpoints_are_fits_or_one_line(way: str, tmp_path: Path) -> None:
    if not os.environ.get("TORCHLOGREG_LONG"):
        pytest.skip("the long run: TORCHLOGREG_LONG=1 pytest -m slow")
    print(way, attempt(way, tmp_path, 250, seed=2), "of 250 refused")


class Own(Hook):
    """A user's hook with a mistake."""

    def on_epoch_end(self, state: FitState) -> None:
        """In every epoch."""
        raise TypeError("mine")


def test_the_errors_of_others_code_stay_theirs(tmp_path: Path) -> None:
    run(optimizer="sgd", max_epochs=3, hooks=[Checkpoint(tmp_path)])
    with pytest.raises(TypeError, match="mine"):
        run(optimizer="sgd", resume=tmp_path, hooks=[Own()])
