"""How fast films are drawn, beside matplotlib's own way of saving them."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.animation import FFMpegWriter

from benchmarks.timing import ratios, summary
from common import table
from torchlogreg import History, LogisticRegression, fit
from torchlogreg.datasets import curve
from torchlogreg.hooks import Recorder
from torchlogreg.viz import Descent, Film
from torchlogreg.viz.sinks import find_ffmpeg

SIZE = (1000, 450)


def add_options(p: argparse.ArgumentParser) -> None:
    """The command line of this benchmark."""
    p.add_argument("--frames", type=int, default=200, help="of our film")
    p.add_argument("--slow-frames", type=int, default=40, help="of matplotlib's (it is slow)")
    p.add_argument("--repeats", type=int, default=3, help="rounds, taken in turns")


def run(args: argparse.Namespace) -> None:
    """Print frames per second, their ratio, sizes and the difference from a full redraw."""
    history = descent()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(args.repeats):
            ours.append(args.frames / timed_film(history, folder / "ours.mp4", args.frames))
            theirs.append(
                args.slow_frames / timed_matplotlib(history, folder / "slow.mp4", args.slow_frames)
            )
        rows = [
            ["torchlogreg", args.frames, *(f"{x:.1f}" for x in summary(ours))],
            ["FuncAnimation.save", args.slow_frames, *(f"{x:.1f}" for x in summary(theirs))],
        ]
        print(f"scene (b), descent of a logistic regression, {SIZE[0]} x {SIZE[1]}, mp4\n")
        print(table(["frames per second", "frames", "median", "least", "most"], rows))
        ratio = ratios(ours, theirs)
        print(f"\nratio: {ratio.median:.1f} ({ratio.least:.1f} to {ratio.most:.1f})\n")
        print(sizes(history, folder, args.frames))
    print(f"\nblitted frames against a full redraw: {difference(history):.1e} of the pixels differ")


def descent() -> History:
    """3,000 iterations of gradient descent on one feature."""
    data, recorder = curve(), Recorder(keep_data=True)
    model = LogisticRegression(1, dtype=torch.float64)
    with torch.no_grad():
        model.bias.fill_(3.2)
        model.weight.fill_(-2.4)
    best = LogisticRegression(1, dtype=torch.float64)
    optimum = fit(best, data.X, data.y).objective
    params = torch.nn.utils.parameters_to_vector(best.parameters()).tolist()
    recorder.meta["optimum"] = {"params": params, "loss": optimum}
    sgd = torch.optim.SGD(model.parameters(), lr=0.06)
    fit(model, data.X, data.y, optimizer=sgd, max_epochs=3000, tol=0, hooks=[recorder])
    return recorder.history


def timed_film(history: History, path: Path, frames: int) -> float:
    """Seconds to save; the scene is made before the clock starts, here as for matplotlib."""
    film = Film(Descent(history, size=SIZE), frames=frames)
    begun = time.perf_counter()
    film.save(path)
    return time.perf_counter() - begun


def timed_matplotlib(history: History, path: Path, frames: int) -> float:
    """The same scene saved by matplotlib's own animation and ffmpeg."""
    import matplotlib

    film = Film(Descent(history, size=SIZE), frames=frames)
    animation = film.to_func_animation()
    begun = time.perf_counter()
    with matplotlib.rc_context({"animation.ffmpeg_path": find_ffmpeg()}):
        animation.save(path, writer=FFMpegWriter(fps=20))
    return time.perf_counter() - begun


def sizes(history: History, folder: Path, frames: int) -> str:
    """Sizes of every format."""
    rows = []
    for suffix in (".mp4", ".gif", ".webp", ".html"):
        path = folder / f"film{suffix}"
        seconds = timed_film(history, path, frames)
        rows.append([suffix, f"{path.stat().st_size / 1024:.0f}", f"{frames / seconds:.0f}"])
    return table(["format", "KiB", "frames/s"], rows)


def difference(history: History, frames: int = 20) -> float:
    """Largest share of pixels in which a blitted frame differs from a full redraw."""
    film = Film(Descent(history, size=SIZE), frames=frames)
    blitted = [frame.copy() for frame in film.pixels()]
    scene = Descent(history, size=SIZE)
    worst = 0.0
    for index, fast in zip(film.frames, blitted, strict=True):
        scene.animate(False)
        scene.update(index)
        with scene.theme.style():
            scene.canvas.draw()
        full = np.asarray(scene.canvas.buffer_rgba())
        worst = max(worst, float((full != fast).any(axis=-1).mean()))
    return worst
