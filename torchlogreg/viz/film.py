"""Film: the frames of a scene, drawn fast and written whole.

The still background is drawn once; each frame restores it and draws what moves on top. That is
what matplotlib's own animations do on screen but not when they save, and the reason why they save
twenty times slower (FuncAnimation redraws every tick label on every frame).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation

from torchlogreg.viz import page, sinks
from torchlogreg.viz.canvas import Scene
from torchlogreg.viz.palette import Restyle
from torchlogreg.viz.selection import FRAMES, select_frames
from torchlogreg.whole_files import whole_file


class Film:
    """Frames of a scene, in an order, at a speed.

    Parameters
    ----------
    scene : Scene
    fps : int
        Frames a second. GIF counts in hundredths of a second: 10, 20, 25 and 50 are exact there.
    frames : int or sequence of int, optional
        How many (spaced geometrically), or which. Default: 200 of them, or all if fewer.

    Raises
    ------
    ValueError, IndexError
        Without frames or speed; for frames that the scene does not have.
    """

    def __init__(
        self, scene: Scene, *, fps: int = 20, frames: int | Sequence[int] | None = None
    ) -> None:
        if not 1 <= fps <= 100:
            raise ValueError(f"fps is {fps}, but a film shows 1 to 100 frames a second")
        if frames is None or isinstance(frames, int):
            frames = select_frames(scene.n_frames, FRAMES if frames is None else frames)
        self.frames = [int(i) for i in frames]
        if not self.frames:
            raise ValueError("frames is empty, but a film has at least one")
        wrong = [i for i in self.frames if not -scene.n_frames <= i < scene.n_frames]
        if wrong:
            raise IndexError(f"frame {wrong[0]} was asked for, but there are {scene.n_frames}")
        self.scene = scene
        self.fps = fps

    def __len__(self) -> int:
        return len(self.frames)

    def pixels(self, frames: Iterable[int] | None = None) -> Iterator[np.ndarray]:
        """Draw frames one after another.

        Yields
        ------
        ndarray of uint8, shape (height, width, 4)
            RGBA. The buffer of the canvas itself: copy what must outlive the next frame.
        """
        scene = self.scene
        canvas: Any = scene.canvas  # matplotlib has not annotated these methods
        scene.animate(True)
        with scene.theme.style():
            canvas.draw()
            background = canvas.copy_from_bbox(scene.figure.bbox)
            renderer = canvas.get_renderer()
        restyle = Restyle(scene.theme)
        for frame in self.frames if frames is None else frames:
            with restyle:  # not across a yield: the settings are the whole program's
                canvas.restore_region(background)
                for artist in scene.update(frame):
                    artist.draw(renderer)
            yield np.asarray(canvas.buffer_rgba())

    def save(
        self, path: str | os.PathLike[str], *, sheet: bool = False, progress: bool = False
    ) -> Path:
        """Write the film; the file appears whole or not at all, with every frame.

        Parameters
        ----------
        path : path
            Its suffix says the format. ``.mp4`` (H.264), ``.gif``, ``.webp``; ``.html`` is a page
            with the video inside, which asks nothing of the network; ``.png`` is the last frame.
        sheet : bool
            For ``.png``: twelve frames on one sheet.
        progress : bool
            Show a progress bar (tqdm).

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        ValueError
            For another suffix.
        RuntimeError
            If the encoder is missing.
        OSError
            If the file cannot be written, or the encoder failed; with what it said.
        """
        return _write(self, Path(path), sheet=sheet, progress=progress)

    def captions(self) -> list[str]:
        """The header's counter and figures of each frame, as text."""
        texts = []
        for frame in self.frames:
            self.scene.update(frame)
            texts.append(self.scene.caption)
        return texts

    def to_func_animation(self) -> FuncAnimation:
        """A plain matplotlib animation of the same frames, for ``to_jshtml`` or writers of its own.

        It redraws everything on every frame and is slow for that. To see it in a window, hand the
        figure to pyplot first: ``plt.figure(film.scene.figure); plt.show()`` (matplotlib 3.11).
        """
        scene = self.scene
        scene.animate(False)
        return FuncAnimation(
            scene.figure, scene.update, frames=self.frames, interval=1000 / self.fps, blit=False
        )

    def _repr_html_(self) -> str:
        """The self-contained page, in a frame of its own, for notebooks."""
        return page.in_notebook(self)


def _write(film: Film, path: Path, *, sheet: bool = False, progress: bool = False) -> Path:
    """Write a film in the format its suffix names; see ``Film.save``."""
    suffix = path.suffix.lower()
    if suffix not in SINKS:
        raise ValueError(
            f"{path.name} ends in {path.suffix!r}, which is no film format here; "
            f"use one of {', '.join(SINKS)}"
        )
    if sheet and suffix != ".png":
        raise ValueError(f"a sheet of frames is a picture: use .png instead of {suffix}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: its folder is missing, or it is one")
    with whole_file(path) as temporary:
        temporary.touch()  # an unwritable folder is told before an hour of drawing
        if sheet:
            sinks.contact_sheet(film, temporary)
        else:
            SINKS[suffix](film, temporary, progress)
    return path


def _page(film: Film, path: Path, progress: bool = False) -> None:
    """The self-contained page."""
    path.write_text(page.html(film, progress=progress), encoding="utf-8")


SINKS: Mapping[str, Callable[[Film, Path, bool], None]] = {
    ".mp4": sinks.mp4,
    ".gif": sinks.gif,
    ".webp": sinks.webp,
    ".html": _page,
    ".png": sinks.still,
}
