"""Finding the file that an annotation means, whatever machine, tool or share its path was written for."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit

from stages.core.datasets.checking import locate_image
from stages.core.datasets.data_files import list_data_files
from stages.core.datasets.decoding import SUFFIXES, RefusedError
from stages.core.datasets.samples import Refusal

PROBED_NAMES = 200
"""Image folders are told apart by whether they hold one of so many listed files."""


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """Where a listed image is.

    Attributes:
      folder, file: As in `SourceImage`.
      listed_as: The name in the annotation, where the file was found by another.
      refusal: Why there is no file, where there is none.
    """

    folder: Path
    file: str
    listed_as: str | None = None
    refusal: Refusal | None = None

    @property
    def is_there(self) -> bool:
        return self.refusal is None


class ImageFiles:
    """All images below a folder, by name; they are listed when the first is asked for.

    Attributes:
      top: The folder.
    """

    def __init__(self, top: Path) -> None:
        self.top = top

    @cached_property
    def paths(self) -> list[str]:
        """Relative to `top`, in name order."""
        return list_data_files(self.top, SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return self._group(path.rsplit("/", 1)[-1] for path in self.paths)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._group(PurePosixPath(path).stem for path in self.paths)

    def _group(self, names: Iterable[str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for name, path in zip(names, self.paths, strict=True):
            groups[_plain(name)].append(path)
        return groups

    def named(self, name: str) -> list[str]:
        """Files of this name in any folder; names in the same case are preferred."""
        return _prefer_case(self._by_name.get(_plain(name), []), lambda path: path.rsplit("/", 1)[-1] == name)

    def with_stem(self, stem: str) -> list[str]:
        """Files with this name but for the suffix, in any folder."""
        return _prefer_case(self._by_stem.get(_plain(stem), []), lambda path: PurePosixPath(path).stem == stem)


def _plain(name: str) -> str:
    """Equal for names that file systems do not tell apart: case, and composed or decomposed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _prefer_case(paths: list[str], is_same: Callable[[str], bool]) -> list[str]:
    return [path for path in paths if is_same(path)] or paths


def is_at(folder: Path, name: str) -> bool:
    """Whether a listed name is that of a file in a folder."""
    try:
        locate_image(folder, name)
    except RefusedError:
        return False
    return True


def probe_folders(names: Sequence[str], candidates: Sequence[Path]) -> Path:
    """The first of some folders that holds one of the first listed files; the first of all where none does."""
    probed = names[:PROBED_NAMES]
    return next(
        (candidate for candidate in candidates if any(is_at(candidate, name) for name in probed)), candidates[0]
    )


def resolve_names(names: Iterable[str], folder: Path, files: ImageFiles) -> dict[str, FoundImage]:
    """Where each listed image is: at its name below `folder`, else the only file that ends as the name does.

    Two names must not stand for one file, unless one of them is its own.

    Args:
      names: As listed.
      folder: What they are relative to.
      files: The images there are.
    """
    found = {name: resolve_name(name, folder, files) for name in names}
    owners: dict[Path, list[str]] = defaultdict(list)
    for name, image in found.items():
        if image.is_there:
            owners[image.folder / image.file].append(name)
    for path, sharing in owners.items():
        if len(sharing) == 1:
            continue
        for name in sharing:
            if found[name].listed_as is not None:
                other = next(another for another in sharing if another != name)
                refusal = Refusal(reason="ambiguous_name", detail=f"{path.name} is listed as {other!r} too")
                found[name] = FoundImage(folder=folder, file=name, refusal=refusal)
    return found


def resolve_name(name: str, folder: Path, files: ImageFiles) -> FoundImage:
    """Where one listed image is."""
    try:
        locate_image(folder, name)
    except RefusedError as refused:
        refusal = Refusal(reason=refused.reason, detail=refused.detail)
    else:
        return FoundImage(folder=folder, file=name)
    for form in name_forms(name):
        last = PurePosixPath(form)
        alike = files.named(last.name)
        if not alike and last.suffix.lower() not in SUFFIXES:  # tables that list images without their suffix
            alike = files.with_stem(last.name)
            form = last.with_name(PurePosixPath(alike[0]).name).as_posix() if len(alike) == 1 else form
        candidates = _with_longest_tail(alike, form)
        if len(candidates) == 1:
            return FoundImage(folder=files.top, file=candidates[0], listed_as=name)
        if candidates:
            shown = ", ".join(candidates[:3])
            refusal = Refusal(reason="ambiguous_name", detail=f"{len(candidates)} files end so: {shown}")
            return FoundImage(folder=folder, file=name, refusal=refusal)
    if refusal.reason == "unsafe_name":
        wanted = PurePosixPath(name_forms(name)[-1]).name
        refusal = Refusal(reason="unsafe_name", detail=f"{refusal.detail}, and there is no {wanted!r} below it")
    return FoundImage(folder=folder, file=name, refusal=refusal)


def name_forms(name: str) -> list[str]:
    """A listed name as a path with slashes; then what its parts may stand for: a query's value, percent signs.

    `/data/local-files/?d=images/x.png` is Label Studio's, `my%20pic.png` that of tools on the web.
    """
    forms = [name.replace("\\", "/")]
    if "?" in forms[0] or "://" in forms[0]:
        try:
            parts = urlsplit(forms[0])
        except ValueError:  # [ where a host would be
            return forms
        values = [value for _, value in parse_qsl(parts.query)]
        forms += [value for value in values if PurePosixPath(value).suffix.lower() in SUFFIXES] + [parts.path]
    return list(dict.fromkeys([*forms, *map(unquote, forms)]))


def _with_longest_tail(candidates: Sequence[str], form: str) -> list[str]:
    """Those that share the most last parts with a path."""
    wanted = [part for part in form.split("/") if part not in ("", ".")]

    def shared(path: str) -> int:
        parts = path.split("/")
        pairs = zip(reversed(parts), reversed(wanted), strict=False)
        return next((num for num, (part, want) in enumerate(pairs) if part != want), min(len(parts), len(wanted)))

    best = max(map(shared, candidates), default=0)
    return [path for path in candidates if shared(path) == best]
