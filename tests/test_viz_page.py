"""The page with a film inside, driven in a real browser: it plays, seeks, and asks for nothing."""

import shutil

import numpy as np
import pytest

from torchlogreg.history import History
from torchlogreg.viz import CostCurves, Film, sinks

M = 60


@pytest.fixture
def browser_page():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium installed")
    if sinks.find_ffmpeg() is None:
        pytest.skip("no ffmpeg: pip install imageio-ffmpeg")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def until(page, condition):
    """Wait for a condition (Playwright's own way needs eval, which the page's policy forbids)."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never came true: {condition}")


def test_page_plays_seeks_and_captions_without_a_request(browser_page, tmp_path):
    page = browser_page
    history = History({"epoch": np.arange(M), "objective": np.geomspace(1, 0.1, M)})
    film = Film(CostCurves({"run": history}, size=(320, 180)), fps=20)
    path = film.save(tmp_path / "film.html")
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(path.as_uri())
    until(page, "film.readyState >= 2")

    def shown():
        return int(page.input_value("#slider")), page.inner_text("#caption").split("/")[0].split()

    assert shown() == (0, ["iteration", "0"])
    for key, frame in (("End", 59), ("ArrowLeft", 58), ("Shift+ArrowLeft", 48), ("Home", 0)):
        page.keyboard.press(key)
        assert shown() == (frame, ["iteration", str(frame)])
    page.fill("#slider", "30")
    until(page, "!film.seeking")
    assert shown() == (30, ["iteration", "30"])
    assert page.evaluate("film.currentTime") == pytest.approx(30.5 / 20)
    page.click("#play")
    until(page, "Number(slider.value) > 33")
    assert page.inner_text("#play") == "Pause"
    until(page, "film.ended")
    assert shown() == (59, ["iteration", "59"]) and page.inner_text("#play") == "Play"
    assert requests == [path.as_uri()] and errors == []
