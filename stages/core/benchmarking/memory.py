"""Resident memory of this process, and what a model file costs on disk and over the wire."""

import gzip
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")


def read_rss_bytes() -> int:
    """Resident set of this process now."""
    return int(psutil.Process().memory_info().rss)


def read_peak_rss_bytes() -> int:
    """Largest resident set that this process had so far.

    Linux carries `ru_maxrss` over fork and exec: a child of a fat parent would start with its parent's peak. `VmHWM`
    belongs to the address space and starts anew with exec.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure_gzip_bytes(files: Iterable[Path]) -> int:
    """Size of an artifact's files after gzip at its usual level (6), each by itself."""
    return sum(len(gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)) for path in files)
