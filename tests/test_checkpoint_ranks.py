"""Checkpoints of several ranks: an epoch counts that all have, and no rank waits for another."""

from __future__ import annotations

import numpy as np
import pytest
from test_distributed import HERE, started

Found = list[dict[str, list[str]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    run = started(2, str(HERE / "ranks_checkpoints.py"), str(folder))
    assert run.returncode == 0, run.stderr[-3000:]
    files = [np.load(folder / f"{rank}.npz") for rank in range(2)]
    return [{name: file[name].tolist() for name in file.files} for file in files]


def test_a_checkpoint_that_is_damaged_on_one_rank_is_passed_over_by_all(found: Found) -> None:
    for same, _, left in (each["damaged"] for each in found):
        assert (same, left) == ("True", "[5, 6, 7]")
    assert "epoch-00000005.safetensors is damaged" in found[1]["damaged"][1]


@pytest.mark.parametrize("way", ["killed at the first", "nothing in common"])
def test_where_no_epoch_is_on_all_ranks_the_fit_starts_anew_and_says_so(
    way: str, found: Found
) -> None:
    """It ended: the one rank found checkpoints of an earlier run, or waited for the other."""
    for same, said, left in (each[way] for each in found):
        assert (same, left) == ("True", "[5, 6, 7]")
        assert "no epoch of which all ranks have a checkpoint: from the start" in said


def test_the_newest_epoch_that_all_ranks_have_is_resumed(found: Found) -> None:
    for each in found:
        assert each["one behind"] == ["True", "", "[5, 6, 7]"]


def test_a_rank_on_another_machine_without_its_folder_ends_all(found: Found) -> None:
    assert (
        "rank-1-of-2 does not exist, but other ranks have checkpoints"
        in (found[1]["another machine"][0])
    )
    assert "rank 1 failed looking for its checkpoints" in found[0]["another machine"][0]
    assert found[0]["another machine"][2] == "[3, 4, 5]"  # nothing was removed


def test_a_full_disk_of_one_rank_leaves_the_same_epochs_on_all(found: Found) -> None:
    """Others removed what the one could still have gone on from."""
    for each in found:
        assert each["full"][0] == "True" and each["full"][2] == "[4, 6, 7]"
    assert "no checkpoint of epoch 5" in found[0]["full"][1]
    assert "another rank could not write its own" in found[0]["full"][1]
    assert "No space left on device" in found[1]["full"][1]


def test_what_one_rank_asked_for_has_ended_the_fit_in_the_files_of_all(found: Found) -> None:
    """Resumed, the one had ended, and the other waited for it."""
    assert [each["asked"] for each in found] == [
        ["another rank asked for the end"] * 2 + ["[2, 3, 4]"],
        ["enough"] * 2 + ["[2, 3, 4]"],
    ]
