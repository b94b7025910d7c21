"""Makes and proves one file, in the process that `convert` starts for it.

`python -m stages.core.converting.make <scheme> --exported <folder> --folder <folder> --images <list>`: the folder holds
interface.json already and gets the model file, proof.json and made.json. Exit status 0, or 1 and one line that says
why.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from stages.core.converting.child import REFUSED
from stages.core.converting.job import Job
from stages.core.converting.tools import TOOLS
from stages.core.errors import UserError
from stages.core.interface import read_interface
from stages.core.jsonfile import read_json, write_json
from stages.core.schemes import SCHEMES

MODULE = "stages.core.converting.make"
PROOF_FILE, MADE_FILE = "proof.json", "made.json"


def main(argv: Sequence[str] | None = None) -> int:
    """The child."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("scheme", choices=list(SCHEMES))
    parser.add_argument("--exported", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JSON list of calibration images")
    parser.add_argument("--mask-block", type=int, default=0, help="detections of one block of the mask head; 0: whole")
    args = parser.parse_args(argv)
    job = Job(
        scheme=SCHEMES[args.scheme],
        exported=args.exported,
        images=[Path(image) for image in read_json(list[str], args.images)],
        interface=read_interface(args.folder),
        folder=args.folder,
        mask_block=args.mask_block,
    )
    tool = TOOLS[job.scheme.backend]()
    try:
        made = tool.make(job)
        write_json(tool.prove(job.folder / tool.files[0], job.scheme), job.folder / PROOF_FILE)
        write_json(made, job.folder / MADE_FILE)
    except UserError as error:
        print(" ".join(str(error).split()))
        return REFUSED
    except Exception as error:
        # Quantizers and runtimes refuse a graph with whatever exception is at hand; one of our own shows where it was.
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
