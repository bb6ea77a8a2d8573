"""From frames to files: H.264, GIF and WebP through ffmpeg or Pillow, PNG, and the page."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image

from torchlogreg.viz.selection import select_frames

if TYPE_CHECKING:
    from torchlogreg.viz.film import Film

HOLD = 1.5
"""Seconds for which a GIF shows its last frame before it starts again."""

COLORS = 40
"""Colours of a GIF: shades of anti-aliased edges cost bytes and are not missed."""

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
    encode(program, film, path, [], options, progress)


def gif(film: Film, path: Path, progress: bool = False) -> None:
    """One palette for the whole film, taken from some of its frames."""
    program = find_ffmpeg()
    if program is None:
        pillow(film, path, progress, palette=palette_image(film))
        return
    with tempfile.TemporaryDirectory() as folder:
        palette = Path(folder) / "palette.png"
        palette_image(film).save(palette)
        graph = "[0:v][1:v]paletteuse=dither=none:diff_mode=rectangle"
        options = ["-lavfi", graph, "-loop", "0", "-final_delay", str(round(100 * HOLD))]
        encode(program, film, path, ["-i", str(palette)], options, progress)


def webp(film: Film, path: Path, progress: bool = False) -> None:
    """Animated WebP: true colours at the size of a GIF."""
    program = find_ffmpeg()
    if program is None:
        pillow(film, path, progress)
        return
    options = ["-c:v", "libwebp_anim", "-quality", "75", "-compression_level", "1", "-loop", "0"]
    encode(program, film, path, [], options, progress, packets=1)


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


def palette_image(film: Film) -> Image.Image:
    """A 16 x 16 picture of the colours that suit eight frames of the film.

    1. Start with the most frequent colour.
    2. Add the one with the largest distance to those chosen, times the root of its frequency:
       paper and ink come out exact, and a thin path is not forgotten beside a wide surface.
    3. The last entry is transparent. It stands for a pixel that stays as it was, which is what
       makes a film of few changes small.
    """
    frames = film.pixels([film.frames[i] for i in select_frames(len(film), 8)])
    pixels = np.concatenate([frame[::2, ::2, :3].reshape(-1, 3) for frame in frames])
    packed = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    codes, counts = np.unique(packed, return_counts=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(float)
    chosen = [int(counts.argmax())]  # 1.
    distance = np.full(len(colors), np.inf)
    for _ in range(COLORS - 1):  # 2.
        distance = np.minimum(distance, np.square(colors - colors[chosen[-1]]).sum(axis=1))
        chosen.append(int((np.sqrt(counts) * distance).argmax()))
    table = np.full((256, 4), 255, np.uint8)
    table[:, :3] = colors[chosen[0]]
    table[: len(chosen), :3] = colors[chosen]
    table[-1, 3] = 0  # 3.
    return Image.fromarray(table.reshape(16, 16, 4))


def pillow(film: Film, path: Path, progress: bool, *, palette: Image.Image | None = None) -> None:
    """Animated GIF or WebP without ffmpeg; holds all frames in memory."""
    pictures = []
    for frame in drawn(film, progress):
        picture = Image.fromarray(frame[..., :3].copy())
        pictures.append(picture if palette is None else in_palette(frame, palette))
    durations = [round(1000 / film.fps)] * len(pictures)
    durations[-1] = round(1000 * HOLD)
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=82
    )


def in_palette(frame: np.ndarray, palette: Image.Image) -> Image.Image:
    """A frame in the nearest colours of a palette (Pillow's own search rounds, and greys paper)."""
    table = np.asarray(palette)[..., :3].reshape(-1, 3)
    packed = frame[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    codes, place = np.unique(packed, return_inverse=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    apart = np.square(colors[:, None] - table[None, :COLORS].astype(np.int32)).sum(axis=2)
    nearest = apart.argmin(axis=1).astype(np.uint8)
    picture = Image.fromarray(nearest[place].reshape(packed.shape))
    picture.putpalette(table.tobytes())
    return picture


def encode(
    program: str,
    film: Film,
    path: Path,
    inputs: list[str],
    options: list[str],
    progress: bool,
    *,
    packets: int | None = None,
) -> None:
    """Pipe raw frames through ffmpeg; every frame goes in and comes out, or OSError.

    ``packets`` come out if it is not one a frame: WebP's encoder hands out one in all.
    """
    command = [program, "-y", "-hide_banner", "-loglevel", "error", "-progress", "pipe:1"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "x".join(map(str, film.scene.size))]
    command += ["-r", str(film.fps), "-i", "pipe:0", *inputs]
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
                count = feed(process, drawn(film, progress))
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
