"""Exit with status 3 when a row of the results table breaks a bound; say which row, which number and by how much."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from stages.core.base.layout import Layout
from stages.core.command_line import EXIT_GATE_RED, parse_args, run_stage
from stages.core.gating.gate import failures, judge_rows
from stages.core.params.tree import load_params
from stages.core.reporting.collect import check_complete, read_metrics
from stages.core.reporting.tables import headline


def main(argv: Sequence[str] | None = None) -> int:
    """Judges metrics.json by the bounds that params.yaml holds now, whatever verdicts were written down."""
    args = parse_args("gate", argv, about=__doc__)
    params, layout = load_params(args.root), Layout(args.root)
    metrics = read_metrics(layout)
    check_complete(metrics, params.models, params.schemes)
    metrics = replace(metrics, rows=judge_rows(metrics.rows, params.gate))
    red = failures(metrics)
    for line in red:
        print(f"red: {line}", file=sys.stderr)
    print(headline(metrics), file=sys.stderr if red else sys.stdout)
    return EXIT_GATE_RED if red else 0


if __name__ == "__main__":
    run_stage(main)
