"""What was loaded, as a table for the log."""

from collections.abc import Iterator

from stages.core.results.training import InitRecord

SHOWN_CLASSES = 12


def describe_initialization(record: InitRecord) -> Iterator[str]:
    """Lines: where the weights come from, one for each part of the model, and what was adjusted."""
    yield f"initialized from {record.source} ({record.kind})"
    width = max(len(part.part) for part in record.parts)
    for part in record.parts:
        reason = f"  {part.reason}" if part.reason else ""
        yield f"  {part.part:<{width}}  {part.loaded:>4} of {part.variables:<4}{reason}".rstrip()
    if record.class_names_from:
        yield f"  classes: {_list_names(record.classes)} (names: {record.class_names_from})"
    for note in record.notes:
        yield f"  {note}"
    if record.unused:
        yield f"  {record.unused} of the checkpoint's variables have no counterpart here"
    yield f"  {len(record.missing)} not loaded" + (" (all in result.json)" if record.missing else "")


def _list_names(names: tuple[str, ...]) -> str:
    if not names:
        return "background alone, none of the same name"
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    return ", ".join(names[:SHOWN_CLASSES]) + more
