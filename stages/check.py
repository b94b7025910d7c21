"""Refuse names in params.yaml before the first training: DVC looks up a model's section by itself, and says less."""

from collections.abc import Sequence

from stages.core.base.layout import Layout
from stages.core.command_line import parse_args, run_stage
from stages.core.params.tree import check_sections

SAID = "params.yaml: every model has its section\n"
"""Always the same, so that no training is stale because this ran."""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `models/checked.txt`, on which `train` depends so as to come later."""
    args = parse_args("check", argv, about=__doc__)
    check_sections(args.root)
    path = Layout(args.root).checked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SAID)
    return 0


if __name__ == "__main__":
    run_stage(main)
