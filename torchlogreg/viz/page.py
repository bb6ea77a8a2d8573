"""A page with a film inside: video, slider, play, keys, captions; no request leaves it."""

from __future__ import annotations

import base64
import html as markup
import json
import tempfile
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from torchlogreg.viz.sinks import mp4

if TYPE_CHECKING:
    from torchlogreg.viz.film import Film

KEY_EVERY = 25
"""Frames from one independent frame to the next: the slider then jumps at once."""

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; media-src data:; \
img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>$title</title>
<style>
  body { margin: 0; background: $background; color: $text;
         font: 15px/1.5 "DejaVu Sans", Verdana, system-ui, sans-serif; }
  main { max-width: ${width}px; margin: 0 auto; }
  video { display: block; width: 100%; background: $background; }
  .controls { display: flex; gap: 14px; align-items: center; padding: 10px 18px 4px; }
  button { font: inherit; color: inherit; background: none; border: 1px solid $muted;
           border-radius: 6px; padding: 4px 12px; min-width: 84px; cursor: pointer; }
  input { flex: 1; accent-color: $accent; min-width: 60px; }
  p { margin: 0; padding: 0 18px 10px; color: $muted; font-size: 13px; }
  #caption { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap; }
  :focus-visible { outline: 2px solid $accent; outline-offset: 2px; }
</style>
</head>
<body>
<main>
<video id="film" muted playsinline preload="auto" aria-label="$title"
 src="data:video/mp4;base64,$video"></video>
<div class="controls">
<button id="play" type="button">Play</button>
<input id="slider" type="range" min="0" max="$last" value="0" step="1" aria-label="Frame">
</div>
<p id="caption" role="status"></p>
<p>Space plays and pauses; arrow keys step (with Shift: ten frames); Home and End jump.</p>
</main>
<script type="application/json" id="facts">$facts</script>
<script>
"use strict";
const get = id => document.getElementById(id);
const film = get("film"), slider = get("slider"), play = get("play"), caption = get("caption");
const { fps, captions } = JSON.parse(get("facts").textContent);
const last = captions.length - 1;
let frame = 0;

function show(now) {
  frame = Math.max(0, Math.min(last, now));
  slider.value = frame;
  slider.setAttribute("aria-valuetext", captions[frame]);
  caption.textContent = captions[frame];
}
function seek(to) {
  film.pause();
  show(to);
  film.currentTime = (frame + 0.5) / fps;  // the middle of a frame: safe from rounding
}
function toggle() {
  if (!film.paused) return film.pause();
  if (frame >= last) film.currentTime = 0;
  film.play();
}
function follow() {
  if (!film.paused) { show(Math.floor(film.currentTime * fps)); requestAnimationFrame(follow); }
}
slider.addEventListener("input", () => seek(Number(slider.value)));
play.addEventListener("click", toggle);
film.addEventListener("click", toggle);
film.addEventListener("play", () => { play.textContent = "Pause"; follow(); });
film.addEventListener("pause", () => { play.textContent = "Play"; });
film.addEventListener("ended", () => show(last));
document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const by = event.shiftKey ? 10 : 1;
  const moves = { ArrowLeft: frame - by, ArrowRight: frame + by, Home: 0, End: last };
  if (event.key === " ") { if (event.target !== play) { event.preventDefault(); toggle(); } }
  else if (event.key in moves) { event.preventDefault(); seek(moves[event.key]); }
});
show(0);
</script>
</body>
</html>
""")


def html(film: Film, *, progress: bool = False) -> str:
    """The page as text.

    Parameters
    ----------
    film : Film
    progress : bool
        Show a progress bar.

    Raises
    ------
    RuntimeError
        Without ffmpeg.
    """
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "film.mp4"
        mp4(film, video, progress, key_every=KEY_EVERY)
        encoded = base64.b64encode(video.read_bytes()).decode("ascii")
    facts = json.dumps({"fps": film.fps, "captions": film.captions()}, ensure_ascii=False)
    theme = film.scene.theme
    return PAGE.substitute(
        title=markup.escape(film.scene.title),
        background=theme.background,
        text=theme.text,
        muted=theme.muted,
        accent=theme.accent,
        width=film.scene.size[0],
        last=len(film) - 1,
        video=encoded,
        facts=facts.replace("<", "\\u003c"),  # no text can end the script
    )


def in_notebook(film: Film) -> str:
    """The page in an iframe, which keeps its keys and style from the notebook's."""
    width, height = film.scene.size
    content = markup.escape(html(film), quote=True)
    return (
        f'<iframe srcdoc="{content}" title="{markup.escape(film.scene.title, quote=True)}" '
        f'style="width: 100%; max-width: {width}px; aspect-ratio: {width} / {height + 120}; '
        'border: 0"></iframe>'
    )
