"""What a folder looks like, for error messages that help."""

from pathlib import Path


def describe_folder(folder: Path) -> str:
    """A few words on what a data folder holds, with the source that would fit it."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    if any((folder / "Annotations").glob("*.xml")) or any(folder.glob("*.xml")):
        return "it holds XML annotations: is prepare.source voc?"
    if any(folder.glob("*.json")) or any((folder / "annotations").glob("*.json")):
        return "it holds JSON files: is prepare.source coco?"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "it is empty"
    return f"it holds {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")
