"""From frames to files: H.264, GIF and WebP through ffmpeg or Pillow, PNG, and the page."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from matplotlib.text import Text
from PIL import Image

from torchlogreg.viz.indexed import Box, Indexer, palette

if TYPE_CHECKING:
    from torchlogreg.viz.film import Film

HOLD = 1.5
"""Seconds for which a GIF shows its last frame before it starts again."""

GIF_COLORS, WEBP_COLORS = 28, 200
"""Shades of anti-aliased edges cost a GIF bytes and are not missed; WebP packs them better."""

SHEET_COLUMNS, SHEET_ROWS, SHEET_WIDTH = 3, 4, 640

Frames = Iterator[np.ndarray]


def drawn(film: Film, progress: bool) -> Frames:
    """All frames, with a progress bar if wanted."""
    if not progress:
        yield from film.pixels()
        return
    from tqdm.auto import tqdm

    yield from tqdm(film.pixels(), total=len(film), unit="frame", desc="film")


def find_ffmpeg() -> str | None:
    """The program of ``imageio-ffmpeg``, else the one on PATH, else None."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def mp4(film: Film, path: Path, progress: bool = False, *, key_every: int = 250) -> None:
    """H.264 in yuv420p with the index in front, which every browser and phone plays."""
    program = find_ffmpeg()
    if program is None:
        raise RuntimeError(
            "video needs ffmpeg, and there is none; pip install 'torchlogreg[video]' or save a .gif"
        )
    colors = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    options = ["-vf", colors, "-c:v", "libx264", "-preset", "veryfast"]
    options += ["-crf", "22", "-g", str(key_every), "-colorspace", "bt709"]
    options += ["-color_primaries", "bt709", "-color_trc", "bt709", "-movflags", "+faststart"]
    encode(program, film, path, options, progress)


def gif(film: Film, path: Path, progress: bool = False) -> None:
    """One palette for the whole film, taken from some of its frames."""
    indexer = Indexer(palette(film, GIF_COLORS))
    program = find_ffmpeg()
    if program is None:
        pillow(film, path, progress, indexer)
        return
    options = ["-loop", "0", "-final_delay", str(round(100 * HOLD))]
    encode(program, film, path, options, progress, indexer=indexer)


def webp(film: Film, path: Path, progress: bool = False) -> None:
    """Animated WebP without loss, in more colours than a GIF and half its size."""
    indexer = Indexer(palette(film, WEBP_COLORS))
    program = find_ffmpeg()
    if program is None:
        pillow(film, path, progress, indexer)
        return
    options = ["-c:v", "libwebp_anim", "-lossless", "1", "-quality", "20"]
    options += ["-compression_level", "1", "-loop", "0"]
    encode(program, film, path, options, progress, indexer=indexer, packets=1)


def still(film: Film, path: Path, progress: bool = False) -> None:
    """The last frame as a picture."""
    (last,) = (frame.copy() for frame in film.pixels([film.frames[-1]]))
    Image.fromarray(last[..., :3]).save(path, optimize=True)


def contact_sheet(film: Film, path: Path) -> None:
    """Twelve frames, evenly spread over the film, three in a row."""
    n = min(SHEET_COLUMNS * SHEET_ROWS, len(film))
    chosen = np.linspace(0, len(film) - 1, n).round().astype(int)
    width, height = film.scene.size
    small = (min(SHEET_WIDTH, width), round(height * min(SHEET_WIDTH, width) / width))
    columns = min(SHEET_COLUMNS, n)
    sheet = Image.new("RGB", (small[0] * columns, small[1] * -(-n // columns)))
    for i, frame in enumerate(film.pixels([film.frames[k] for k in chosen])):
        picture = Image.fromarray(frame[..., :3]).resize(small, Image.Resampling.LANCZOS)
        sheet.paste(picture, (i % columns * small[0], i // columns * small[1]))
    sheet.save(path, optimize=True)


def pillow(film: Film, path: Path, progress: bool, indexer: Indexer) -> None:
    """Animated GIF or WebP without ffmpeg; holds all frames in memory."""
    pictures = []
    for frame in drawn(film, progress):
        picture = Image.fromarray(indexer(frame, words(film)).copy())
        picture.putpalette(indexer.table[:, :3].tobytes())
        pictures.append(picture)
    durations = [round(1000 / film.fps)] * len(pictures)
    durations[-1] = round(1000 * HOLD)
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True
    )


def indexed(film: Film, indexer: Indexer, progress: bool) -> Frames:
    """Frames as ffmpeg reads indexed ones: a byte a pixel, then the palette, BGRA."""
    table = indexer.table[:, [2, 1, 0, 3]].reshape(-1)
    for frame in drawn(film, progress):
        yield np.concatenate([indexer(frame, words(film)).reshape(-1), table])


def words(film: Film) -> list[Box]:
    """Where text stands that changes, in the frame drawn last."""
    texts = [a for a in film.scene.artists if isinstance(a, Text) and a.get_text()]
    width, height = film.scene.size
    boxes = []
    for box in (text.get_window_extent() for text in texts):
        x0, x1 = (min(max(int(x), 0), width) for x in (box.x0 - 1, box.x1 + 2))
        y0, y1 = (min(max(height - int(y), 0), height) for y in (box.y1 + 2, box.y0 - 1))
        boxes.append((x0, y0, x1, y1))
    return boxes


def encode(
    program: str,
    film: Film,
    path: Path,
    options: list[str],
    progress: bool,
    *,
    indexer: Indexer | None = None,
    packets: int | None = None,
) -> None:
    """Pipe raw frames through ffmpeg; every frame goes in and comes out, or OSError.

    Frames go in as they are, or in the few colours of an ``indexer``. ``packets`` come out if it is
    not one a frame: WebP's encoder hands out one in all.
    """
    frames = drawn(film, progress) if indexer is None else indexed(film, indexer, progress)
    pixels = "rgba" if indexer is None else "pal8"
    command = [program, "-y", "-hide_banner", "-loglevel", "error", "-progress", "pipe:1"]
    command += ["-f", "rawvideo", "-pix_fmt", pixels, "-s", "x".join(map(str, film.scene.size))]
    command += ["-r", str(film.fps), "-i", "pipe:0"]
    command += ["-an", "-fps_mode", "passthrough", *options, str(path)]
    # Files, not pipes, take what it says: nobody reads while frames are being written.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as report:
        with subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=report,
            stderr=said,
            pipesize=1 << 20,
        ) as process:
            try:
                count = feed(process, frames)
            except BaseException:
                process.kill()
                raise
        report.seek(0)
        encoded = [line[6:] for line in report if line.startswith(b"frame=")]
        if process.returncode != 0:
            raise OSError(f"ffmpeg could not write {path.suffix}: {last_words(said, process)}")
        got = int(encoded[-1]) if encoded else 0
        if count != len(film) or got != (packets or count):
            raise OSError(f"ffmpeg took {count} of {len(film)} frames and wrote {got}")


def feed(process: subprocess.Popen[bytes], frames: Frames) -> int:
    """Write frames until there are no more or the encoder has died; how many."""
    count, stdin = 0, process.stdin
    if stdin is None:
        return count
    try:
        for frame in frames:
            rest = frame.data.cast("B")
            while rest:
                rest = rest[stdin.write(rest) :]
            count += 1
    except BrokenPipeError:  # its exit status and its words say why
        pass
    return count


def last_words(said: IO[bytes], process: subprocess.Popen[bytes]) -> str:
    """What ffmpeg complained about, in one line."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    text = "; ".join(line for line in lines if line)[-400:]
    return text or f"it ended with status {process.returncode} and said nothing"
