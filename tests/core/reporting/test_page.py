import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from stages.core.base.layout import Layout
from stages.core.params.steps import GateParams
from stages.core.reporting.classes import class_tables, classes_to_markdown
from stages.core.reporting.collect import worst_parity
from stages.core.reporting.content import (
    Content,
    heat_tables,
    scatter_cards,
    subset_notes,
    training_cards,
    warning_notes,
)
from stages.core.reporting.page import render_page
from stages.core.reporting.report import read_content
from stages.core.results.classes import ClassCurve, ClassResults, Confusion
from stages.core.results.status import Status
from stages.core.results.validation import Accuracy, Parity, Protocol
from tests.builders import average_precision, class_results, write_cell, write_project

MODELS, SCHEMES = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"), ("float32", "int8", "int16x8")
VOID = {"meta", "link", "input", "br", "wbr", "img", "hr", "line", "path", "rect", "circle"}


class Tree(HTMLParser):
    """Checks that tags are balanced, and keeps what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag


def parse(page: str) -> Tree:
    tree = Tree()
    tree.feed(page)
    assert tree.open == []
    return tree


def content_of(layout: Layout, models: tuple[str, ...] = MODELS, *, num_pictures: int = 2) -> Content:
    return read_content(
        layout,
        models,
        SCHEMES,
        gate=GateParams(),
        split="val",
        num_pictures=num_pictures,
        score_threshold=0.5,
        num_moved=20,
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, MODELS, SCHEMES)


def test_the_page_holds_all_it_needs(layout: Layout) -> None:
    page = render_page(content_of(layout))
    tree = parse(page)
    # Links that a reader may follow, to the files that the table is about; nothing is fetched.
    links = {link for link in tree.fetched if not link.startswith("#")}
    assert all(link.startswith("../converted/") for link in links)
    assert {(layout.report / link).resolve().is_file() for link in links} == {True}
    assert len(links) == 3 * len(MODELS) * len(SCHEMES), "each row's file, interface and proof"
    assert not re.search(r"https?://", page)
    assert not re.search(r"@import|url\((?!\"data:image/jpeg)", page)
    assert "default-src 'none'" in page
    assert len(page) < 2_000_000


def test_the_page_says_what_the_report_must(layout: Layout) -> None:
    page = render_page(content_of(layout))
    for part in (
        "targets",
        "moved",
        "table",
        "tradeoff",
        "classes",
        "training",
        "agreement",
        "proof",
        "per-class",
        "pictures",
        "facts",
    ):
        assert f'id="{part}"' in page
    assert "The gate is green: 6 rows, none fails." in page
    # Two images of two models: truth, float, three schemes. Of each file, one that moved, with truth and float.
    assert page.count('class="panel"') == 2 * 2 * 5 + 2 * 3 * 3
    assert 'class="mask"' in page
    assert "triangle" in page
    assert "avx512_vnni" in page


def test_a_red_row_is_named_on_top_with_its_reason(layout: Layout) -> None:
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"box_ap_drop": 3.1})
    page = render_page(content_of(layout))
    assert "The gate is red: 1 of 6 rows fail." in page
    alarm = page[page.index('class="alarm"') :]
    assert "box_ap_drop 3.10 is above 2 (gate.max_ap_drop.int8) by 1.10 points" in alarm[:800]


IDENTICAL = Parity(output="same", sqnr_db=None, cosine=1.0, max_abs=0.0, num_images=16)
CLOSE = Parity(output="close", sqnr_db=12.3, cosine=0.9, max_abs=0.5, num_images=16)
ALL_ZERO = Parity(output="zero", sqnr_db=None, cosine=None, max_abs=0.5, num_images=16)
NOT_FINITE = Parity(output="nan", sqnr_db=None, cosine=None, max_abs=None, num_images=16)


@pytest.mark.parametrize(
    ("parity", "worst", "said"),
    [
        ((IDENTICAL,), IDENTICAL, "identical"),
        ((IDENTICAL, CLOSE), CLOSE, "12.3"),
        ((CLOSE, ALL_ZERO, IDENTICAL), ALL_ZERO, "–"),
        ((IDENTICAL, CLOSE, ALL_ZERO, NOT_FINITE), NOT_FINITE, "not finite"),
    ],
    ids=["identical", "measured", "no signal", "not finite"],
)
def test_the_worst_raw_output_is_shown(layout: Layout, parity: tuple[Parity, ...], worst: Parity, said: str) -> None:
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"parity": parity})
    content = content_of(layout)
    cell = next(cell for cell in content.cells if cell.name == "retinanet_mobiledet_edgetpu/int8")
    assert worst_parity(cell) == worst
    assert f'title="{worst.output}">{said}</td>' in render_page(content)


FAILED = {"status": Status.FAILED, "reason": "a <b>reason</b>"}
NOT_JUDGED = dict.fromkeys(
    (
        *("artifact_sha256", "accuracy", "reference", "box_ap_drop", "mask_ap_drop", "agreement"),
        *("box_classes", "mask_classes"),
    )
)
NOT_TIMED = dict.fromkeys(("artifact_sha256", "latency", "peak_rss_bytes", "gzip_bytes", "size_bytes", "init_ms"))


def fail_everything(layout: Layout) -> None:
    for model in MODELS:
        for scheme in SCHEMES:
            write_cell(
                layout,
                model,
                scheme,
                conversion_changes={**FAILED, "artifact": None, "sha256": None, "size_bytes": None},
                validation_changes={**FAILED, **NOT_JUDGED, "parity": (), "protocol": None},
                benchmark_changes={**FAILED, **NOT_TIMED},
            )
            (layout.converted(model, scheme) / "proof.json").unlink()
            layout.validated_outputs(model, scheme).unlink()


def forget_optional_things(layout: Layout) -> None:
    for model in MODELS:
        (layout.variant(model, "trained") / "history.json").unlink()
        (layout.reference(model)).unlink()
        for scheme in SCHEMES:
            layout.validated_outputs(model, scheme).unlink()


@pytest.mark.parametrize("damage", [fail_everything, forget_optional_things])
def test_what_is_absent_leaves_the_page_whole(damage: Callable[[Layout], None], layout: Layout) -> None:
    damage(layout)
    page = render_page(content_of(layout))
    parse(page)
    assert "None" not in re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.S)


def test_without_pictures_and_masks_the_page_has_no_such_parts(tmp_path: Path) -> None:
    layout = write_project(tmp_path, ("retinanet_mobiledet_edgetpu",), SCHEMES)
    page = render_page(content_of(layout, ("retinanet_mobiledet_edgetpu",), num_pictures=0))
    parse(page)
    assert 'id="pictures"' not in page
    assert "mask AP" not in page


def test_names_of_classes_are_text_and_not_markup(layout: Layout) -> None:
    hostile = {"1": "<script>alert(1)</script>", "2": '" onload="x'}
    accuracy = Accuracy(box=average_precision(60.0, hostile))
    write_cell(
        layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"accuracy": accuracy, "reference": accuracy}
    )
    page = render_page(content_of(layout))
    tree = parse(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert tree.tags.count("script") == 1


def test_what_seems_stated_wrongly_is_said_once_and_on_the_page(layout: Layout) -> None:
    note = "box AP would be 40.0 instead of 1.0 if its classes were one higher than stated"
    for scheme in ("int8", "float32"):
        write_cell(layout, "retinanet_mobiledet_edgetpu", scheme, validation_changes={"notes": (note,)})
    content = content_of(layout)
    assert warning_notes(content.cells) == (f"retinanet_mobiledet_edgetpu: {note}",)
    assert note in render_page(content)


def test_a_row_judged_on_a_part_says_so(layout: Layout) -> None:
    part = Protocol(
        split="val",
        num_images=2,
        split_images=6,
        subset="576 ms an image",
        image_ids_sha256="0",
        data_sha256="0",
        score_floor=0.05,
    )
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int16x8", validation_changes={"protocol": part})
    content = content_of(layout)
    assert subset_notes(content.cells) == (
        "retinanet_mobiledet_edgetpu/int16x8 was evaluated on 2 of 6 images, float model included: 576 ms an image",
    )
    page = render_page(content)
    assert "evaluated on 2 of 6 images" in page
    stars = [part.count('title="evaluated on a part of the split"') for part in page.split("<section")]
    assert [count for count in stars if count] == [1, 2], "the table of results; drops and thresholds by class"


def test_scatter_charts_grey_out_dominated_rows(layout: Layout) -> None:
    cards = scatter_cards(content_of(layout))
    assert [card.title for card in cards] == [
        "Box AP against latency",
        "Box AP against size",
        "Mask AP against latency",
        "Mask AP against size",
    ]
    kinds = {(mark.series, mark.label): mark.kind for mark in cards[0].chart.marks}
    assert kinds[0, "int16x8"] == "dominated"
    assert kinds[1, "float32"] == "best"


def test_detail_tables_hold_float_and_schemes_for_areas_and_classes(layout: Layout) -> None:
    tables = heat_tables(content_of(layout))
    assert [(table.model, table.kind) for table in tables] == [
        ("retinanet_mobiledet_edgetpu", "box"),
        ("maskrcnn_mobiledet", "box"),
        ("maskrcnn_mobiledet", "mask"),
    ]
    assert tables[0].columns == ("float", *SCHEMES)
    assert [name for name, _ in tables[0].lines][tables[0].num_summary :] == ["circle", "square", "triangle"]


def write_classes(layout: Layout, names: list[str], **changes: Any) -> None:
    accuracy = Accuracy(box=average_precision(60.0, {str(key): name for key, name in enumerate(names, start=1)}))
    results = class_results(names, num_objects=1000)
    judged = {"accuracy": accuracy, "reference": accuracy, "box_classes": results, **changes}
    for scheme in SCHEMES:
        write_cell(layout, "retinanet_mobiledet_edgetpu", scheme, validation_changes=judged)


NO_DETECTIONS = ClassResults(
    curves={"circle": ClassCurve(num_objects=4), "square": ClassCurve(num_objects=0)},
    overall=ClassCurve(num_objects=4),
    confusion=Confusion(classes=("circle", "square"), counts=((0, 0, 4), (0, 0, 0), (0, 0, 0)), score_threshold=0.3),
)


@dataclass(frozen=True)
class ClassCase:
    """Classes of a data set, and what the section on classes must and must not say."""

    id: str
    names: list[str]
    says: tuple[str, ...]
    never: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)


CLASS_CASES = [
    ClassCase(
        "three classes, the last without objects",
        ["circle", "square", "triangle"],
        ("circle found: 800 of 1000", "circle missed: 200 of 1000",
         "circle where there is no object: 3 of 803 detections", "1900", "0.44<small> F1 0.85</small>", "score ≥ 0.3"),
        ("taken together", "triangle found", "triangle missed"),
    ),
    ClassCase("one class", ["nut"], ("nut found: 800 of 1000", "Precision over recall, float32"), ("taken together",)),
    ClassCase(
        "eighty classes",
        [f"class {number}" for number in range(80)],
        ("The 20 classes with the most objects; the other 60 are taken together.",
         "Curves of the 7 classes with the most objects; those of 72 others",
         "(other classes)", 'class="card scroll tall"'),
    ),
    ClassCase(
        "no detections at all",
        ["circle", "square"],
        ("float32 found nothing.", "circle missed: 4 of 4"),
        ("Precision over recall, float32",),
        {"box_classes": NO_DETECTIONS},
    ),
    ClassCase(
        "measured before classes were",
        ["circle", "square"],
        ("AP, and drop by file",),
        ("Score threshold", "(background)"),
        {"box_classes": None},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CLASS_CASES, ids=attrgetter("id"))
def test_the_section_on_classes(case: ClassCase, layout: Layout) -> None:
    write_classes(layout, case.names, **case.changes)
    page = render_page(replace(content_of(layout, ("retinanet_mobiledet_edgetpu",)), pictures=()))
    parse(page)
    section = page[page.index('<section id="per-class">') : page.index('<section id="training">')]
    assert [text for text in case.says if text not in section] == []
    assert [text for text in case.never if text in section] == []
    assert "None" not in section
    assert len(page) < 1_000_000


def test_a_class_without_objects_is_a_dash(layout: Layout) -> None:
    ap = average_precision(60.0)
    gone = replace(ap, per_class=ap.per_class | {"triangle": None}, per_class_ap50={"triangle": None})
    write_classes(layout, ["circle", "square", "triangle"], accuracy=Accuracy(box=gone), reference=Accuracy(box=gone))
    table = class_tables(content_of(layout).cells)[0]
    line = table.lines[-1]
    assert (line.name, line.num_objects, line.ap, line.ap50) == ("triangle", None, None, None)
    assert {*line.drops, *line.best} == {None}
    assert "| triangle | – | – | – | – | – | – |" in classes_to_markdown([table])


def test_training_cards_draw_loss_and_validation_ap(layout: Layout) -> None:
    plain, masked = training_cards(content_of(layout))
    assert plain.loss is not None
    assert [line.name for line in plain.loss.lines] == ["train/total_loss"]
    assert masked.accuracy is not None
    assert [line.name for line in masked.accuracy.lines] == ["validation/box_ap", "validation/mask_ap"]


def test_a_picture_used_by_two_models_is_embedded_once(layout: Layout) -> None:
    content = content_of(layout)
    assert render_page(replace(content, moved=())).count("data:image/jpeg") == 2
    assert render_page(replace(content, pictures=())).count("data:image/jpeg") == 1
    assert render_page(replace(content, pictures=(), moved=())).count("data:image/jpeg") == 0
