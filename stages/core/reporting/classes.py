"""Class by class: the float model's AP, what each file loses on each class, and which score threshold suits it."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.core.reporting.collect import Cell, class_drop, is_of_converted
from stages.core.reporting.tables import ABSENT, format_number
from stages.core.results.classes import ClassResults, OperatingPoint
from stages.core.results.validation import AveragePrecision

KINDS = {"box": "boxes", "mask": "masks"}
ALL_CLASSES = "all classes"


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One class.

    Attributes:
      num_objects: On the evaluated images; None where there are none or nobody counted them.
      ap, ap50: Of the float model, in points; None without objects.
      drops: By scheme, in points: the float model's AP minus the file's, on the images that the file was evaluated on.
      best: By scheme, the threshold with the best F1.
    """

    name: str
    num_objects: int | None
    ap: float | None
    ap50: float | None
    drops: tuple[float | None, ...]
    best: tuple[OperatingPoint | None, ...]


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """Boxes or masks of one model, one line a class.

    Attributes:
      cells: The files that were evaluated, a column each.
      overall: All classes under one threshold: its AP is the mean over classes.
    """

    model: str
    kind: str
    cells: tuple[Cell, ...]
    overall: ClassLine
    lines: tuple[ClassLine, ...]

    @property
    def title(self) -> str:
        return f"{self.model}, {KINDS[self.kind]}"

    @property
    def has_thresholds(self) -> bool:
        return any(class_results(cell, self.kind) for cell in self.cells)


def class_tables(cells: Sequence[Cell]) -> tuple[ClassTable, ...]:
    """Boxes, and masks where there are any, of each model that was evaluated."""
    tables = []
    for model in dict.fromkeys(cell.model for cell in cells):
        for kind in KINDS:
            measured = [_Measured.read(cell, kind) for cell in cells if cell.model == model]
            if columns := [column for column in measured if column]:
                tables.append(_class_table(model, kind, columns))
    return tuple(tables)


def class_results(cell: Cell, kind: str) -> ClassResults | None:
    """What `validate` measured class by class; nothing if it was measured on another file than the converted one."""
    found: ClassResults | None = getattr(cell.validation, f"{kind}_classes")
    return found if is_of_converted(cell) else None


def classes_to_markdown(tables: Sequence[ClassTable]) -> str:
    """One table per model and kind; empty without any."""
    parts: list[str] = []
    for table in tables:
        schemes = [cell.scheme for cell in table.cells]
        lines = [f"## AP by class: {table.title}", ""]
        lines.append(f"| class | objects | float AP | float AP50 | {' | '.join(f'{name} drop' for name in schemes)} |")
        lines.append("|---|" + "---:|" * (3 + len(schemes)))
        for line in table.lines:
            numbers = [format_number(line.ap), format_number(line.ap50), *(format_number(d, 2) for d in line.drops)]
            name = " ".join(line.name.split()).replace("|", "\\|")
            lines.append(f"| {name} | {line.num_objects or ABSENT} | {' | '.join(numbers)} |")
        parts += ["", *lines]
    return "\n".join([*parts, ""]) if parts else ""


@dataclass(frozen=True)
class _Measured:
    """A file that was evaluated, and the float model beside it on the same images."""

    cell: Cell
    reference: AveragePrecision
    got: AveragePrecision
    results: ClassResults | None

    @classmethod
    def read(cls, cell: Cell, kind: str) -> "_Measured | None":
        validation = cell.validation
        if not validation.accuracy or not validation.reference or not is_of_converted(cell):
            return None
        got, reference = getattr(validation.accuracy, kind), getattr(validation.reference, kind)
        return cls(cell, reference, got, class_results(cell, kind)) if got and reference else None

    @property
    def num_images(self) -> int:
        return self.cell.validation.protocol.num_images if self.cell.validation.protocol else 0


def _class_table(model: str, kind: str, columns: Sequence[_Measured]) -> ClassTable:
    widest = max(columns, key=lambda column: column.num_images)
    reference, counted = widest.reference, widest.results
    lines = []
    for name in reference.per_class:
        curves = [column.results.curves.get(name) if column.results else None for column in columns]
        own = counted.curves.get(name) if counted else None
        lines.append(
            ClassLine(
                name=name,
                num_objects=(own.num_objects or None) if own else None,
                ap=reference.per_class[name],
                ap50=reference.per_class_ap50.get(name),
                drops=tuple(class_drop(column.reference, column.got, name) for column in columns),
                best=tuple(curve.best if curve else None for curve in curves),
            )
        )
    overall = ClassLine(
        name=ALL_CLASSES,
        num_objects=counted.overall.num_objects if counted else None,
        ap=reference.ap,
        ap50=reference.ap50,
        drops=tuple(getattr(column.cell.validation, f"{kind}_ap_drop") for column in columns),
        best=tuple(column.results.overall.best if column.results else None for column in columns),
    )
    cells = tuple(column.cell for column in columns)
    return ClassTable(model=model, kind=kind, cells=cells, overall=overall, lines=tuple(lines))
