"""The input/output contract that travels beside every exported and converted model (`interface.json`).

Pre-processing is stated here once; calibration, validation, benchmark and the user's application all follow it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import INTERFACE_FILE

SIGNATURE = "serving_default"
"""Name of the signature in every exported SavedModel and .tflite file."""

RAW_SIGNATURE = "raw_heads"
"""Name of the SavedModel's signature for the head outputs before post-processing, where it has them."""

InputDtype = Literal["float32", "uint8", "int8"]
BoxFormat = Literal["yxyx_normalized", "xyxy_normalized", "yxyx_pixels", "xyxy_pixels"]


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The image tensor.

    Attributes:
      name: Input name in the signature.
      shape: [1, height, width, 3]; [1, 3, height, width] where `layout` is NCHW. More than one image only of OpenVINO
        files, where `convert.openvino.batch` asks for them.
      dtype: float32 or uint8; the values are pixels 0..255 in both, but for a brought file with `mean` and the like.
      color_order: RGB; BGR only of brought files, or where `convert.openvino.input` asks for it.
      resize: How an image becomes the tensor:
        `fit_pad` (a letterbox): scale by one factor so that the image fits, rounding each side to the nearest pixel;
        place it at the top left; fill the rest with `pad_value`. `stretch`: scale height and width each by its own
        factor to the tensor's; nothing is padded. A file without this field is `fit_pad`.
      resize_dtype: Type of the pixels that are resized. The result is rounded to whole levels before it is cast to
        `dtype`: resizing floats gives other values.
      interpolation, half_pixel_centers, antialias: The filter. It is OpenCV's `INTER_LINEAR` and, rounded,
        `tf.image.resize(..., "bilinear", antialias=False)`; Pillow's `BILINEAR` antialiases and is another.
      pad_value: RGB value of the padding: the mean that the graph subtracts, rounded, so that padding is ~0 inside.
      normalization: What the graph itself does to the pixels; the caller must not repeat it.
      mean, deviation: What the caller must do: (pixel - mean) / deviation by channel, in the file's colour order. Only
        brought files ask for it; ours take pixels.
      scale, zero_point: Of an integer tensor that holds such values: stored = value / scale + zero_point, rounded.
      layout: NHWC; NCHW only of brought files.
    """

    name: str
    shape: tuple[int, int, int, int]
    dtype: InputDtype
    value_range: tuple[float, float] = (0.0, 255.0)
    color_order: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["fit_pad", "stretch"] = "fit_pad"
    resize_dtype: Literal["uint8"] = "uint8"
    interpolation: Literal["bilinear"] = "bilinear"
    half_pixel_centers: Literal[True] = True
    antialias: Literal[False] = False
    pad_value: tuple[int, int, int]
    normalization: str
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float | None = None
    zero_point: int = 0
    layout: Literal["NHWC", "NCHW"] = "NHWC"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.shape[1], self.shape[2]) if self.layout == "NHWC" else (self.shape[2], self.shape[3])

    @property
    def takes_pixels(self) -> bool:
        """Whether the tensor holds pixels as they are."""
        plain = self.mean == (0, 0, 0) and self.deviation == (1, 1, 1) and self.scale is None
        return plain and self.color_order == "RGB" and self.layout == "NHWC"


@dataclass(frozen=True, kw_only=True)
class TensorOutput:
    """One output tensor, read by its signature name (order in a .tflite is not stable).

    Attributes:
      name: Output name in the signature.
      shape: Static shape; its first side is that of the input.
      dtype: numpy name.
      meaning: What it holds, with units and value range.
      stored_dtype: Integers by which a .tflite stores it, where the tensor's own scale must be applied to get `dtype`;
        empty where the file holds `dtype` itself.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str
    stored_dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class PostProcessing:
    """What the graph does after the heads.

    Attributes:
      method: e.g. `TFLite_Detection_PostProcess (fast, class-agnostic NMS)`.
      max_detections: Rows in each output.
      score_threshold: Detections below are dropped (0..1).
      nms_iou_threshold: Overlap at which the weaker of two boxes is suppressed.
    """

    method: str
    max_detections: int
    score_threshold: float
    nms_iou_threshold: float


@dataclass(frozen=True, kw_only=True)
class Interface:
    """Everything that a caller must know to use the model file beside it.

    Attributes:
      model: Row of the detector table.
      task: detection or segmentation.
      variant: Weights it was exported from.
      input, outputs: The tensors.
      raw_outputs: Head outputs before post-processing, by the name they have in the SavedModel signature `raw_heads`
        and in the reference outputs; in a .tflite they are the first inputs of the post-processing op, in this order.
        Empty where the graph has none.
      box_format: Boxes are [y_min, x_min, y_max, x_max], divided by the height and width of the *input tensor*
        (padding, if any, included). Those of brought files may be ordered otherwise, or in its pixels.
      mask_frame: What a mask spans: its own box, or, of some brought files, the whole input tensor.
      class_offset: Add it to a value of `detection_classes` to get a category id of `labels`.
      class_map: Category id of `labels` by value of `detection_classes`, 0 for a class that is none of them (such
        detections are left out); empty where `class_offset` says it all. Only brought models need it.
      labels: Category id (from 1, as text) to name.
      post_processing: What the graph does after the heads.
      checkpoint_sha256: Hash of the weights' data file.
      trained_data_sha256: Hash of the prepared data that they were trained on; empty where it is not known.
    """

    model: str
    task: Literal["detection", "segmentation"]
    variant: str
    signature: str = SIGNATURE
    input: ImageInput
    outputs: tuple[TensorOutput, ...]
    raw_outputs: tuple[TensorOutput, ...] = ()
    box_format: BoxFormat = "yxyx_normalized"
    mask_frame: Literal["box", "image"] = "box"
    class_offset: int
    class_map: tuple[int, ...] = ()
    labels: dict[str, str]
    post_processing: PostProcessing
    checkpoint_sha256: str
    trained_data_sha256: str = ""

    @property
    def has_masks(self) -> bool:
        return self.task == "segmentation"


def read_interface(folder: Path) -> Interface:
    """Reads `interface.json` of an exported or converted folder."""
    return read_json(Interface, folder / INTERFACE_FILE)


def write_interface(interface: Interface, folder: Path) -> None:
    """Writes `interface.json` into an exported or converted folder."""
    write_json(interface, folder / INTERFACE_FILE)
