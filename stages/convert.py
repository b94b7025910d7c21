"""Convert one exported graph to one scheme of the table, and prove that the file is what its name says."""

import sys
from collections.abc import Sequence

from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import INTERFACE_FILE, Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.converting.convert import convert_model
from stages.core.datasets.prepared import check_labels, read_calibration
from stages.core.params.tree import load_params
from stages.core.results.interface import read_interface
from stages.core.results.status import Status
from stages.core.tables.schemes import SCHEMES


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/converted/<model>/<scheme>`; a cell that fails is a result, not an error."""
    args = parse_args("convert", argv, about=__doc__, model=True, scheme=True)
    params, layout = load_params(args.root), Layout(args.root)
    scheme = SCHEMES[args.scheme]
    exported = layout.exported(args.model, scheme.source)
    if (exported / INTERFACE_FILE).is_file():
        labels = read_json(dict[str, str], layout.labels)
        check_labels(read_interface(exported).labels, labels, exported / INTERFACE_FILE)
    conversion = convert_model(
        scheme,
        exported=exported,
        images=read_calibration(layout.calibration, limit=params.convert.calibration_images),
        calibration_sha256=hash_file(layout.calibration),
        out_dir=layout.converted(args.model, scheme.name),
        timeout_s=params.convert.timeout_s,
        mask_block=params.convert.mask_block,
        openvino=params.convert.openvino,
    )
    if conversion.status is Status.OK and conversion.size_bytes:
        print(f"{args.model} {scheme.name}: {conversion.size_bytes / 1e6:.2f} MB, proved")
    else:
        print(f"{args.model} {scheme.name}: {conversion.status}: {conversion.reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_stage(main)
