"""Every number of a model in a scheme, by the name it is published under."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from stages.core.base.hashing import hash_value
from stages.core.reporting.collect import Cell, worst_parity
from stages.core.results.classes import ClassResults
from stages.core.results.table import Row
from stages.core.results.training import InitRecord
from stages.core.results.validation import AveragePrecision, Interval

MAX_CLASS_KEY = 100
"""MLflow takes names of 250 characters, folder included."""


def cell_to_numbers(cell: Cell, row: Row) -> dict[str, float]:
    """Every number of a row and of the records behind it, each under one name; missing ones are left out.

    What the results table shows has the table's name (`box_ap`, `latency_p50_ms`); what is behind it is grouped by what
    measured it (`box/ap50`, `latency/p99_ms`).
    """
    numbers: dict[str, Any] = {
        name: value for name, value in asdict(row).items() if isinstance(value, int | float) and name != "status"
    }
    for name, value in ((field.name, getattr(row, field.name)) for field in fields(row)):
        if isinstance(value, Interval):
            stem = name.removesuffix("_interval")
            numbers |= {f"{stem}_low": value.low, f"{stem}_high": value.high}
    for side, accuracy in (("", cell.validation.accuracy), ("float_", cell.validation.reference)):
        for kind in ("box", "mask"):
            if accuracy and (ap := getattr(accuracy, kind)):
                numbers |= _ap_numbers(f"{side}{kind}", ap)
    for kind in ("box", "mask"):
        if classes := getattr(cell.validation, f"{kind}_classes"):
            numbers |= _class_numbers(kind, classes)
    if agreement := cell.validation.agreement:
        names = ("precision", "recall", "mean_iou", "score_shift", "num_matched")
        numbers |= {f"agreement/{name}": getattr(agreement, name) for name in names}
    if parity := worst_parity(cell):
        numbers |= {"parity/worst_sqnr_db": parity.sqnr_db, "parity/cosine": parity.cosine}
        largest = [p.max_abs for p in cell.validation.parity if p.max_abs is not None]
        numbers |= {"parity/max_abs": max(largest) if parity.max_abs is not None else None}
    if latency := cell.benchmark.latency:
        numbers |= {"latency/p99_ms": latency.p99_ms, "latency/mean_ms": latency.mean_ms}
    costs = ("mean_detections", "init_ms", "baseline_rss_bytes")
    numbers |= {name: getattr(cell.benchmark, name) for name in costs}
    numbers |= device_numbers(row)
    if cell.proof:
        numbers |= {"proof/int8_macs_fraction": cell.proof.int8_macs_fraction, "proof/macs": cell.proof.macs}
    return {
        clean_name(name): shorten(value)
        for name, value in in_megabytes({k: float(v) for k, v in numbers.items() if _is_number(v)}).items()
    }


def shorten(value: float) -> float:
    """Four decimals, or four digits of what is small: MLflow's tables show all that there are.

    The files with the whole numbers are artifacts of the run.
    """
    return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")


def in_megabytes(numbers: Mapping[str, float]) -> dict[str, float]:
    """Bytes (`size_bytes`) as megabytes of 10^6 (`size_mb`), as the report and the gate state them."""
    sizes = {name: value for name, value in numbers.items() if name.endswith("_bytes")}
    others = {name: value for name, value in numbers.items() if name not in sizes}
    return others | {f"{name.removesuffix('_bytes')}_mb": value / 1e6 for name, value in sizes.items()}


def device_numbers(row: Row) -> dict[str, float]:
    """What other machines measured of a row's file: `device/<device and threads>/latency_p50_ms` and the like."""
    keys = class_keys(row.devices)
    return {
        f"device/{keys[label]}/{name}": value for label, found in row.devices.items() for name, value in found.items()
    }


def init_numbers(record: InitRecord) -> dict[str, float]:
    """How many variables of each part of a model an init checkpoint gave, of how many."""
    return {
        clean_name(f"init/{part.part}/{name}"): float(getattr(part, name))
        for part in record.parts
        for name in ("loaded", "variables")
    }


def clean_name(name: str) -> str:
    """A metric name as MLflow takes it: letters, digits, `_-./:`, no blanks, and no empty or dotted path parts."""
    parts = (re.sub(r"[^\w\-.:]", "_", part).strip(".") or "_" for part in name.split("/"))
    return "/".join(parts)


def class_keys(names: Iterable[str]) -> dict[str, str]:
    """What each class is called inside a metric's name: its own name as far as MLflow takes it.

    Slashes would open a folder. Names that would become equal (`a/b` and `a b`), also but for case, and such as are too
    long get the beginning of their hash, so that any set of names gives as many metrics.
    """
    names = tuple(dict.fromkeys(names))
    cleaned = {name: clean_name(name.replace("/", "_")) for name in names}
    taken = Counter(key.casefold() for key in cleaned.values())
    return {
        name: key
        if taken[key.casefold()] == 1 and len(key) <= MAX_CLASS_KEY
        else f"{key[:MAX_CLASS_KEY]}-{hash_value(name)[:8]}"
        for name, key in cleaned.items()
    }


def _ap_numbers(kind: str, ap: AveragePrecision) -> dict[str, float | None]:
    # AP itself is a number of the row: `box_ap`, and `box_ap_float` for the float model.
    fields = {name: value for name, value in asdict(ap).items() if name != "ap"}
    summary = {f"{kind}/{name}": value for name, value in fields.items() if not name.startswith("per_class")}
    keys = class_keys(ap.per_class)
    return {
        **summary,
        **_by_class(f"{kind}_per_class", ap.per_class, keys),
        **_by_class(f"{kind}_ap50_per_class", ap.per_class_ap50, keys),
    }


def _class_numbers(kind: str, classes: ClassResults) -> dict[str, float | None]:
    best, curves = classes.overall.best, classes.curves
    keys = class_keys(curves)
    points = {name: curve.best for name, curve in curves.items() if curve.best}
    return {
        **({f"{kind}_best/{name}": value for name, value in asdict(best).items()} if best else {}),
        # The same for boxes and masks: objects are counted once.
        **_by_class("objects_per_class", {name: curve.num_objects for name, curve in curves.items()}, keys),
        **_by_class(f"{kind}_best_f1_per_class", {name: point.f1 for name, point in points.items()}, keys),
        **_by_class(
            f"{kind}_best_score_per_class", {name: point.score_threshold for name, point in points.items()}, keys
        ),
    }


def _by_class(folder: str, values: Mapping[str, float | None], keys: Mapping[str, str]) -> dict[str, float | None]:
    return {f"{folder}/{keys[name]}": value for name, value in values.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
