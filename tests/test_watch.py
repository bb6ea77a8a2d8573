"""scripts/watch.py: the real server, asked over HTTP."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from torchlogreg import BoostMisclassified, LogisticRegression, fit
from torchlogreg.hooks import tensorboard_hooks

SCRIPT = Path(__file__).parents[1] / "scripts" / "watch.py"
DEADLINE = 90
"""Seconds after which a server that has not answered is given up."""


def train_both(folder: Path) -> None:
    """A normal and a weighted run, 40 epochs each, with everything TensorBoard can show."""
    X = torch.randn(80, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (torch.arange(80) % 2).double()
    X[:, 0] += 2 * y
    for name, weighting in (("normal", None), ("weighted", BoostMisclassified(1.2, cap=4))):
        model = LogisticRegression(2, dtype=torch.float64)
        hooks = tensorboard_hooks(folder / name, share=None)
        fit(model, X, y, optimizer="sgd", weighting=weighting, max_epochs=40, tol=0, hooks=hooks)


@contextmanager
def watching(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The script as a process of its own, and the address it prints."""
    command = [sys.executable, str(SCRIPT), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://[^ ]+:\d+", said)
        assert found, said
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> bytes:
    """A page, asked for directly whatever proxies are set."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        content: bytes = answer.read()
    return content


def ask(address: str, route: str, **question: str) -> Any:
    """What a plugin answers; asked again until it is there."""
    url = f"{address}/data/plugin/{route}?{urllib.parse.urlencode(question)}"
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            answer = json.loads(get(url))
        except (urllib.error.URLError, json.JSONDecodeError):
            answer = None
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.3)


@pytest.mark.slow
def test_server_gives_scalars_and_images_of_both_runs(tmp_path: Path) -> None:
    train_both(tmp_path)
    with watching(str(tmp_path), "--port", "0") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        tags = ask(address, "images/tags")
        assert set(tags) == {"normal", "weighted"}
        assert {"boundary", "boundary/first", "boundary/last", "surface"} <= set(tags["normal"])
        for run in ("normal", "weighted"):
            points = ask(address, "scalars/scalars", run=run, tag="loss/unweighted")
            assert [step for _, step, _ in points] == list(range(41))
            assert points[0][2] == pytest.approx(0.6931472, abs=1e-6)
            boundary = ask(address, "images/images", run=run, tag="boundary", sample="0")
            assert boundary[-1]["step"] == 40 and 5 < len(boundary) <= 10
            data = get(f"{address}/data/plugin/images/individualImage?{boundary[-1]['query']}")
            picture = Image.open(io.BytesIO(data))
            assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (480, 480))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and said.endswith("stopped\n")


@pytest.mark.slow
def test_plain_tensorboard_shows_the_whole_story(tmp_path: Path) -> None:
    # TensorBoard keeps ten pictures of a tag unless told otherwise; ours are ten at most.
    train_both(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        shown = ask(address, "images/images", run="weighted", tag="boundary", sample="0")
        steps = [picture["step"] for picture in shown]
        assert steps[0] == 1 and steps[-1] == 40 and len(steps) >= 7
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_taken_port_is_left_to_its_owner(tmp_path: Path) -> None:
    with socket.socket() as owner:
        try:
            owner.bind(("127.0.0.1", 6006))
            owner.listen()
        except OSError:
            pass  # somebody else has it, which serves as well
        with watching(str(tmp_path)) as (_, address):
            assert not address.endswith(":6006")
            assert b"TensorBoard" in get(address)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "there is no folder 'nowhere'"),
        (("file",), "is a file"),
        ((".", "--port", "70000"), "--port is 70000"),
        ((".", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert words in done.stderr
