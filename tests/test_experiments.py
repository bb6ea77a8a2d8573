"""The folder of an experiment that somebody else has made, and --resume of it: one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_scripts import script

__all__ = ["script"]

HOSTILE = {
    "deep": "[" * 100_000,
    "no list": '{"--epochs": 1}',
    "no words": '["--data", 3]',
    "NUL": "\x00",
    "cut": '["--epochs"',
    "huge": '["--epochs", "3"]' + " " * 2**21,
    "no text": b"\xff\xfe[",
}


def refused(script, *arguments: str) -> str:
    """The one line that train.py ends with."""
    status, out, err = script("train", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), (status, out, err)
    assert err.startswith("error: ") and err.strip().isprintable()
    return err


@pytest.mark.parametrize("name", HOSTILE)
def test_a_command_that_is_none_is_one_line(script, name: str) -> None:
    """The deep one was a RecursionError."""
    folder, text = script.folder / "runs", HOSTILE[name]
    folder.mkdir()
    (folder / "command.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "no experiment of train.py" in refused(script, "--resume", "runs")


@pytest.mark.skipif(os.name != "posix", reason="makes pipes and links")
def test_pipes_and_links_in_place_of_a_command_are_not_opened(script) -> None:
    """A pipe that nobody writes to was waited for."""
    folder = script.folder / "runs"
    folder.mkdir()
    os.mkfifo(folder / "command.json")
    assert "no experiment" in refused(script, "--resume", "runs")
    (folder / "command.json").unlink()
    (script.folder / "mine.json").write_text('["--epochs", "3"]')
    (folder / "command.json").symlink_to(script.folder / "mine.json")
    assert "no experiment" in refused(script, "--resume", "runs")


def an_experiment(script) -> Path:
    """Three epochs, interrupted by nobody."""
    options = ("--optimizer", "sgd", "--tol", "0", "--weighting", "none", "--epochs", "3")
    assert script("train", *options, "--name", "mine")[0] == 0
    return script.folder / "runs" / "mine"


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_links_in_an_experiment_lead_nowhere(script) -> None:
    """What a run was linked to is neither read nor removed."""
    folder, elsewhere = an_experiment(script), script.folder / "elsewhere"
    (folder / "normal").rename(elsewhere)
    for file in elsewhere.glob("checkpoints/*"):
        file.unlink()
    before = sorted(p.name for p in elsewhere.rglob("*"))
    (folder / "normal").symlink_to(elsewhere)
    assert "is a link" in refused_late(script, "--resume", "runs/mine", "--epochs", "5")
    assert sorted(p.name for p in elsewhere.rglob("*")) == before


def refused_late(script, *arguments: str) -> str:
    """The one line, after what is about to be trained."""
    status, _, err = script("train", *arguments)
    assert (status, err.count("\n")) == (2, 1), (status, err)
    return err


def test_checkpoints_of_more_ranks_are_refused_and_stay(script) -> None:
    """One process cleared them away, and began anew."""
    folder = an_experiment(script) / "normal" / "checkpoints"
    part = folder / "rank-0-of-2"
    part.mkdir()
    for file in folder.glob("epoch-*"):
        file.rename(part / file.name)
    line = refused_late(script, "--resume", "runs/mine", "--epochs", "5")
    assert "the checkpoints of 2 ranks, but here is one process" in line
    assert any(part.iterdir()) and (folder.parent / "history.npz").exists()
