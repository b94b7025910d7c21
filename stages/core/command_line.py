"""What every stage's command line shares: arguments, exit statuses, quiet third parties.

Exit status: 0 fine, 1 a bug (traceback), 2 something the user can fix (one line), 3 the gate is red.
"""

import argparse
import gc
import os
import select
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from stages.core.base.errors import UsageError, UserError
from stages.core.base.layout import PARAMS_FILE
from stages.core.base.stopping import Stopped, name_command, received_stop, stop_on_signals
from stages.core.base.system_errors import describe_system_error
from stages.core.params.names import check_name
from stages.core.params.tree import load_yaml
from stages.core.tables.detectors import DETECTORS
from stages.core.tables.schemes import SCHEMES

EXIT_USER_ERROR = 2
EXIT_GATE_RED = 3
EXIT_PIPE_CLOSED = 141
"""128 and the number of SIGPIPE, as of any other command before a pipe."""

EXTRAS = {
    "openvino": ("openvino",),
    "convert": ("ai_edge_quantizer", "nncf"),
    "report": ("cv2", "jinja2"),
    "video": ("cv2",),
    "train": ("defusedxml", "h5py", "official", "orbit", "tensorflow", "tensorflow_model_optimization", "tf_keras"),
    "track": ("dvc", "mlflow"),
}
"""Extras of the package, with the modules that they add to the plain install."""
STAGE_EXTRAS = {
    **dict.fromkeys(("prepare", "train", "prune", "qat", "export", "reference"), "train"),
    "convert": "convert",
    "report": "report",
    "publish": "track",
    "run": "all",
}
"""Stage to the extra that it needs; the others need none, or that of a file's runtime."""

MODEL_SUMMARIES = {
    "retinanet_mobiledet_cpu": "squeeze-excite and hard-swish, for phone CPUs in float",
    "retinanet_mobiledet_edgetpu": "full convolutions and relu6, for Edge TPUs and int8",
    "retinanet_mobiledet_dsp": "relu6 and Tucker convolutions, for DSPs",
    "retinanet_mobiledet_gpu": "relu6 and Tucker convolutions, for mobile GPUs",
    "retinanet_mobilenetv2": "MobileNetV2, depthwise and relu6: small, and fast in any runtime",
    "ssdlite_mobiledet_cpu": "SSDLite as published, on the CPU backbone: the smallest and fastest in float",
    "ssdlite_mobiledet_edgetpu": "SSDLite as published, on the EdgeTPU backbone: for Edge TPUs and int8",
    "ssdlite_mobiledet_dsp": "SSDLite as published, on the DSP backbone",
    "ssdlite_mobiledet_gpu": "SSDLite as published, on the GPU backbone",
    "ssdlite_mobilenetv2": "SSDLite as published, on MobileNetV2",
    "maskrcnn_mobiledet": "Mask R-CNN on the EdgeTPU backbone: masks at phone speed",
    "maskrcnn_resnet50": "Mask R-CNN on ResNet50-FPN: the classic, for edge boxes",
    "retinanet_mobiledet_tiny": "narrow MobileDet for tests and smoke runs",
    "ssdlite_tiny": "narrow SSDLite for tests and smoke runs",
    "maskrcnn_tiny": "narrow Mask R-CNN for tests and smoke runs",
}
SCHEME_SUMMARIES = {
    "float32": "32-bit floats throughout: the reference among the converted files",
    "float16": "weights stored as 16-bit floats, computed in 32: half the size",
    "dynamic_range": "int8 weights; activations quantized on the fly, no calibration",
    "int8": "int8 weights and activations; box arithmetic and post-processing float",
    "int8_uint8_input": "int8 with uint8 pixels in: what a camera delivers",
    "int16x8": "int8 weights, int16 activations: near-float accuracy, reference kernels",
    "float32_postprocess_op": "float32 ending in the op that mobile libraries expect, whose NMS is class-agnostic",
    "int8_postprocess_op": "int8 ending in the op that mobile libraries expect",
    "openvino_float32": "OpenVINO IR in 32-bit floats",
    "openvino_float16": "OpenVINO IR with weights stored as 16-bit floats",
    "openvino_int8": "OpenVINO IR quantized by NNCF: int8 layers, box arithmetic float",
    "qat_int8": "int8 with weights and ranges from quantization-aware training",
    "qat_int8_uint8_input": "qat_int8 with uint8 pixels in",
    "qat_int8_postprocess_op": "qat_int8 ending in the op that mobile libraries expect: as published for Edge TPUs",
    "qat_uint8_postprocess_op": "uint8 throughout, as published: of brought graphs with fake-quant nodes",
    "pruned_float32": "float32 with the smallest weights at zero: smaller once compressed",
    "pruned_int8": "int8 with the smallest weights at zero",
    "pruned_qat_int8": "pruned, then quantization-aware training that keeps the zeros",
}
"""One line for `--help` on each row of the tables."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, like every other mistake of the user."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (--help shows what is allowed)")


class Listing(argparse.Action):
    """A switch that prints what the function in `const` gives, and ends the process."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> None:
        """Prints and exits with status 0, whatever else the command line lacks."""
        print(self.const())
        parser.exit()


def known_name(kind: str, table: Collection[str]) -> Callable[[str], str]:
    """An argparse type that takes a name of `table` and says which names there are."""

    def parse(text: str) -> str:
        try:
            check_name(text, kind, table)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return parse


def positive_number(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def fraction(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def parse_args(
    stage: str,
    argv: Sequence[str] | None,
    *,
    about: str | None = None,
    model: bool = False,
    scheme: bool = False,
    variants: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    numbers: Mapping[str, str] | None = None,
    listings: Mapping[str, tuple[str, Callable[[], str]]] | None = None,
) -> argparse.Namespace:
    """Arguments of one stage: `--root`, and `--model` and `--scheme` where the stage works on one of them.

    Args:
      variants: What `--variant` may be, the first by default; without any there is no such argument.
      flags: Switches that only this stage has, by name, with their help.
      numbers: Positive numbers that only this stage takes, by name, with their help; None where they are not given.
      listings: Switches that print a text and end the process, like `--help`, by name, with help and text.

    Raises:
      UsageError: if they are wrong.
    """
    tables = {"models": MODEL_SUMMARIES if model else {}, "schemes": SCHEME_SUMMARIES if scheme else {}}
    parser = make_parser(stage, about, "\n\n".join(_list_rows(name, rows) for name, rows in tables.items() if rows))
    if model:
        parser.add_argument("--model", required=True, help="listed below, or a name below `brought` in params.yaml")
    if scheme:
        parser.add_argument("--scheme", required=True, type=known_name("scheme", SCHEMES), help="listed below")
    if variants:
        known = known_name("variant", variants)
        parser.add_argument("--variant", default=variants[0], type=known, help=", ".join(variants))
    for name, text in (flags or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    for name, text in (numbers or {}).items():
        parser.add_argument(f"--{name}", type=positive_number, help=text)
    for name, (about_listing, list_text) in (listings or {}).items():
        parser.add_argument(f"--{name}", action=Listing, nargs=0, const=list_text, help=about_listing)
    args = read_args(parser, argv)
    if model:
        _check_model(parser, args.model, args.root)
    return args


def make_parser(stage: str, about: str | None, epilog: str = "", *, root: bool = True) -> Parser:
    """A parser of `python -m stages.<stage>`, for `read_args`; with `--root` where a project is read."""
    parser = Parser(
        prog=f"python -m stages.{stage}",
        description=about,
        epilog=epilog or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if root:
        parser.add_argument("--root", type=Path, default=Path.cwd(), help="project folder (default: the current one)")
    return parser


def read_args(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed arguments, `root` absolute.

    Raises:
      UsageError: if they are wrong, or there is no such folder.
    """
    args = parser.parse_args(argv)
    if "root" not in args:
        return args
    args.root = args.root.resolve()
    if not args.root.is_dir():
        raise UsageError(f"{parser.prog}: --root: no such folder: {args.root}")
    return args


def run_stage(main: Callable[[Sequence[str] | None], int]) -> None:
    """Runs a stage's main and exits: a `UserError` becomes one line and status 2, a stop one line and 128 + signal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Models here are of Keras 2. Without this TensorFlow imports Keras 3 too, which is a sixth of its start-up.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # TensorFlow makes objects by the million that live as long as the process: the default collector would look at them
    # again and again, which is a tenth of a short stage's time.
    gc.set_threshold(50_000, 20, 50)
    name = name_command(sys.argv[0], sys.argv)
    try:
        with stop_on_signals(name):
            status = _status_of(main)
        sys.stdout.flush()
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _has_enough_been_read():
            os._exit(EXIT_PIPE_CLOSED)
        # Native code may make another error of the stop.
        stop = error if isinstance(error, Stopped) else received_stop()
        problem = describe_system_error(error) if isinstance(error, Exception) else None
        if stop is None and problem is not None:
            print(f"error: {problem}", file=sys.stderr)
            sys.exit(EXIT_USER_ERROR)
        if stop is None:
            raise
        print(f"{name}: {stop}", file=sys.stderr, flush=True)
        # At once: threads and pools that would be waited for have nothing left to do.
        os._exit(stop.status)
    sys.exit(status)


def _has_enough_been_read() -> bool:
    """Whether what reads the output, such as `head`, has gone: no mistake of anybody's."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _status_of(main: Callable[[Sequence[str] | None], int]) -> int:
    try:
        return main(None)
    except UserError as error:
        if received_stop() is not None:
            raise
        print(f"error: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        extra = STAGE_EXTRAS.get(Path(sys.argv[0]).stem, extra)
        advice = f"pip install 'edge-detectors[{extra}]', or `make setup` in a checkout"
        print(f"error: this needs {error.name}, which is not installed: {advice}", file=sys.stderr)
    return EXIT_USER_ERROR


def _check_model(parser: Parser, name: str, root: Path) -> None:
    """Raises UsageError unless a model is a row of the table or brought by params.yaml, which is only read for it."""
    if name not in DETECTORS:
        try:
            brought = load_yaml(root / PARAMS_FILE).get("brought") if (root / PARAMS_FILE).is_file() else None
            check_name(name, "model", [*DETECTORS, *(brought if isinstance(brought, dict) else ())])
        except ValueError as error:
            parser.error(f"argument --model: {error}")


def _list_rows(title: str, rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join([f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items())])
