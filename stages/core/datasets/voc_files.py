"""Where the parts of a Pascal VOC folder are: annotations, pictures, split lists, in the layouts that people have."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import list_data_files, read_data_text
from stages.core.datasets.decoding import SUFFIXES
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.image_files import FoundImage, ImageFiles
from stages.core.datasets.samples import SPLITS, Refusal, Split

IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img")
XML_FOLDERS = ("annotations", "annotation", "annots", "xmls", "xml")
MASK_FOLDERS = ("segmentationclass", "segmentationobject")
"""Of VOC itself: pictures of masks with the pictures' own stems."""
COLUMN = re.compile(r"\s+-?[01]$")


def find_xml_files(folder: Path) -> tuple[Path, list[Path]]:
    """The folder of the annotations, and all of them below it, in name order.

    `Annotations/` and what it is called elsewhere, with folders inside; else anywhere.

    Raises:
      DataError: if there are none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    named = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in XML_FOLDERS]
    for top in (*named, folder):
        if found := list_data_files(top, {".xml"}):
            return top, [top / name for name in found]
    raise DataError(f"{folder}: no VOC annotations (Annotations/*.xml); {describe_folder(folder)}")


class VocPictures:
    """The pictures of a VOC folder, and which one belongs to an annotation.

    Attributes:
      base: The folder of pictures: `prepare.images`, `JPEGImages` and what it is called elsewhere, the annotations'
        own, or the whole.
    """

    def __init__(self, folder: Path, xml_folder: Path, images: str | None) -> None:
        """Args: the data set, where its annotations are, and `prepare.images`."""
        if images is not None and not (folder / images).is_dir():
            raise DataError(f"{folder / images}: no such folder (prepare.images)")
        self._files = ImageFiles(folder if images is None else folder / images)
        if images is None:
            named = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in IMAGE_FOLDERS]
            beside = [path for path in (xml_folder,) if self._relative(path, self._files.paths)]
            self.base = next(iter((*named, *beside)), folder)
        else:
            self.base = self._files.top

    def _relative(self, location: Path, paths: Sequence[str]) -> list[str]:
        """Those of some pictures that are in a folder, relative to it."""
        lead = "" if location == self._files.top else f"{location.relative_to(self._files.top).as_posix()}/"
        return [path.removeprefix(lead) for path in paths if path.startswith(lead)]

    def in_base(self) -> list[str]:
        """Pictures of the folder of pictures, relative to it, without VOC's masks."""
        found = self._relative(self.base, self._files.paths)
        return [path for path in found if not any(part.lower() in MASK_FOLDERS for part in path.split("/")[:-1])]

    def find(self, xml: Path, listed: str) -> FoundImage:
        """The picture of one annotation: the only one with its stem, which is VOC's rule; else what `<filename>` names.

        Several with its stem are often a picture and its mask: then `<filename>` decides, or nothing does.

        Args:
          xml: The annotation.
          listed: `<filename>`; may be a path of another machine, or empty.
        """
        name = PurePosixPath(listed.replace("\\", "/")).name
        alike = self._nearest(self._files.with_stem(xml.stem), xml)
        if len(alike) > 1:
            chosen = [path for path in alike if path.rsplit("/", 1)[-1].casefold() == name.casefold()]
            if len(chosen) != 1:
                files = ", ".join(alike[:4])
                detail = f"{files}: which is the picture? <filename> ({listed!r}) names none of them"
                return self._refused(listed or xml.stem, "several_images", detail)
            return self._found(chosen[0])
        if alike:
            is_renamed = PurePosixPath(name).stem == xml.stem and PurePosixPath(name).suffix.lower() in SUFFIXES
            found = alike[0].rsplit("/", 1)[-1]
            return self._found(alike[0], listed if is_renamed and name.casefold() != found.casefold() else None)
        named = self._nearest(self._files.named(name) or self._files.with_stem(name), xml) if name else []
        if len(named) == 1:
            return self._found(named[0], None if listed == named[0].rsplit("/", 1)[-1] else listed)
        if named:
            return self._refused(listed, "ambiguous_name", f"{len(named)} files are called so: {', '.join(named[:3])}")
        return self._refused(listed or xml.stem, "missing_file", f"no picture below {self._files.top.name}/")

    def _nearest(self, paths: Sequence[str], xml: Path) -> list[str]:
        """Those in the folder of pictures, else those that share most folders with the annotation."""
        lead = "" if self.base == self._files.top else f"{self.base.relative_to(self._files.top).as_posix()}/"
        preferred = [path for path in paths if path.startswith(lead)] or list(paths)
        try:
            folders = xml.parent.relative_to(self._files.top).parts
        except ValueError:  # pictures in prepare.images, which holds no annotation
            return preferred

        def shared(path: str) -> int:
            pairs = zip(path.split("/")[:-1], folders, strict=False)
            return next((num for num, (part, own) in enumerate(pairs) if part != own), len(folders))

        most = max(map(shared, preferred), default=0)
        return [path for path in preferred if shared(path) == most]

    def _found(self, path: str, listed_as: str | None = None) -> FoundImage:
        inside = self._relative(self.base, [path])
        folder, file = (self.base, inside[0]) if inside else (self._files.top, path)
        return FoundImage(folder=folder, file=file, listed_as=listed_as)

    def _refused(self, name: str, reason: str, detail: str) -> FoundImage:
        return FoundImage(folder=self.base, file=name, refusal=Refusal(reason=reason, detail=detail))


def find_owners(locations: Mapping[Path, FoundImage]) -> dict[Path, FoundImage]:
    """The same, but for annotations that name a picture which has one of its own: two must not add up to one."""
    owners: dict[Path, list[Path]] = defaultdict(list)
    for xml, location in locations.items():
        if location.is_there:
            owners[location.folder / location.file].append(xml)
    settled = dict(locations)
    for picture, sharing in owners.items():
        if len(sharing) < 2:
            continue
        for xml in sharing:
            if xml.stem != picture.stem:
                other = next(another for another in sharing if another != xml)
                detail = f"{xml.name} and {other.name} both name {picture.name}"
                settled[xml] = FoundImage(
                    folder=picture.parent, file=xml.name, refusal=Refusal(reason="ambiguous_name", detail=detail)
                )
    return settled


@dataclass(frozen=True, kw_only=True)
class ListedXml:
    """One line of a split list: what it names, the annotation it means, and the split."""

    name: str
    xml: Path | None
    split: Split | None


def read_lists(folder: Path, xmls: Sequence[Path]) -> list[ListedXml]:
    """Every line of `ImageSets/Main/{train,val,test,trainval}.txt`, at the top or in a year's folder; empty without.

    Raises:
      DataError: if a list is no text.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for xml in xmls:
        by_stem[xml.stem].append(xml)
    listed: list[ListedXml] = []
    for location in sorted(path for path in folder.glob("**/ImageSets/Main") if path.is_dir()):
        placed: set[str] = set()
        for split in (*SPLITS, None):
            path = location / f"{split or 'trainval'}.txt"
            for name in read_list(path, set(by_stem)) if path.is_file() else ():
                if split is None and name in placed:
                    continue
                placed.add(name)
                own = [xml for xml in by_stem.get(name, []) if location.parent.parent in xml.parents]
                found: Sequence[Path | None] = own or by_stem.get(name) or [None]
                listed += [ListedXml(name=name, xml=xml, split=split) for xml in found]
    return listed


def read_list(path: Path, known: set[str]) -> list[str]:
    """Stems in file order, each once.

    A line is a stem, which may hold blanks, often followed by a column of -1, 0 and 1; some tools write the suffix or
    the path too.

    Args:
      path: The list.
      known: Stems of the annotations, which tell these readings apart.
    """
    stems = []
    for line in read_data_text(path).splitlines():
        text = line.strip()
        if text:
            readings = _readings(text)
            stems.append(next((reading for reading in readings if reading in known), readings[-1]))
    return list(dict.fromkeys(stems))


def _readings(text: str) -> list[str]:
    whole = [text, COLUMN.sub("", text)]
    names = [*whole, *(PurePosixPath(line.replace("\\", "/")).name for line in whole)]
    suffixes = {*SUFFIXES, ".xml"}
    return [
        *names,
        *(PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in suffixes else name for name in names),
    ]
