"""Read, check, split and store the labelled images."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `data/prepared`; says in one line what was kept, repaired and rejected."""
    args = parse_args("prepare", argv, about=__doc__)
    params, layout = load_params(args.root).prepare, Layout(args.root)
    # The libraries that read data sets are an extra of the package.
    from stages.core.datasets.prepare import prepare_data

    report = prepare_data(params, folder=args.root / params.path, out_dir=layout.prepared)
    splits = ", ".join(f"{name} {split.num_images}" for name, split in report.splits.items())
    ignored = sum(split.num_ignored for split in report.splits.values())
    print(
        f"images: {report.images_kept} of {report.images_found} kept ({splits}), {report.images_repaired} repaired; "
        f"objects: {report.objects_kept} of {report.objects_found} kept, {report.objects_repaired} repaired"
        + (f", {ignored} ignored (crowds, difficult)" if ignored else "")
    )
    for note in report.notes:
        print(f"note: {note}")
    return 0


if __name__ == "__main__":
    run_stage(main)
