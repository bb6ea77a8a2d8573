"""Event folders from strangers: the page stays up, and nothing is run, written or filled."""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from test_watch import ask, get, watching
from torchlogreg import LogisticRegression, fit
from torchlogreg.hooks import tensorboard_hooks

pytestmark = pytest.mark.filterwarnings("ignore::torchlogreg.ConvergenceWarning")

NAME = "events.out.tfevents.1.host"
MOST = 2**30
"""Bytes of memory that the server may take, of all its processes."""


def sound(folder: Path, **settings: object) -> Path:
    """The event file of a small fit, with curves, pictures, histograms and text."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    fit(
        LogisticRegression(2, dtype=torch.float64), X, (X[:, 0] > 0).double(), optimizer="sgd",
        max_epochs=5, tol=0, hooks=tensorboard_hooks(folder, share=None), **settings,
    )  # fmt: skip
    return max(folder.glob("events.*"))


def record(content: bytes, length: int | None = None) -> bytes:
    """A record of an event file, with right checksums; its length may lie."""
    head = struct.pack("<Q", len(content) if length is None else length)
    checks = (struct.pack("<I", masked_crc32c(part)) for part in (head, content))
    return b"".join((head, next(checks), content, next(checks)))


def records(content: bytes) -> list[bytes]:
    """What the records of an event file hold."""
    found, at = [], 0
    while at < len(content):
        size = struct.unpack("<Q", content[at : at + 8])[0]
        found.append(content[at + 12 : at + 12 + size])
        at += 16 + size
    return found


def changed(content: bytes, chance: random.Random) -> bytes:
    """Some bytes are others, gone or new."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at, cut = chance.randrange(len(data) + 1), chance.choice([0, 1, 4])
        data[at : at + cut] = chance.choice([b"", b"\xff" * 4, chance.randbytes(3), b"\0" * 8])
    return bytes(data)


def hostile(whole: bytes, chance: random.Random, kinds: int) -> bytes:
    """Changed, cut, with a lying length; and damaged within its records, their checksums right."""
    kind, parts = chance.randrange(kinds), records(whole)
    if kind == 0:
        return changed(whole, chance)
    if kind == 1:
        return whole[: chance.randrange(len(whole))]
    at = chance.randrange(len(parts))
    if kind == 2:
        # Not 2**31: TensorBoard makes room for that, of the file's size or not, and is slow then.
        length = chance.choice([2**22, 2**40, 2**62, 2**63, 2**64 - 1, 0])
        lie = record(parts[at], length)
        return b"".join([*map(record, parts[:at]), lie, *map(record, parts[at:])])
    return b"".join(record(changed(p, chance) if chance.random() < 0.3 else p) for p in parts)


def odd_places(folder: Path, secret: Path) -> None:
    """Links, folders and pipes with the names of event files; names that are markup."""
    for name in ("link", "folder", "<img src=x onerror=alert(1)>", "\x1b[31mred", "loop"):
        (folder / name).mkdir()
    (folder / "link" / NAME).symlink_to(secret)
    (folder / "folder" / NAME).mkdir()
    (folder / "loop" / "again").symlink_to(folder / "loop")
    (folder / "<img src=x onerror=alert(1)>" / NAME).write_bytes(b"\xff" * 50)
    (folder / "\x1b[31mred" / NAME).write_bytes(b"")


def memory(process: int) -> int:
    """Bytes of a process and those that it has started."""
    total = 0
    for place in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in place.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if str(process) in (lines["Pid"].strip(), lines["PPid"].strip()):
            total += 1024 * int(lines.get("RssAnon", "0 kB").split()[0])
    return total


def listing(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of what is there."""
    return sorted((str(p), p.lstat().st_size) for p in folder.rglob("*"))


def shows_the_sound_run(address: str) -> None:
    """Every epoch of it is there."""
    points = ask(address, "scalars/scalars", run="sound", tag="loss/unweighted")
    assert [step for _, step, _ in points] == list(range(6))


def serve(folder: Path, cases: int, seed: int, *, forged: bool) -> None:
    """So many hostile runs and a sound one: it is shown, and TensorBoard answers for the others."""
    runs, chance = folder / "runs", random.Random(seed)
    whole = sound(runs / "sound").read_bytes()
    for number in range(cases):
        (runs / f"run-{number:05d}").mkdir()
        (runs / f"run-{number:05d}" / NAME).write_bytes(hostile(whole, chance, 4 if forged else 3))
    (folder / "secret").write_text("not to be shown")
    odd_places(runs, folder / "secret")
    before = listing(folder)
    # The fast reader may stop in silence at forged records: docs/doors.md says so.
    options = ["--careful"] if forged else []
    with watching(str(runs), "--port", "0", *options) as (process, address):
        shows_the_sound_run(address)
        for route in ("scalars/tags", "images/tags", "histograms/tags", "text/tags"):
            assert "sound" in ask(address, route)
        page = get(f"{address}/data/runs")
        assert b"sound" in page and b"not to be shown" not in page
        assert b"<html" in get(address)
        assert process.poll() is None and memory(process.pid) < MOST
    assert listing(folder) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("forged", [False, True])
def test_hostile_event_files_leave_the_page_up(forged: bool, tmp_path: Path) -> None:
    serve(tmp_path, 60, seed=1, forged=forged)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="elsewhere the page waits for --careful")
def test_the_careful_reader_takes_over_from_one_that_died(tmp_path: Path) -> None:
    """The fast one aborts at a record that claims more than there is memory for."""
    whole = sound(tmp_path / "sound").read_bytes()
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / NAME).write_bytes(record(records(whole)[0], 2**40) + whole)
    with watching("--port", "0", "--", str(tmp_path)) as (process, address):
        shows_the_sound_run(address)
        assert process.poll() is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_hostile_event_files_leave_the_page_up(
    seed: int, forged: bool, tmp_path: Path
) -> None:
    if not os.environ.get("TORCHLOGREG_LONG"):
        pytest.skip("the long run: TORCHLOGREG_LONG=1 pytest -m slow tests/test_fuzz_events.py")
    serve(tmp_path, 400, seed, forged=forged)


@pytest.mark.skipif(os.name != "posix", reason="makes pipes and links")
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "rubbish"])
def test_what_lies_in_a_run_is_neither_read_nor_touched(kind: str, tmp_path: Path) -> None:
    """A new run is refused there, in one line."""
    run = tmp_path / "run"
    run.mkdir()
    place, elsewhere = run / NAME, tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(elsewhere)
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_bytes(b"\xff" * 100)
    before = listing(tmp_path)
    with pytest.raises(FileExistsError, match="holds the events of an earlier run") as told:
        sound(run)
    assert str(told.value).isprintable() and listing(tmp_path) == before
