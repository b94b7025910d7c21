"""One file to be made: what a backend's tool is asked for, and what it tells beside the file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.params.openvino import NOTHING_ASKED, OpenvinoParams
from stages.core.results.conversion import Proof
from stages.core.results.interface import Interface
from stages.core.tables.schemes import Scheme


@dataclass(frozen=True, kw_only=True)
class ConversionJob:
    """What to make.

    Attributes:
      scheme: Row of the table.
      exported: Folder that `export` wrote.
      images: Calibration images, in the list's order.
      interface: The contract of the file to be made, before `openvino.batch` and `openvino.input`.
      folder: Where the file goes.
      mask_block: Detections of one block of the mask head; 0 leaves it in one piece.
      openvino: What an OpenVINO file is asked to be beyond its scheme.
    """

    scheme: Scheme
    exported: Path
    images: Sequence[Path]
    interface: Interface
    folder: Path
    mask_block: int = 0
    openvino: OpenvinoParams = NOTHING_ASKED


@dataclass(frozen=True, kw_only=True)
class Made:
    """What making a file told beside the file.

    Attributes:
      calibration_images: On how many images ranges were measured.
      calibration_detections: How many detections the float model made on them; None without calibration.
      notes: What a reader of the results should know.
    """

    calibration_images: int = 0
    calibration_detections: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One backend's way to a file.

    Attributes:
      files: What it writes into the job's folder, the model file first.
      make: Writes them.
      prove: Reads the proof out of the model file.

    Both raise ArtifactError for a source or a file that is not what it should be.
    """

    files: tuple[str, ...]
    make: Callable[[ConversionJob], Made]
    prove: Callable[[Path, Scheme], Proof]
