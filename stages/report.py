"""One table and one page from all results: models/report/{metrics.json,report.md,index.html,...}."""

from collections.abc import Sequence

from stages.core.base.layout import PAGE_FILE, Layout, show_path
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import load_params
from stages.core.reporting.collect import read_metrics
from stages.core.reporting.tables import artifact_paths, headline, print_table

FLAGS = {"table": "only print the table that is there already, and where the page is"}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; with `--table`, prints what the last one says."""
    args = parse_args("report", argv, about=__doc__, flags=FLAGS)
    layout = Layout(args.root)
    if args.table:
        print_table(read_metrics(layout), artifact_paths(layout.report))
        return 0
    params = load_params(args.root)
    # The libraries that draw are an extra of the package; the table is printed without them.
    from stages.core.reporting.report import read_content, write_report

    content = read_content(
        layout,
        params.models,
        params.schemes,
        gate=params.gate,
        split=params.validation.split,
        num_pictures=params.report.num_pictures,
        score_threshold=params.report.score_threshold,
        num_moved=params.report.num_moved,
    )
    write_report(content, layout.report)
    print(f"{headline(content.metrics)} {show_path(layout.report / PAGE_FILE)}")
    return 0


if __name__ == "__main__":
    run_stage(main)
