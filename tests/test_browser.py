"""The real TensorBoard page in a real browser: curves, pictures, and a slider that moves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from test_watch import train_both, watching

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install '.[test]'")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)
PATIENCE = 60_000
"""Milliseconds to wait for anything on the page."""

pytestmark = pytest.mark.slow


def chromium() -> str:
    """Where the browser is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no chromium here, and none could be installed: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of a browser, on a server that watches a normal and a weighted run."""
    path = chromium()
    folder = tmp_path_factory.mktemp("runs")
    train_both(folder)
    with watching(str(folder), "--port", "0") as (_, address), sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(FLAGS), headless=True)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.address = address
        yield page
        browser.close()


def test_curves_of_both_runs_are_drawn(page: Any) -> None:
    page.goto(f"{page.address}/#timeseries")
    page.reload()
    page.get_by_role("combobox", name="Filter tags (regex)").fill("^loss/unweighted$")
    card = page.locator("scalar-card").first
    card.locator("line-chart").first.wait_for()
    page.wait_for_function(
        "e => ['unweighted', 'normal', 'weighted'].every(word => e.innerText.includes(word))",
        arg=card.element_handle(),
    )
    assert card.locator("line-chart").first.bounding_box()["height"] > 50
    assert card.locator("line-chart canvas, line-chart svg").count() > 0


def test_boundary_is_loaded_and_its_slider_moves(page: Any) -> None:
    page.goto(f"{page.address}/#timeseries")
    page.reload()
    card = page.locator("image-card", has_text="boundary").first
    card.wait_for()
    card.scroll_into_view_if_needed()
    picture = card.locator("img")
    picture.wait_for()
    page.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=picture.element_handle())
    assert picture.evaluate("e => [e.naturalWidth, e.naturalHeight]") == [480, 480]
    before = picture.get_attribute("src")
    assert "Step 40" in " ".join(card.inner_text().split())
    slider = card.locator("input[type=range]")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "([e, old]) => e.getAttribute('src') !== old && e.complete && e.naturalWidth > 0",
        arg=[picture.element_handle(), before],
    )
    step = card.inner_text().split("Step")[1].split()[0]
    assert 0 < int(step) < 40
