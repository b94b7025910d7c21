"""The report page of any rows: in a browser, on a phone and a desktop, light and dark."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from docs.browser import Browser, find_browser
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.params.steps import GateParams
from stages.core.reporting.page import render_page
from stages.core.reporting.report import read_content
from stages.core.results.status import Status
from stages.core.results.validation import Accuracy
from tests.builders import average_precision, class_results, write_cell, write_project
from tests.core.reporting.test_devices import cost, phone

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here (Debian: apt-get install chromium)")

PHONE, DESKTOP = 390, 1280
PLAIN, MASKED = "retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"
MANY = ("float32", "int8", "float16", "int16x8", "float32_postprocess_op", "openvino_int8", "pruned_int8", "qat_int8")
NOTHING = {
    "conversion_changes": ("artifact", "sha256", "size_bytes"),
    "validation_changes": ("accuracy", "reference", "box_ap_drop", "mask_ap_drop", "agreement", "protocol",
                           "box_classes", "mask_classes", "box_intervals", "mask_intervals", "artifact_sha256"),
    "benchmark_changes": ("latency", "size_bytes", "gzip_bytes", "init_ms", "peak_rss_bytes", "artifact_sha256"),
}  # fmt: skip
"""What the records of a file that was not made lack."""
REASON = "the converter ended with signal 11: " + "a_long_symbol" * 12


def leave(layout: Layout) -> None:
    """A project in which nothing is amiss."""


def redden(layout: Layout) -> None:
    """A row that fails, one that was not made, and a phone's latencies."""
    write_cell(layout, PLAIN, "int8", validation_changes={"box_ap_drop": 3.1, "box_intervals": None})
    write_json(phone(cost(layout, "float32")), layout.devices / "phone.json")
    fail(layout, PLAIN, "pruned_int8")


def fail(layout: Layout, model: str, scheme: str) -> None:
    """A row that was not made."""
    failed: dict[str, Any] = {"status": Status.FAILED, "reason": REASON}
    changes = {record: failed | dict.fromkeys(fields) for record, fields in NOTHING.items()}
    changes["conversion_changes"]["companions"] = changes["validation_changes"]["parity"] = ()
    write_cell(layout, model, scheme, **changes)
    (layout.converted(model, scheme) / "proof.json").unlink()


def fail_all(layout: Layout) -> None:
    """Every column of the table is dashes."""
    for scheme in ("int8", "float32"):
        fail(layout, MASKED, scheme)


def name_classes(layout: Layout) -> None:
    """Eighty classes, with names that no table was made for, AP from 0 to 100, and drops as large."""
    names = ["x" * 90, "<b>bold</b>", *(f"a name of several words {number}" for number in range(78))]
    box = replace(average_precision(60.0), per_class={name: min(100.0, 5.0 * i) for i, name in enumerate(names)})
    lost = replace(box, per_class=dict(zip(names, reversed(box.per_class.values()), strict=True)))
    for scheme in ("float32", "int8"):
        changes: dict[str, Any] = {"accuracy": Accuracy(box=lost), "reference": Accuracy(box=box)}
        changes["box_classes"] = class_results(names, num_objects=1000)
        write_cell(layout, PLAIN, scheme, validation_changes=changes)


@dataclass(frozen=True)
class Case:
    """A project, and what is done to it."""

    id: str
    models: tuple[str, ...]
    schemes: tuple[str, ...]
    change: Callable[[Layout], None] = leave
    num_pictures: int = 1


EVERYTHING = Case("two models in many schemes, some red", (PLAIN, MASKED), MANY, redden)
CASES = [
    EVERYTHING,
    Case("the other order", (MASKED, PLAIN), tuple(reversed(MANY)), redden),
    Case("one row", (PLAIN,), ("int8",)),
    Case("one row of a model with masks, without float32", (MASKED,), ("openvino_int8",)),
    Case("two schemes of which one does not apply", (MASKED,), ("int8_postprocess_op", "int8")),
    Case("only dashes", (MASKED,), ("int8", "float32"), fail_all),
    Case("no pictures", (PLAIN,), ("float32", "int8"), num_pictures=0),
    Case("eighty classes with awkward names", (PLAIN,), ("float32", "int8"), name_classes),
]

BROKEN_WORDS = r"""(() => {
  const found = [];
  for (const element of document.querySelectorAll("h1, h2, h3, h4, .what, thead th, tbody th")) {
    // Names of classes are the user's, of any length.
    if (!element.checkVisibility() || element.closest(".classes, .confusion, .heat tbody")) continue;
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode()); ) {
      for (const word of node.data.matchAll(/[^\s_\/-]+/g)) {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) found.push(word[0]);
      }
    }
  }
  return found;
})()"""
"""Words of headings and row names that run over two lines."""

PALE = r"""(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const c = color[i] / 255;
    return sum + weight * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const found = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, .pic, script, option")) continue;
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    const below = behind(element), color = rgba(getComputedStyle(element).color);
    color[3] *= opacity;
    const [a, b] = [light(over(color, below)), light(below)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.add(`${contrast.toFixed(2)} ${element.tagName}.${element.className}`);
  }
  return [...found];
})()"""
"""Texts whose contrast is below the 4.5 that WCAG AA asks for."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as started:
        yield started


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Writes the page of a case, once."""
    pages: dict[str, Path] = {}

    def write(case: Case) -> Path:
        if case.id not in pages:
            layout = write_project(tmp_path_factory.mktemp("project"), case.models, case.schemes)
            case.change(layout)
            content = read_content(
                layout,
                case.models,
                case.schemes,
                gate=GateParams(),
                split="val",
                num_pictures=case.num_pictures,
                score_threshold=0.5,
                num_moved=20 if case.num_pictures else 0,
            )
            layout.report.mkdir(parents=True)
            pages[case.id] = layout.report / "index.html"
            pages[case.id].write_text(render_page(content))
        return pages[case.id]

    return write


PageOf = Callable[[Case], Path]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("case", CASES, ids=attrgetter("id"))
def test_any_page_reads_well(case: Case, width: int, dark: bool, browser: Browser, page_of: PageOf) -> None:
    browser.load(page_of(case).as_uri(), width=width, dark=dark)
    # What is folded away must fit as well.
    browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    assert browser.errors == []
    assert browser.run("document.documentElement.scrollWidth") == width
    # A phone's browser widens its window to what does not fit.
    assert browser.run("innerWidth") == width
    assert browser.run(BROKEN_WORDS) == []
    assert browser.run(PALE) == []
    missing = "[...document.querySelectorAll('nav a')].map((a) => a.hash).filter((at) => !document.querySelector(at))"
    assert browser.run(missing) == []
    empty = "[...document.querySelectorAll('section')].filter((part) => part.offsetHeight < 40).map((part) => part.id)"
    assert browser.run(empty) == []


def test_the_checks_see_what_they_look_for(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><div style='width:600px'>wide</div>"
        "<h2 style='width:60px;overflow-wrap:anywhere'>unbreakable</h2><p style='color:#aaa'>pale</p>"
        "<script>console.error('an error'); nothing.there</script>"
    )
    browser.load(page.as_uri(), width=PHONE)
    assert browser.run("document.documentElement.scrollWidth") > PHONE
    assert browser.run(BROKEN_WORDS) == ["unbreakable"]
    assert browser.run(PALE) == ["2.32 P."]
    assert len(browser.errors) == 2


@pytest.mark.parametrize("name", ["masks", "boxes", "names"])
def test_switches_hide_what_is_drawn(name: str, browser: Browser, page_of: PageOf) -> None:
    browser.load(page_of(EVERYTHING).as_uri(), width=DESKTOP)
    of = {"masks": ".mask", "boxes": "rect", "names": "text"}
    shown = "[...document.querySelectorAll('#pictures .pic {}')].some((shape) => shape.checkVisibility())"
    browser.run(f"document.querySelector('[data-hide=no-{name}]').click()")
    assert {key: browser.run(shown.format(value)) for key, value in of.items()} == {key: key != name for key in of}
    browser.run(f"document.querySelector('[data-hide=no-{name}]').click()")
    assert browser.run(shown.format(of[name]))


def test_points_say_what_they_are(browser: Browser, page_of: PageOf) -> None:
    browser.load(page_of(EVERYTHING).as_uri(), width=PHONE)
    browser.run("document.querySelector('.mark.red').scrollIntoView({block: 'center', behavior: 'instant'})")
    browser.run("document.querySelector('.mark.red').focus()")
    assert browser.run("document.getElementById('tip').textContent").startswith(f"{PLAIN} / int8\nbox AP ")
    box = browser.run("document.getElementById('tip').getBoundingClientRect().toJSON()")
    assert box["left"] >= 0
    assert box["right"] <= PHONE
    browser.run("document.querySelector('.mark.red').blur()")
    assert browser.run("document.getElementById('tip').hidden")
