import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.layout import Layout
from stages.core.reporting.collect import read_cells
from stages.core.reporting.confusion import (
    BACKGROUND,
    MISSED,
    OTHERS,
    SHOWN_CURVES,
    draw_matrix,
    fold_classes,
    list_confusions,
    shown_curves,
    write_confusions,
)
from stages.core.results.classes import ClassCurve, ClassResults, Confusion
from tests.builders import write_project

TWO = Confusion(classes=("nut", "fig"), counts=((6, 2, 2), (1, 0, 0), (3, 0, 0)), score_threshold=0.3)


def test_shades_are_shares_of_objects_and_in_the_last_row_of_detections() -> None:
    matrix = draw_matrix(TWO)
    assert matrix.columns == ("nut", "fig", MISSED)
    assert [name for name, _ in matrix.rows] == ["nut", "fig", BACKGROUND]
    cells = {(name, matrix.columns[index]): cell for name, row in matrix.rows for index, cell in enumerate(row)}
    assert {key: (cell.kind, cell.share) for key, cell in cells.items() if cell.count} == {
        ("nut", "nut"): ("hit", 60.0),
        ("nut", "fig"): ("miss", 20.0),
        ("nut", MISSED): ("miss", 20.0),
        ("fig", "nut"): ("miss", 100.0),
        (BACKGROUND, "nut"): ("miss", 30.0),
    }
    assert cells["nut", "fig"].title == "nut taken for fig: 2 of 10"
    assert cells[BACKGROUND, MISSED].kind == ""


def many_classes(num: int = 30) -> Confusion:
    """Class i has i objects, all found, but for one of each even class, which is taken for class 0; one false alarm."""
    counts = np.diag([*range(num), 0])
    for index in range(2, num, 2):
        counts[index, index] -= 1
        counts[index, 0] += 1
    counts[num, 1] = 1
    rows = tuple(tuple(row) for row in counts.tolist())
    return Confusion(classes=tuple(f"c{index}" for index in range(num)), counts=rows, score_threshold=0.3)


def test_the_twenty_most_frequent_classes_are_shown_and_no_count_is_lost() -> None:
    confusion = many_classes()
    names, folded = fold_classes(confusion)
    assert names == (*(f"c{index}" for index in range(10, 30)), OTHERS)
    assert folded.sum() == np.sum(confusion.counts)
    assert folded[0].tolist() == [9, *[0] * 19, 1, 0], "one c10 was taken for c0, which is among the others"
    assert folded[20, 20] == sum(range(10))
    assert folded[21, 20] == 1
    matrix = draw_matrix(confusion)
    assert (matrix.num_hidden, len(matrix.rows), len(matrix.columns)) == (10, 22, 22)


@pytest.mark.parametrize("confusion", [TWO, many_classes()], ids=["two", "many"])
def test_the_long_table_has_a_line_per_count(confusion: Confusion) -> None:
    lines = Counter(list_confusions(confusion))
    assert sum(lines.values()) == np.sum(confusion.counts)
    assert (BACKGROUND, MISSED) not in lines
    if confusion is TWO:
        assert lines["fig", "nut"] == 1
        assert lines["nut", MISSED] == 2


def test_dvc_gets_one_table_per_file(tmp_path: Path) -> None:
    layout = write_project(tmp_path, ("retinanet_mobiledet_edgetpu",), ("float32", "int8"))
    write_confusions(read_cells(Layout(tmp_path), ("retinanet_mobiledet_edgetpu",), ("float32", "int8")), layout.report)
    with (layout.report / "retinanet_mobiledet_edgetpu" / "int8.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {"actual": "circle", "predicted": "circle"} in lines
    assert len(lines) == 10 + 9 + 3


def test_the_curves_of_the_most_frequent_classes_are_drawn() -> None:
    curves = {f"c{index}": ClassCurve(num_objects=index, precision=(0.5,) * 50) for index in range(1, 12)}
    curves["never found"] = ClassCurve(num_objects=99)
    results = ClassResults(curves=curves, overall=curves["c5"], confusion=TWO)
    names = [name for name, _ in shown_curves(results)]
    assert names == ["all classes", *(f"c{index}" for index in range(12 - SHOWN_CURVES, 12))]
