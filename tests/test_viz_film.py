"""Films: blitting changes nothing, every frame arrives, nothing half-written is left."""

import base64
import json
import re
import resource
import subprocess

import matplotlib
import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from torchlogreg.history import History
from torchlogreg.viz import CostCurves, Film, sinks
from torchlogreg.viz.page import html
from torchlogreg.viz.palette import LIGHT, Restyle
from torchlogreg.viz.selection import select_frames
from torchlogreg.viz.text import FastText, widened

M = 12
needs_ffmpeg = pytest.mark.skipif(
    sinks.find_ffmpeg() is None, reason="no ffmpeg: pip install imageio-ffmpeg"
)


def scene(m=M, size=(320, 180), theme="light"):
    steps = np.arange(m)
    runs = {
        "normal": {"objective": np.geomspace(1, 0.2, m), "accuracy": np.linspace(0.6, 0.9, m)},
        "weighted": {
            "objective": 1 + np.sin(steps / 3) / 2,
            "loss_weighted": 1 + np.sin(steps / 3) / 2,
            "loss_unweighted": np.geomspace(1, 0.3, m),
            "accuracy": np.linspace(0.6, 0.95, m),
            "sample_weight": np.random.default_rng(0).uniform(0.5, 3, (m, 40)),
        },
    }
    histories = {k: History({"epoch": steps, "step": steps, **r}) for k, r in runs.items()}
    return CostCurves(histories, size=size, theme=theme)


@pytest.fixture(scope="module")
def film():
    return Film(scene(), fps=10)


def decoded(path):
    """Frames of a video as ffmpeg reads them back."""
    command = [sinks.find_ffmpeg(), "-loglevel", "error", "-i", path, "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-fps_mode", "passthrough", "pipe:1"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, 180, 320, 3)


def full_redraw(scene, frame):
    scene.update(frame)
    scene.animate(False)
    with scene.theme.style():
        scene.canvas.draw()
    return np.asarray(scene.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1000, 450), (854, 480), (640, 360)])
def test_blitted_frames_equal_a_full_redraw(size, theme):
    picture = scene(size=size, theme=theme)
    blitted = [frame.copy() for frame in Film(picture).pixels()]
    different = [
        np.any(frame != full_redraw(picture, i), axis=2).mean() for i, frame in enumerate(blitted)
    ]
    assert blitted[0].shape == (size[1], size[0], 4)
    assert max(different) <= 1e-5


def test_a_frame_does_not_depend_on_the_frames_before_it(film):
    forwards = [frame.copy() for frame in film.pixels()]
    backwards = [frame.copy() for frame in film.pixels(range(M - 1, -1, -1))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_the_users_matplotlib_style_does_not_change_a_frame(film, monkeypatch):
    (ours,) = (frame.copy() for frame in film.pixels([5]))
    monkeypatch.setitem(rcParams, "lines.linewidth", 9.0)
    monkeypatch.setitem(rcParams, "font.size", 22.0)
    monkeypatch.setitem(rcParams, "axes.facecolor", "red")
    (styled,) = (frame.copy() for frame in Film(scene()).pixels([5]))
    assert np.array_equal(ours, styled)
    assert rcParams["font.size"] == 22.0


@pytest.mark.parametrize("n", [1, 2, 199, 200, 201, 1001, 3001, 100_000])
@pytest.mark.parametrize("at_most", [1, 2, 200])
def test_selected_frames_increase_from_first_to_last(n, at_most):
    frames = select_frames(n, at_most)
    assert frames[-1] == n - 1
    assert frames[0] == 0 or len(frames) == 1
    assert np.all(np.diff(frames) > 0)
    assert len(frames) <= at_most
    assert len(frames) >= 0.75 * min(n, at_most)


def test_selected_frames_are_spaced_geometrically():
    frames = np.array(select_frames(3001))
    assert frames[:20].tolist() == list(range(20))  # the early part in full
    steps = np.diff(np.log(frames[100:] + 1))
    assert steps.max() < 2 * steps.min()


@needs_ffmpeg
def test_mp4_has_every_frame_in_order(film, tmp_path):
    read = decoded(film.save(tmp_path / "film.mp4")).astype(int)
    drawn = np.stack([frame[..., :3].astype(int) for frame in film.pixels()])
    assert read.shape == drawn.shape
    distance = np.abs(read[:, None] - drawn[None]).mean(axis=(2, 3, 4))
    assert distance.argmin(axis=1).tolist() == list(range(M))
    assert distance.diagonal().max() < 3  # lossy, but the same colours


@needs_ffmpeg
def test_mp4_plays_anywhere_and_starts_at_once(film, tmp_path):
    path = film.save(tmp_path / "film.mp4")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    facts = subprocess.run([sinks.find_ffmpeg(), "-i", path], capture_output=True).stderr
    assert b"h264" in facts and b"yuv420p" in facts and b"10 fps" in facts


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("encoder", ["ffmpeg", "pillow"])
def test_animated_pictures_have_every_frame(film, tmp_path, monkeypatch, suffix, encoder):
    if encoder == "pillow":
        monkeypatch.setattr(sinks, "find_ffmpeg", lambda: None)
    elif sinks.find_ffmpeg() is None:
        pytest.skip("no ffmpeg: pip install imageio-ffmpeg")
    with Image.open(film.save(tmp_path / f"film{suffix}")) as picture:
        drawn = np.stack([frame[..., :3].astype(int) for frame in film.pixels()])
        assert picture.n_frames == M
        for i in range(M):
            picture.seek(i)
            read = np.asarray(picture.convert("RGB")).astype(int)
            assert np.abs(read - drawn[i]).mean() < 3
            assert np.abs(read[None] - drawn).mean(axis=(1, 2, 3)).argmin() == i


@needs_ffmpeg
def test_page_asks_nothing_of_the_network(film, tmp_path):
    page = film.save(tmp_path / "film.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+", "", page))
    assert "default-src 'none'" in page
    assert "$" not in re.sub(r"base64,[\w+/=]+", "", page)  # every slot of the template is filled


@needs_ffmpeg
def test_page_holds_the_film_and_a_caption_for_every_frame(film, tmp_path):
    page = film.save(tmp_path / "film.html").read_text(encoding="utf-8")
    video = tmp_path / "inside.mp4"
    video.write_bytes(base64.b64decode(re.search(r"base64,([\w+/=]+)", page)[1]))
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])
    assert len(decoded(video)) == M == len(facts["captions"])
    assert facts["captions"][3].startswith("iteration   3 / 11")
    assert facts["fps"] == 10


@needs_ffmpeg
def test_hostile_names_cannot_leave_the_page():
    history = History({"epoch": np.arange(2), "objective": np.array([2.0, 1.0])})
    evil = '</script><b id="x">"'
    film = Film(CostCurves({evil: history}, title=evil, size=(320, 180)))
    page, framed = html(film), film._repr_html_()
    assert page.count("</script>") == 2 and "<b id" not in page
    assert framed.startswith("<iframe srcdoc=") and framed.count("<") == 2


def test_png_is_the_last_frame_and_sheet_is_many(film, tmp_path):
    (last,) = (frame.copy() for frame in film.pixels([-1]))
    with Image.open(film.save(tmp_path / "last.png")) as picture:
        assert np.array_equal(np.asarray(picture), last[..., :3])
    with Image.open(film.save(tmp_path / "sheet.png", sheet=True)) as picture:
        assert picture.size == (3 * 320, 4 * 180)


def test_func_animation_is_plain_matplotlib(film, tmp_path):
    animation = film.to_func_animation()
    drawn = [frame.copy() for frame in film.pixels()]
    animation = film.to_func_animation()  # drawing frames and handing it out do not disturb
    animation.save(tmp_path / "plain.gif", writer="pillow", fps=10)
    with Image.open(tmp_path / "plain.gif") as picture:
        assert picture.n_frames == M
        picture.seek(7)
        read = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(read - drawn[7][..., :3]).mean() < 3


@pytest.mark.parametrize("name", ["film.avi", "film", "film.MOV"])
def test_unknown_suffix_is_refused_and_leaves_nothing(film, tmp_path, name):
    with pytest.raises(ValueError, match="no film format here; use one of"):
        film.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".html"])
def test_missing_encoder_says_what_to_install(film, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(sinks, "find_ffmpeg", lambda: None)
    with pytest.raises(RuntimeError, match=r"pip install 'torchlogreg\[video\]'"):
        film.save(tmp_path / f"film{suffix}")
    assert not list(tmp_path.iterdir())


def test_unwritable_path_raises_before_drawing(film, tmp_path, monkeypatch):
    monkeypatch.setattr(Film, "pixels", lambda *_: pytest.fail("drew in vain"))
    (tmp_path / "folder.gif").mkdir()
    for path in (tmp_path / "nowhere" / "film.gif", tmp_path / "folder.gif"):
        with pytest.raises(FileNotFoundError, match="cannot be written"):
            film.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.gif"]


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_full_disk_raises_and_keeps_the_old_file(film, tmp_path, suffix, monkeypatch):
    path = tmp_path / f"film{suffix}"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="ffmpeg"):
            film.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_encoder_that_dies_is_quoted(film, tmp_path, monkeypatch):
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho cannot encode >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sinks, "find_ffmpeg", lambda: str(program))
    with pytest.raises(OSError, match="cannot encode"):
        film.save(tmp_path / "film.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["broken"]


def test_an_encoder_that_swallows_frames_is_caught(film, tmp_path, monkeypatch):
    program = tmp_path / "lazy"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\necho frame={M - 1}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sinks, "find_ffmpeg", lambda: str(program))
    with pytest.raises(OSError, match=f"took {M} of {M} frames and wrote {M - 1}"):
        film.save(tmp_path / "film.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["lazy"]


def test_an_interrupted_film_leaves_nothing(tmp_path, monkeypatch):
    picture = scene()
    film = Film(picture)

    def interrupt(frame):
        if frame == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(picture, "move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        film.save(tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"frames": []}, ValueError, "frames is empty"),
        ({"frames": [M]}, IndexError, f"frame {M} was asked for, but there are {M}"),
        ({"frames": 0}, ValueError, "0 frames were asked for"),
        ({"fps": 0}, ValueError, "fps is 0"),
    ],
)
def test_bad_films_name_the_fault(arguments, error, message):
    with pytest.raises(error, match=message):
        Film(scene(), **arguments)


def test_a_sheet_is_a_png(film, tmp_path):
    with pytest.raises(ValueError, match=r"use \.png"):
        film.save(tmp_path / "film.mp4", sheet=True)


def test_fast_text_stands_where_text_stands():
    picture = scene(size=(1280, 720))
    picture.update(3)
    picture.canvas.draw()
    fast = [a for a in picture.artists if isinstance(a, FastText) and a.get_text()]
    assert len(fast) >= 5
    for text in fast:
        ours = text.get_window_extent()
        plain = super(FastText, text).get_window_extent()
        middle = np.array([ours.x0 + ours.x1, ours.y0 + ours.y1]) / 2
        other = np.array([plain.x0 + plain.x1, plain.y0 + plain.y1]) / 2
        assert np.abs(middle - other).max() <= 4


def test_settings_of_a_film_are_swapped_and_put_back_whatever_happens():
    before = dict(dict.items(matplotlib.rcParams))
    with LIGHT.style():
        inside = dict(dict.items(matplotlib.rcParams))
    restyle = Restyle(LIGHT)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), restyle:
            assert dict(dict.items(matplotlib.rcParams)) == inside
            raise ZeroDivisionError
        assert dict(dict.items(matplotlib.rcParams)) == before


@pytest.mark.parametrize("radius", [0.4, 1.0, 1.6, 3.3])
def test_a_halo_covers_all_within_its_width(radius):
    mask = np.zeros((5, 7), np.uint8)
    mask[[0, 2, 4], [0, 3, 6]] = 255
    around, reach = widened(mask.tobytes(), mask.shape, radius)
    assert around.shape == (5 + 2 * reach, 7 + 2 * reach)
    rows, columns = np.indices(around.shape) - reach
    apart = np.min([np.hypot(rows - r, columns - c) for r, c in ((0, 0), (2, 3), (4, 6))], axis=0)
    assert (around[apart <= radius - 0.5] == 255).all() and not around[apart >= radius + 0.5].any()
