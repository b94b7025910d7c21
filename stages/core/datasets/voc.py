"""Reading Pascal VOC: one XML per image in `Annotations/`, images in `JPEGImages/`, split lists in `ImageSets/Main/`.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Corners are taken as they are written,
as the Object Detection API does: VOC itself counts pixels from 1, most tools that write its XML from 0, and no file
says which.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from stages.core.base.errors import DataError
from stages.core.datasets.decoding import SUFFIXES
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.samples import SPLITS, Source, SourceImage, SourceObject, Split
from stages.core.masks.segmentations import Box
from stages.core.results.preparation import ImageFate

IMAGE_FOLDERS = ("JPEGImages", "images", "Images")


def read_voc(folder: Path, *, images: str | None) -> Source:
    """Reads a VOC folder.

    Args:
      folder: Holds `Annotations/`; a flat folder of XML and images will do as well.
      images: Folder of images below `folder`; None: `JPEGImages`, `images`, or beside the XML.

    Returns:
      A source with classes in alphabetical order. Images listed in `ImageSets/Main/{train,val,test}.txt` have that
      split; those in `trainval.txt` alone, or all where there are no lists, none.

    Raises:
      DataError: if there is no annotation, or an XML file is refused as unsafe. One that is merely unreadable is a
        rejected image (`bad_annotation`).
    """
    xml_folder = find_xml_folder(folder)
    trees, faults = load_trees(xml_folder)
    image_folder = find_image_folder(folder, xml_folder, images)
    files = list_images(image_folder)
    listed, fates = list_splits(folder, trees, faults, files)
    names = sorted({_class_name(node) for root in trees.values() for node in root.findall("object")} - {""})
    if not names:
        first = next((f"; {len(faults)} more are bad, first: {stem}.xml: {why}" for stem, why in faults.items()), "")
        raise DataError(f"{xml_folder}: no annotated objects in {len(trees)} XML files{first}")
    numbers = {name: number for number, name in enumerate(names, start=1)}
    found = []
    for stem, split in listed:
        root, file = trees[stem], image_file(trees[stem], stem, files)
        objects, lost = read_objects(root, file, numbers)
        fates += lost
        found.append(SourceImage(folder=image_folder, file=file, size=_size(root), split=split, objects=objects))
    return Source(
        labels={number: name for name, number in numbers.items()}, has_masks=False, images=found, fates=tuple(fates)
    )


def find_xml_folder(folder: Path) -> Path:
    """`Annotations/`, or the folder itself when the XML is there."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    for candidate in (folder / "Annotations", folder):
        if any(candidate.glob("*.xml")):
            return candidate
    raise DataError(f"{folder}: no VOC annotations (Annotations/*.xml); {describe_folder(folder)}")


def find_image_folder(folder: Path, xml_folder: Path, images: str | None) -> Path:
    """Where the images are; an explicit folder must exist."""
    if images is not None:
        if not (folder / images).is_dir():
            raise DataError(f"{folder / images}: no such folder (prepare.images)")
        return folder / images
    return next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), xml_folder)


def list_images(folder: Path) -> dict[str, str]:
    """Image files by stem."""
    return {path.stem: path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


class BadXmlError(ValueError):
    """An annotation that cannot be read; the rest of the data set may well be."""


def load_trees(folder: Path) -> tuple[dict[str, Element], dict[str, str]]:
    """The roots of all annotations by stem, and what is wrong with those that cannot be read."""
    trees: dict[str, Element] = {}
    faults: dict[str, str] = {}
    for path in sorted(folder.glob("*.xml")):
        try:
            trees[path.stem] = load_xml(path)
        except BadXmlError as error:
            faults[path.stem] = str(error)
    return trees, faults


def load_xml(path: Path) -> Element:
    """The root of one annotation; entity expansion and external references are refused.

    Raises:
      DataError: for what is refused, naming the file: an attack is no slip in one annotation.
      BadXmlError: if it cannot be read or is no annotation, naming the spot.
    """
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except DefusedXmlException as error:
        raise DataError(f"{path}: refused: {error}") from None
    except (ParseError, LookupError, ValueError, OSError) as error:
        raise BadXmlError(f"not readable as XML: {error}") from None
    if root is None or root.tag != "annotation":
        found = "nothing" if root is None else f"<{root.tag}>"
        raise BadXmlError(f"not VOC: the root element is {found}, expected <annotation>")
    return root


def list_splits(
    folder: Path, trees: Mapping[str, Element], faults: Mapping[str, str], files: Mapping[str, str]
) -> tuple[list[tuple[str, Split | None]], list[ImageFate]]:
    """(stem, split) of every image to use, in a fixed order, and those that no list or no good XML names."""
    lists = {split: read_list(folder / "ImageSets" / "Main" / f"{split}.txt") for split in SPLITS}
    trainval = read_list(folder / "ImageSets" / "Main" / "trainval.txt")
    named: list[tuple[str, Split | None]] = [(stem, split) for split in SPLITS for stem in lists[split]]
    placed = {stem for stem, _ in named}
    named += [(stem, None) for stem in trainval if stem not in placed]
    if named:
        known = {stem for stem, _ in named}
        others = sorted((set(trees) | set(faults) | set(files)) - known)
        fates = [
            _image_fate(files.get(stem, f"{stem}.xml"), "not_listed", "in no list of ImageSets/Main") for stem in others
        ]
    else:
        named = [(stem, None) for stem in sorted({*trees, *faults})]
        fates = [_image_fate(files[stem], "no_annotation", "no XML") for stem in sorted(set(files) - {*trees, *faults})]
    fates += [
        _image_fate(f"{stem}.xml", "bad_annotation", faults[stem])
        if stem in faults
        else _image_fate(stem, "no_annotation", f"in {split or 'trainval'}.txt, no XML")
        for stem, split in named
        if stem not in trees
    ]
    return [(stem, split) for stem, split in named if stem in trees], fates


def read_list(path: Path) -> list[str]:
    """Stems of a split list in file order, each once; a second column (-1, 0, 1) is ignored. Empty without a file."""
    if not path.is_file():
        return []
    return list(dict.fromkeys(line.split()[0] for line in path.read_text().splitlines() if line.strip()))


def image_file(root: Element, stem: str, files: Mapping[str, str]) -> str:
    """The image with the XML's own stem, which is VOC's rule; else the one that `<filename>` names."""
    return files.get(stem) or (root.findtext("filename") or stem).strip()


def read_objects(
    root: Element, file: str, numbers: Mapping[str, int]
) -> tuple[tuple[SourceObject, ...], list[ImageFate]]:
    """Objects of one annotation, and those left out because they have no class."""
    objects, lost = [], []
    for position, node in enumerate(root.findall("object"), start=1):
        name = _class_name(node)
        if not name:
            lost.append(
                ImageFate(file=file, kind="object", action="rejected", reason="no_class", detail=f"object {position}")
            )
            continue
        objects.append(
            SourceObject(
                category_id=numbers[name],
                box_xyxy=_box(node.find("bndbox")),
                is_difficult=_flag(node, "difficult"),
                is_truncated=_flag(node, "truncated"),
            )
        )
    return tuple(objects), lost


def _class_name(node: Element) -> str:
    return (node.findtext("name") or "").strip()


def _flag(node: Element, name: str) -> bool:
    return (node.findtext(name) or "0").strip() not in ("0", "")


def _box(node: Element | None) -> Box | None:
    try:
        x_min, y_min, x_max, y_max = _numbers(node, ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        return None
    return x_min, y_min, x_max, y_max


def _size(root: Element) -> tuple[int, int] | None:
    """(height, width); None where the annotation has none, or the 0 that some tools write."""
    try:
        height, width = (int(value) for value in _numbers(root.find("size"), ("height", "width")))
    except (ValueError, OverflowError):  # no number, or inf
        return None
    return (height, width) if height > 0 and width > 0 else None


def _numbers(node: Element | None, names: Iterable[str]) -> list[float]:
    return [float("" if node is None else node.findtext(name) or "") for name in names]


def _image_fate(file: str, reason: str, detail: str) -> ImageFate:
    return ImageFate(file=file, kind="image", action="rejected", reason=reason, detail=detail)
