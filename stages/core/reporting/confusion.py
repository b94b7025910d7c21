"""Confusion matrices as they are shown: the most frequent classes, shaded, and as long tables for `dvc plots`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.reporting.charts import Chart, recall_chart
from stages.core.reporting.classes import ALL_CLASSES, class_results
from stages.core.reporting.collect import Cell
from stages.core.results.classes import ClassCurve, ClassResults, Confusion

SHOWN_CLASSES = 20
SHOWN_CURVES = 7
BACKGROUND, MISSED, OTHERS = "(background)", "(missed)", "(other classes)"


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """One count.

    Attributes:
      kind: hit on the diagonal, else miss; empty where it says nothing.
      share: 0..100, of the row's objects, in the last row of the column's detections.
      title: The count in words; empty for 0.
    """

    count: int
    kind: str
    share: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A confusion matrix of at most twenty classes; the others are taken together.

    Attributes:
      rows: Name and counts of each actual class, in the end of the background.
      columns: Predicted classes, in the end what was missed.
      num_hidden: Classes that are taken together.
    """

    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    columns: tuple[str, ...]
    score_threshold: float
    num_hidden: int


@dataclass(frozen=True, kw_only=True)
class ClassCard:
    """One file class by class: precision over recall, and confusions.

    Attributes:
      chart: None where nothing was found.
      num_left_out: Classes that were found and have no curve in the chart, because others have more objects.
    """

    scheme: str
    chart: Chart | None
    matrix: Matrix
    num_left_out: int


def class_cards(cells: Sequence[Cell], kind: str) -> tuple[ClassCard, ...]:
    """One card per file that was measured class by class."""
    cards = []
    for cell in cells:
        if results := class_results(cell, kind):
            curves = shown_curves(results)
            cards.append(
                ClassCard(
                    scheme=cell.scheme,
                    chart=recall_chart([(name, curve.precision) for name, curve in curves]),
                    matrix=draw_matrix(results.confusion),
                    num_left_out=max(0, _num_drawable(results) - SHOWN_CURVES),
                )
            )
    return tuple(cards)


def shown_curves(results: ClassResults) -> list[tuple[str, ClassCurve]]:
    """All classes pooled, and the seven classes with the most objects, in their own order; of one class only that."""
    drawable = [(name, curve) for name, curve in results.curves.items() if curve.precision]
    if len(results.curves) == 1:
        return drawable
    frequent = sorted(drawable, key=lambda entry: -entry[1].num_objects)[:SHOWN_CURVES]
    chosen = {name for name, _ in frequent}
    return [(ALL_CLASSES, results.overall), *(entry for entry in drawable if entry[0] in chosen)]


def draw_matrix(confusion: Confusion) -> Matrix:
    """The matrix with shades and words."""
    names, counts = fold_classes(confusion)
    objects, detections = counts.sum(axis=1), counts.sum(axis=0)
    rows = []
    for row, actual in enumerate([*names, BACKGROUND]):
        cells = []
        for column, predicted in enumerate([*names, MISSED]):
            whole = detections[column] if actual == BACKGROUND else objects[row]
            cells.append(_cell(int(counts[row, column]), int(whole), actual, predicted))
        rows.append((actual, tuple(cells)))
    return Matrix(
        rows=tuple(rows),
        columns=(*names, MISSED),
        score_threshold=confusion.score_threshold,
        num_hidden=max(0, len(confusion.classes) - SHOWN_CLASSES),
    )


def fold_classes(confusion: Confusion) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and counts of the twenty classes with the most objects, in their own order; the others taken together.

    Returns:
      Names, and int [names + 1, names + 1]: [actual][predicted], background last.
    """
    counts = np.asarray(confusion.counts)
    num = len(confusion.classes)
    if num <= SHOWN_CLASSES:
        return confusion.classes, counts
    objects = counts[:num].sum(axis=1)
    shown = sorted(np.argsort(-objects, kind="stable")[:SHOWN_CLASSES].tolist())
    indices = np.full(num + 1, len(shown))
    indices[shown], indices[num] = np.arange(len(shown)), len(shown) + 1
    folded = np.zeros((len(shown) + 2, len(shown) + 2), int)
    np.add.at(folded, (indices[:, None], indices[None, :]), counts)
    return (*(confusion.classes[index] for index in shown), OTHERS), folded


def write_confusions(cells: Sequence[Cell], folder: Path) -> None:
    """`<model>/<scheme>.csv` for boxes: a line per object and per false detection, for DVC's `confusion` template."""
    for cell in cells:
        if results := class_results(cell, "box"):
            path = folder / cell.model / f"{cell.scheme}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("actual", "predicted"))
                writer.writerows(list_confusions(results.confusion))


def list_confusions(confusion: Confusion) -> list[tuple[str, str]]:
    """(actual, predicted) as often as it happened."""
    names, counts = fold_classes(confusion)
    return [
        (actual, predicted)
        for row, actual in enumerate([*names, BACKGROUND])
        for column, predicted in enumerate([*names, MISSED])
        for _ in range(int(counts[row, column]))
    ]


def _cell(count: int, whole: int, actual: str, predicted: str) -> MatrixCell:
    share = 100 * count / whole if whole else 0.0
    if (actual, predicted) == (BACKGROUND, MISSED):
        return MatrixCell(count=0, kind="", share=0.0, title="")
    if (actual, predicted) == (OTHERS, OTHERS):
        title = f"other classes taken for themselves or for each other: {count} of {whole}"
        return MatrixCell(count=count, kind="", share=share, title=title if count else "")
    words = "found" if actual == predicted else "missed" if predicted == MISSED else f"taken for {predicted}"
    title = f"{actual} {words}: {count} of {whole}"
    if actual == BACKGROUND:
        title = f"{predicted} where there is no object: {count} of {whole} detections"
    return MatrixCell(
        count=count, kind="hit" if actual == predicted else "miss", share=share, title=title if count else ""
    )


def _num_drawable(results: ClassResults) -> int:
    return sum(bool(curve.precision) for curve in results.curves.values())
