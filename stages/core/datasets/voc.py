"""Reading Pascal VOC: one XML per image in `Annotations/`, images in `JPEGImages/`, split lists in `ImageSets/Main/`.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Corners are taken as they are written,
as the Object Detection API does: VOC itself counts pixels from 1, most tools that write its XML from 0, and no file
says which.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from stages.core.base.errors import DataError
from stages.core.datasets.image_files import FoundImage
from stages.core.datasets.samples import Source, SourceImage, SourceObject
from stages.core.datasets.split_names import note_splits, splits_of_folders
from stages.core.datasets.tidying import tidy_name
from stages.core.datasets.values import BadValueError, to_flag
from stages.core.datasets.voc_files import ListedXml, VocPictures, find_owners, find_xml_files, read_lists
from stages.core.masks.segmentations import Box
from stages.core.results.preparation import ImageFate


def read_voc(folder: Path, *, images: str | None) -> Source:
    """Reads a VOC folder.

    Args:
      folder: Holds `Annotations/`; a flat folder of XML and images will do as well.
      images: Folder of images below `folder`; None: `JPEGImages`, `images`, beside the XML, or anywhere.

    Returns:
      A source with classes in alphabetical order. Images listed in `ImageSets/Main/{train,val,test}.txt` have that
      split; those in `trainval.txt` alone none. Where there are no lists, folders called `train`, `valid`, `test` give
      the splits, if all annotations lie in such.

    Raises:
      DataError: if there is no annotation, a list is no text, a flag is neither 0 nor 1, or an XML file is refused as
        unsafe. One that is merely unreadable is a rejected image (`bad_annotation`).
    """
    xml_folder, xmls = find_xml_files(folder)
    trees, faults = load_trees(xmls)
    pictures = VocPictures(folder, xml_folder, images)
    locations = find_owners({xml: pictures.find(xml, _listed_name(root)) for xml, root in trees.items()})
    listed = read_lists(folder, xmls)
    by_folder = splits_of_folders([] if listed else [xml.relative_to(folder).as_posix() for xml in xmls])
    wanted = listed or [
        ListedXml(name=xml.stem, xml=xml, split=split) for xml, split in zip(xmls, by_folder, strict=True)
    ]
    fates = list_left_out(wanted, trees, faults, locations, pictures, is_listed=bool(listed))
    names = sorted({_class_name(node) for root in trees.values() for node in root.findall("object")} - {""})
    if not names:
        first = next((f"; {len(faults)} more are bad, first: {xml.name}: {why}" for xml, why in faults.items()), "")
        raise DataError(f"{xml_folder}: no annotated objects in {len(trees)} XML files{first}")
    numbers = {name: number for number, name in enumerate(names, start=1)}
    found = []
    for entry in wanted:
        if entry.xml is None or entry.xml not in trees:
            continue
        location = locations[entry.xml]
        objects, lost = read_objects(trees[entry.xml], entry.xml, location.file, numbers)
        fates += lost
        found.append(
            SourceImage(
                folder=location.folder,
                file=location.file,
                size=_size(trees[entry.xml]),
                split=entry.split,
                listed_as=location.listed_as,
                refusal=location.refusal,
                objects=objects,
            )
        )
    return Source(
        labels={number: name for name, number in numbers.items()},
        has_masks=False,
        images=found,
        fates=tuple(fates),
        notes=tuple(note_splits(by_folder)),
    )


class BadXmlError(ValueError):
    """An annotation that cannot be read; the rest of the data set may well be."""


def load_trees(xmls: Sequence[Path]) -> tuple[dict[Path, Element], dict[Path, str]]:
    """The roots of all annotations, and what is wrong with those that cannot be read."""
    trees: dict[Path, Element] = {}
    faults: dict[Path, str] = {}
    for path in xmls:
        try:
            trees[path] = load_xml(path)
        except BadXmlError as error:
            faults[path] = str(error)
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


def list_left_out(
    wanted: Sequence[ListedXml],
    trees: Mapping[Path, Element],
    faults: Mapping[Path, str],
    locations: Mapping[Path, FoundImage],
    pictures: VocPictures,
    *,
    is_listed: bool,
) -> list[ImageFate]:
    """Images that no list names or that have no good XML; a picture that an annotation uses is none of them."""
    stems = {entry.name for entry in wanted}
    used = {location.file for location in locations.values() if location.folder == pictures.base}
    known = stems | {xml.stem for xml in (*trees, *faults)}
    free = [file for file in pictures.in_base() if file not in used and PurePosixPath(file).stem not in known]
    fates = [_image_fate(f"{xml.stem}.xml", "bad_annotation", faults[xml]) for xml in faults if xml.stem in stems]
    if is_listed:
        meant = {entry.xml for entry in wanted}
        unlisted = {
            xml.stem: locations[xml].file if xml in locations else f"{xml.stem}.xml" for xml in (*trees, *faults)
        }
        skipped = [unlisted[xml.stem] for xml in (*trees, *faults) if xml not in meant]
        fates += [_image_fate(file, "not_listed", "in no list of ImageSets/Main") for file in sorted([*skipped, *free])]
    else:
        fates += [_image_fate(file, "no_annotation", "no XML") for file in free]
    return fates + [
        _image_fate(entry.name, "no_annotation", f"in {entry.split or 'trainval'}.txt, no XML")
        for entry in wanted
        if entry.xml is None
    ]


def read_objects(
    root: Element, xml: Path, file: str, numbers: Mapping[str, int]
) -> tuple[tuple[SourceObject, ...], list[ImageFate]]:
    """Objects of one annotation, and those left out because they have no class.

    Raises:
      DataError: for a flag that is none, with where it is.
    """
    objects, lost = [], []
    for position, node in enumerate(root.findall("object"), start=1):
        name = _class_name(node)
        if not name:
            lost.append(
                ImageFate(file=file, kind="object", action="rejected", reason="no_class", detail=f"object {position}")
            )
            continue
        try:
            difficult, truncated = (to_flag(node.findtext(key), key) for key in ("difficult", "truncated"))
        except BadValueError as error:
            raise DataError(f"{xml}: object {position}: {error}") from None
        objects.append(
            SourceObject(
                category_id=numbers[name],
                box_xyxy=_box(node.find("bndbox")),
                is_difficult=difficult,
                is_truncated=truncated,
            )
        )
    return tuple(objects), lost


def _class_name(node: Element) -> str:
    return tidy_name(node.findtext("name") or "")


def _listed_name(root: Element) -> str:
    return (root.findtext("filename") or "").strip()


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
