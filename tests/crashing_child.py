"""Stands in for the probe's child: ends in the way that the model file's text names."""

import os
import signal
import sys
import time
from pathlib import Path

ENDS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": lambda: (print("Check failed: x < y", file=sys.stderr, flush=True), os.abort()),
    "hang": lambda: time.sleep(60),
    "refuse": lambda: (print("boxes: not finite"), sys.exit(1)),
    "chatter": lambda: (print("INFO: a runtime says hello\n\nboxes: not finite"), sys.exit(1)),
    "silent": lambda: sys.exit(7),
    "bug": lambda: sys.exit("ZeroDivisionError: division by zero"),
    "fine": lambda: None,
}

if __name__ == "__main__":
    ENDS[Path(sys.argv[1]).read_text()]()
