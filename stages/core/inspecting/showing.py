"""An inspection as tables on the terminal, and as one HTML page."""

from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.table import Table

from stages.core.inspecting.findings import Inspection, TensorFacts

Section = tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]
"""Title, column names, lines."""
SHOWN_TENSORS = 12


def to_sections(found: Inspection) -> list[Section]:
    """Everything that was found, as tables; empty ones are left out."""
    facts = [
        ("file", found.path),
        ("is", found.kind),
        ("size", f"{found.size_bytes:,} bytes"),
        ("sha256", found.sha256),
        ("numbers", found.numbers),
        ("schemes that it may be", ", ".join(found.schemes)),
        ("MACs", "" if found.macs is None else f"{found.macs:,}"),
        ("labels", f"{len(found.labels)}: {', '.join(found.labels[:8])}" if found.labels else ""),
        *found.metadata,
        *(("note", note) for note in found.notes),
    ]
    sections: list[Section] = [("model", ("", ""), [(name, value) for name, value in facts if value])]
    for signature in found.signatures:
        lines = [
            (what, *_tensor(tensor))
            for what, tensors in (("input", signature.inputs), ("output", signature.outputs))
            for tensor in tensors[:SHOWN_TENSORS]
        ]
        hidden = sum(max(len(tensors) - SHOWN_TENSORS, 0) for tensors in (signature.inputs, signature.outputs))
        if hidden:
            lines.append(("", f"... and {hidden} more", "", "", ""))
        sections.append((f"signature {signature.name}", ("", "name", "shape", "type", "quantized"), lines))
    ops = [(row.op, str(row.count), f"{row.macs:,}" if row.macs else "", row.special) for row in found.ops]
    sections.append(("ops", ("op", "number", "MACs", ""), ops))
    weights = [(row.dtype, f"{row.tensors:,}", f"{row.values:,}") for row in found.weights]
    sections.append(("stored numbers", ("type", "tensors", "values"), weights))
    obstacles = [(row.target, row.what, row.advice) for row in found.obstacles]
    sections.append(("what stands in the way", ("target", "what", "what can be done"), obstacles))
    return [section for section in sections if section[2]]


def print_inspection(found: Inspection, console: Console) -> None:
    """Tables on the terminal."""
    for title, columns, lines in to_sections(found):
        table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
        for line in lines:
            table.add_row(*(_plain(cell) for cell in line))
        console.print(table)


def inspection_to_html(found: Inspection) -> str:
    """One page without references to anything outside of it."""
    parts = []
    for title, columns, lines in to_sections(found):
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
        parts.append(f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>")
    style = "body{font:14px sans-serif;margin:2em}td,th{text-align:left;padding:2px 12px 2px 0;vertical-align:top}"
    name = escape(found.path)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{style}</style>'
        f"<h1>{name}</h1>{''.join(parts)}</html>\n"
    )


def _plain(cell: str) -> str:
    # Square brackets are markup to Rich.
    return cell.replace("[", "\\[")


def _tensor(tensor: TensorFacts) -> tuple[str, str, str, str]:
    shape = "unknown" if tensor.shape is None else str(list(tensor.shape)).replace("-1", "?")
    quantized = "" if tensor.scale is None else f"scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return tensor.name, shape, tensor.dtype, quantized
