"""A converted file, and what its bytes prove."""

from dataclasses import dataclass

from stages.core.results.status import Status
from stages.core.results.substitution import Substitution


@dataclass(frozen=True, kw_only=True)
class OpProof:
    """One op kind in the flatbuffer: how often, on which types, with how many multiply-accumulates."""

    op: str
    count: int
    activations: dict[str, int]
    weights: dict[str, int]
    macs: int


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """The zeros of one stored weight tensor, counted in the file's bytes.

    Attributes:
      name: Of the layer, as the file has it: the op that it was before batch norm and activation were merged into it.
        Where several ops share the weights, the first one's.
      op: Kind, e.g. `CONV_2D`.
      dtype: Type in which the weights are stored.
      num_weights: How many there are.
      sparsity: Share of them that stands for exactly zero, 0..1: float weights equal to 0, integers equal to their zero
        point.
    """

    name: str
    op: str
    dtype: str
    num_weights: int
    sparsity: float


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the file itself says of its quantization (`proof.json`), read from its bytes.

    Attributes:
      ops: Histogram by op, with dtypes of first input activations and of weights (dtype name to count).
      tensor_dtypes: dtype name to number of tensors.
      macs: Multiply-accumulates of one inference in convolution, depthwise, transposed convolution and
        fully-connected layers; macs_by_dtype: the same by the dtype those layers compute in.
      int8_macs_fraction: Share of MACs with int8 weights and int8 activations (or uint8 both), 0..1.
      weights_per_channel, weights_per_tensor: Number of quantized weight tensors of each granularity.
      custom_ops, flex_ops: Names; a Flex op cannot run here, so it is a failed conversion.
      shared_box_score_scale: True when boxes and scores leave the heads in one quantized tensor or share scale and
        zero point through one concatenation.
      sparsity: Zeros of every layer; only read where the scheme's weights are pruned.
      substitutions: Ops of a brought model that were replaced on the way, as `export` found them.
      contradictions: What in the file speaks against the scheme's name; empty for a proved file.
    """

    ops: tuple[OpProof, ...]
    tensor_dtypes: dict[str, int]
    macs: int
    macs_by_dtype: dict[str, int]
    int8_macs_fraction: float
    weights_per_channel: int
    weights_per_tensor: int
    custom_ops: tuple[str, ...]
    flex_ops: tuple[str, ...]
    shared_box_score_scale: bool
    sparsity: tuple[LayerSparsity, ...] = ()
    substitutions: tuple[Substitution, ...] = ()
    contradictions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One cell of model x scheme after `convert` (`models/converted/<model>/<scheme>/result.json`).

    Nothing in it changes when the same file is made again: then nothing behind it has to run again either.

    Attributes:
      artifact: File name of the model inside the folder; None where there is none.
      companions: Files that belong to it (an IR's weights).
      sha256: Of that file; of the names and hashes of all of them where there are companions. size_bytes: Of all.
      calibration_images: How many images ranges were measured on (0 where the scheme needs none).
      calibration_sha256: Hash of the calibration list.
      calibration_detections: How many objects the float model found on them: what a mask head was calibrated on.
      notes: What a reader of the results should know of how the file was made.
    """

    model: str
    scheme: str
    backend: str
    source: str
    status: Status
    reason: str = ""
    artifact: str | None = None
    companions: tuple[str, ...] = ()
    sha256: str | None = None
    size_bytes: int | None = None
    calibration_images: int = 0
    calibration_sha256: str | None = None
    calibration_detections: int | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str]
