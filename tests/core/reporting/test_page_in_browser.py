"""The report page as readers see it: phone and desktop, light and dark, with what its script does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.browser import Browser, find_browser
from stages.core.base.layout import PAGE_FILE, Layout
from stages.report import main
from tests.builders import write_cell, write_project

MODELS = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet")
VIEWS = [(width, dark) for width in (390, 1280) for dark in (False, True)]
ROWS = "[...document.querySelectorAll('#results tbody tr:not(.remark)')]"
SHOWN = (
    f"{ROWS}.filter((row) => row.offsetParent).map((row) => row.cells[0].textContent + '/' + row.cells[1].dataset.v)"
)
"""Rows that are on the page, as model/scheme."""
LOW_CONTRAST = """(() => {
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  // A colour as light that reaches the eye, on the colour below it.
  const over = (colors) => {
    pen.clearRect(0, 0, 1, 1);
    for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set();
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("svg, script, option, .pic:not(.absent)")) continue;
    const below = [];
    for (let up = element; up; up = up.parentElement) below.unshift(getComputedStyle(up).backgroundColor);
    const [ground, ink] = [over(below), over([...below, getComputedStyle(element).color])];
    const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
    if (ratio < 4.5) found.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}: ${node.data.trim()}`);
  }
  return [...found];
})()"""
"""Texts with less contrast than 4.5 to 1, which WCAG 2.1 asks for (1.4.3, level AA)."""


def write_page(root: Path) -> Path:
    """A page with every scheme, a row that fails, rows that do not apply, and pictures."""
    layout: Layout = write_project(root, MODELS, params={"report": {"num_pictures": 1}})
    write_cell(layout, MODELS[0], "int8", validation_changes={"box_ap_drop": 3.1})
    assert main(["--root", str(root)]) == 0
    return layout.report / PAGE_FILE


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (program := find_browser()):
        pytest.skip("no Chromium on PATH; Debian: apt-get install chromium")
    with Browser(program) as started:
        yield started


@pytest.fixture(params=VIEWS, ids=[f"{width}-{'dark' if dark else 'light'}" for width, dark in VIEWS])
def view(request: pytest.FixtureRequest, browser: Browser, page: Path) -> Iterator[Browser]:
    """The page in a window; whatever a test does to it, its console stays empty."""
    width, dark = request.param
    browser.load(page.as_uri(), width=width, dark=dark)
    yield browser
    assert browser.errors == []


@pytest.fixture
def desktop(browser: Browser, page: Path) -> Iterator[Browser]:
    browser.load(page.as_uri(), width=1280)
    yield browser
    assert browser.errors == []


def test_nothing_is_wider_than_the_window_whatever_is_opened(view: Browser) -> None:
    width = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    closed, window = view.run(width)
    assert closed == window
    view.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert view.run(width) == [window, window]


def test_every_text_stands_out_from_its_ground(view: Browser) -> None:
    assert view.run(LOW_CONTRAST) == []


def test_light_and_dark_differ(browser: Browser, page: Path) -> None:
    grounds = []
    for dark in (False, True):
        browser.load(page.as_uri(), width=1280, dark=dark)
        grounds.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(246, 247, 249)", "rgb(17, 20, 24)"]


def test_gate_and_ap_of_a_row_are_seen_on_a_phone_without_scrolling(browser: Browser, page: Path) -> None:
    browser.load(page.as_uri(), width=390)
    right = f"Math.max(...{ROWS}.map((row) => row.cells[3].getBoundingClientRect().right))"
    assert browser.run("document.querySelector('#results thead').rows[0].cells[3].textContent") == "box AP"
    assert browser.run(right) <= 390
    assert browser.run(f"{ROWS}.every((row) => row.cells[1].querySelector('.model').offsetParent)"), "model of a row"


def test_a_column_sorts_up_and_down_and_remarks_stay_with_their_rows(desktop: Browser) -> None:
    head = "[...document.querySelectorAll('#results thead th')].find((th) => th.textContent === 'size MB')"
    index = desktop.run(f"{head}.cellIndex")
    values = f"{ROWS}.map((row) => row.cells[{index}].dataset.v).filter(Boolean).map(Number)"
    desktop.run(f"{head}.click()")
    up = desktop.run(values)
    assert up == sorted(up)
    assert up[0] < up[-1]
    desktop.run(f"{head}.click()")
    assert desktop.run(values) == sorted(up, reverse=True)
    owner = "document.querySelector('#results tr.remark.fail').previousElementSibling"
    assert desktop.run(f"[{owner}.cells[0].textContent, {owner}.cells[1].dataset.v]") == [MODELS[0], "int8"]


def test_schemes_sort_by_their_names(desktop: Browser) -> None:
    desktop.run("document.querySelector('#results thead').rows[0].cells[1].click()")
    names = desktop.run(f"{ROWS}.map((row) => row.cells[1].dataset.v)")
    assert names[:4] == ["dynamic_range", "dynamic_range", "float16", "float16"]


def choose(browser: Browser, key: str, value: str) -> list[str]:
    """Sets a filter as a person would, and gives the rows that are left."""
    field = f"document.querySelector('[data-filter=\"{key}\"]')"
    browser.run(f"{field}.value = '{value}'; {field}.dispatchEvent(new Event('input'))")
    rows: list[str] = browser.run(SHOWN)
    return rows


def test_rows_filter_by_name_model_and_verdict(desktop: Browser) -> None:
    everything = desktop.run(SHOWN)
    assert len(everything) == 36
    found = choose(desktop, "text", "openvino")
    assert found == [name for name in everything if "openvino" in name]
    assert desktop.run("document.querySelector('[data-count]').textContent") == f"{len(found)} of 36 rows"
    assert choose(desktop, "0", MODELS[1]) == [name for name in found if name.startswith(MODELS[1])]
    assert choose(desktop, "text", "proof") == [], "a link's text is no name"
    choose(desktop, "text", "")
    choose(desktop, "0", "")
    assert choose(desktop, "2", "fail") == [f"{MODELS[0]}/int8"]
    remarks = "[...document.querySelectorAll('#results tr.remark')].filter((row) => row.offsetParent).length"
    assert desktop.run(remarks) == 1
    assert choose(desktop, "2", "") == everything


def test_a_picture_enlarges_and_closes(view: Browser) -> None:
    width = "document.querySelector('{} .pic').getBoundingClientRect().width"
    small = view.run(width.format("#pictures"))
    view.run("document.querySelector('#pictures .pic').click()")
    assert view.run("document.getElementById('zoom').open")
    assert view.run(width.format("#zoom")) > 1.5 * small
    view.press("Escape")
    assert not view.run("document.getElementById('zoom').open")


def test_worst_images_open_beside_ground_truth_and_float_model(desktop: Browser) -> None:
    desktop.run("document.querySelector('#moved details').open = true")
    titles = "[...document.querySelector('#moved .pair').querySelectorAll('figcaption')].map((c) => c.textContent)"
    assert desktop.run(titles) == ["ground truth", "float 1.00", "float32 1.00"]
    widths = "[...document.querySelector('#moved .pair').querySelectorAll('.pic')].map((pic) => pic.clientWidth)"
    assert min(desktop.run(widths)) > 100
