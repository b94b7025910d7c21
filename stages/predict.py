"""Find objects in your own images with a converted file: pictures with boxes and masks, COCO results, CSV, crops."""

from collections.abc import Sequence
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.command_line import fraction, make_parser, read_args, run_stage
from stages.core.predicting.inputs import find_inputs
from stages.core.predicting.model_folder import find_float, open_model
from stages.core.predicting.predict import PredictSettings, list_skipped, predict_files, summarize_prediction
from stages.core.tracking.registered_file import open_source


def main(argv: Sequence[str] | None = None) -> int:
    """Reads a model's folder and images from anywhere, writes `--out`; what cannot be read ends in status 2."""
    parser = make_parser("predict", __doc__, root=False)
    parser.add_argument("images", nargs="+", help="images, folders of images, quoted patterns, videos")
    parser.add_argument("--model", required=True, help="converted folder, a copy of one, or models:/<name>@champion")
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder to write (default: predictions)")
    parser.add_argument("--threshold", type=fraction, default=0.3, help="lowest score that is kept (default: 0.3)")
    parser.add_argument("--show-float", action="store_true", help="draw the float32 file beside it (../float32)")
    parser.add_argument("--float-model", type=Path, help="the same with a float model that is elsewhere")
    parser.add_argument("--crops", action="store_true", help="write the pixels of every box as well")
    parser.add_argument("--threads", type=int, default=2, choices=range(1, 129), metavar="N", help="(default: 2)")
    parser.add_argument("--font", type=Path, help="font of the names, for other letters than Latin ones")
    args = read_args(parser, argv)
    files = find_inputs(args.images)
    settings = PredictSettings(
        score_threshold=args.threshold, num_threads=args.threads, with_crops=args.crops, font_file=args.font
    )
    with open_source(args.model) as source:
        artifact = open_model(source)
        beside = args.float_model or (find_float(artifact) if args.show_float else None)
        float_artifact = open_model(beside) if beside else None
        prediction = predict_files(files, artifact, float_artifact=float_artifact, out=args.out, settings=settings)
    print(summarize_prediction(prediction, args.out))
    if prediction.skipped:
        raise DataError(f"{len(prediction.skipped)} of {len(files)} files skipped: {list_skipped(prediction.skipped)}")
    return 0


if __name__ == "__main__":
    run_stage(main)
