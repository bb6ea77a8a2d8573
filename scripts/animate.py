"""Turn a saved run into a film. Never trains."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common import main_guard, parser
from torchlogreg import History
from torchlogreg.viz import Boundary, CostCurves, Descent, Film, Race, Scene
from torchlogreg.viz.film import SINKS
from torchlogreg.viz.sinks import find_ffmpeg

DESCRIPTION = """\
Draw a film from the history that a script saved: RUN is a run's folder, a history.npz, or the
folder of an experiment with several runs. The scenes:

  costs      cost curves, accuracy and sorted sample weights of all runs in the folder
  descent    one feature: the fit, and the path over the loss surface
  descent3d  the same with the surface as a landscape
  boundary   two features: the moving decision boundary, rows sized by their sample weight
  race       several optimizers over one loss surface

The suffix of --out says the format: .mp4, .gif, .webp, .html (a page of its own that works
offline, with a slider), .png (the last frame, or twelve frames with --sheet).
"""

EPILOG = """\
examples:
  python scripts/weighted_vs_normal.py && python scripts/descent.py
  python scripts/animate.py runs/weighted_vs_normal --out costs.mp4
  python scripts/animate.py runs/weighted_vs_normal/weighted --scene boundary --out boundary.html
  python scripts/animate.py runs/descent/logistic --scene descent3d --out descent.gif --dark
"""

BANDS = 16
"""Colours of a probability field in a GIF, which has 256 for everything and no gradients."""


def main() -> None:
    """Load, draw, write, report."""
    p = parser(DESCRIPTION, EPILOG)
    p.add_argument("run", type=Path, metavar="RUN", help="folder or history.npz")
    p.add_argument("--scene", choices=tuple(SCENES), default="costs", help="what to show")
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help="film to write")
    p.add_argument("--frames", type=int, default=200, help="spaced geometrically over the run")
    p.add_argument("--fps", type=int, default=20, help="frames a second")
    p.add_argument("--size", type=size, metavar="WxH", help="pixels (default: the scene's own)")
    p.add_argument("--dark", action="store_true", help="dark theme")
    p.add_argument("--sheet", action="store_true", help="twelve frames on one .png")
    p.add_argument("--title", help="headline (default: from the history)")
    args = p.parse_args()
    check_film(args.out)
    film_of(SCENES[args.scene](args, load_runs(args.run)), args.out, args)


def check_film(out: Path) -> None:
    """Refuse a film that cannot be written, before anything is drawn or trained.

    Raises
    ------
    ValueError
        For an unknown suffix, a folder that is not there, or a missing encoder.
    """
    suffix = out.suffix.lower()
    if suffix not in SINKS:
        raise ValueError(f"{out} ends in {suffix!r}; films end in {', '.join(SINKS)}")
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name a file")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"{out.parent} does not exist; make it first")
    if suffix in (".mp4", ".html") and find_ffmpeg() is None:
        raise ValueError(
            f"{suffix} needs ffmpeg; pip install 'torchlogreg[video]', or use .gif, .webp or .png"
        )


def film_of(scene: Scene, out: Path, args: argparse.Namespace) -> None:
    """Write a film and say how large it is and how fast it was drawn."""
    film = Film(scene, fps=args.fps, frames=args.frames)
    begun = time.perf_counter()
    path = film.save(out, sheet=args.sheet, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - begun
    facts = f"{path}: {path.stat().st_size / 1024:.0f} KiB, {seconds:.1f} s"
    if path.suffix.lower() != ".png":
        rate = f"{len(film) / seconds:.0f} frames/s"
        facts += f", {len(film)} frames of {scene.size[0]} x {scene.size[1]} ({rate})"
    print(facts)


def load_runs(path: Path) -> dict[str, History]:
    """Histories by run name.

    Raises
    ------
    ValueError
        If there is none, saying what makes one.
    """
    if path.is_file():
        return {path.parent.name or path.stem: load(path)}
    if not path.exists():
        raise ValueError(f"{path} does not exist; scripts/train.py makes runs under runs/")
    if (path / "history.npz").exists():
        return {path.name: load(path / "history.npz")}
    files = sorted(path.glob("*/history.npz"))
    if not files:
        raise ValueError(
            f"{path} holds no history.npz, nor does a folder in it; scripts/train.py, "
            "weighted_vs_normal.py, descent.py and race.py save them"
        )
    return {file.parent.name: load(file) for file in files}


def load(path: Path) -> History:
    """A history with what every scene needs.

    Raises
    ------
    ValueError
        If it was not written by a Recorder.
    """
    history = History.load(path)
    missing = [n for n in ("epoch", "objective", "params") if n not in history]
    if missing or not isinstance(history.meta.get("model"), dict):
        what = missing[0] if missing else "a description of the model"
        raise ValueError(f"{path} lacks {what}; films need a history written by hooks.Recorder")
    return history


def only(runs: dict[str, History], scene: str) -> History:
    """The one run that a scene shows, with the data it draws."""
    lacking = [name for name, h in runs.items() if not {"X", "y"} <= h.data.keys()]
    if lacking:
        raise ValueError(f"run {lacking[0]} holds no data; record it with keep_data=True")
    if len(runs) > 1:
        raise ValueError(
            f"--scene {scene} shows one run, but there are {', '.join(runs)}; name its folder"
        )
    return next(iter(runs.values()))


def size(text: str) -> tuple[int, int]:
    """``1280x720`` as two even numbers."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 1280x720") from None
    if width % 2 or height % 2 or not (320 <= width <= 3840 and 180 <= height <= 2160):
        raise argparse.ArgumentTypeError(
            f"{text!r}: films have even sizes from 320x180 to 3840x2160"
        )
    return width, height


def look(args: argparse.Namespace) -> dict[str, object]:
    """Settings common to all scenes."""
    settings: dict[str, object] = {"theme": "dark" if args.dark else "light", "title": args.title}
    return settings | ({"size": args.size} if args.size else {})


def boundary(args: argparse.Namespace, runs: dict[str, History]) -> Scene:
    """The boundary scene, with few colours where the format has few."""
    history = only(runs, "boundary")
    bands = BANDS if args.out.suffix.lower() == ".gif" else None
    names = history.meta.get("feature_names")
    features = (names[0], names[1]) if names and len(names) == 2 else None
    return Boundary(history, features=features, bands=bands, **look(args))


SCENES: dict[str, Callable[[argparse.Namespace, dict[str, History]], Scene]] = {
    "costs": lambda args, runs: CostCurves(runs, **look(args)),
    "descent": lambda args, runs: Descent(only(runs, "descent"), **look(args)),
    "descent3d": lambda args, runs: Descent(only(runs, "descent3d"), in_3d=True, **look(args)),
    "boundary": boundary,
    "race": lambda args, runs: Race(runs, **look(args)),
}


if __name__ == "__main__":
    main_guard(main)
