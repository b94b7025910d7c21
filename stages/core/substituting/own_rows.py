"""A user's own substitutions: functions of a Python file that the user named, and rows that change attributes."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml

from stages.core.base.errors import ArtifactError, ParamsError
from stages.core.substituting.values import Value
from stages.core.substituting.walker import Rule, Walker, read_attribute

TABLE_NAME = "SUBSTITUTIONS"
ROW_KEYS = ("op", "name", "set")


def load_own_rules(path: Path) -> dict[str, Rule]:
    """The rows of a Python file: `SUBSTITUTIONS = {op: function}`. The file is run; name only files that you trust.

    A function takes the node's input tensors and its attributes, and returns the tensors that replace its outputs.

    Raises:
      ParamsError: if there is no such file, it fails, or it has no such table.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location("own_substitutions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ParamsError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    table = getattr(module, TABLE_NAME, None)
    if not isinstance(table, dict) or not table or not all(callable(function) for function in table.values()):
        raise ParamsError(f"{path}: expected {TABLE_NAME} = {{op: function}} (found {type(table).__name__})")
    return {op: _adapt(function, path) for op, function in table.items()}


def _adapt(function: Any, path: Path) -> Rule:
    def rule(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
        if any(value.padded for value in inputs):
            raise ArtifactError(f"{path}: its row got a list whose length the image decides")
        attributes = {name: read_attribute(value) for name, value in node.attr.items()}
        results = function([walker.tensor(value) for value in inputs], attributes)
        if not isinstance(results, list | tuple) or not all(isinstance(item, tf.Tensor) for item in results):
            raise ArtifactError(f"{path}: its row returned {type(results).__name__}, expected a list of tensors")
        return [Value(raw=result) for result in results]

    return rule


def load_attribute_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a YAML file: a list of `{op: ..., name: regular expression (optional), set: {attribute: value}}`.

    Raises:
      ParamsError: if it is not such a list.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file")
    try:
        rows = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(rows, list):
        raise ParamsError(f"{path}: expected a list of rows (found {type(rows).__name__})")
    for row in rows:
        keys = set(row) if isinstance(row, dict) else set()
        if not {"op", "set"} <= keys <= set(ROW_KEYS) or not isinstance(row["set"], dict):
            raise ParamsError(f"{path}: expected rows of {', '.join(ROW_KEYS)} (found {row!r})")
    return rows


def change_attributes(graph: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, dict[str, int]]:
    """A copy of a GraphDef with attributes set, and how many nodes each row met, by op.

    Raises:
      ArtifactError: if a row meets no node, or an attribute does not exist or has another type.
    """
    changed = tf.compat.v1.GraphDef()
    changed.CopyFrom(graph)
    counts: dict[str, int] = {}
    bodies = [changed.node, *(function.node_def for function in changed.library.function)]
    for row in rows:
        met = 0
        for node in (node for body in bodies for node in body):
            if node.op == row["op"] and re.search(row.get("name", ""), node.name):
                met += 1
                for name, value in row["set"].items():
                    _set(node, name, value)
        if not met:
            kinds = sorted({node.op for body in bodies for node in body})
            raise ArtifactError(f"no node fits the row {dict(row)}; the graph has {', '.join(kinds)}")
        counts[row["op"]] = counts.get(row["op"], 0) + met
    return changed, counts


def _set(node: Any, name: str, value: Any) -> None:
    if name not in node.attr:
        raise ArtifactError(f"{node.name} ({node.op}) has no attribute {name!r}; it has {', '.join(sorted(node.attr))}")
    kind = node.attr[name].WhichOneof("value")
    types: dict[str, tuple[type, ...]] = {"s": (str,), "i": (int,), "f": (float, int), "b": (bool,)}
    if kind not in types or not isinstance(value, types[kind]) or (kind != "b" and isinstance(value, bool)):
        raise ArtifactError(f"{node.name} ({node.op}): {name} cannot be {value!r} (it is {node.attr[name]})".strip())
    setattr(node.attr[name], kind, value.encode() if isinstance(value, str) else value)
