"""Where a number was measured: CPU, the instruction sets that kernels choose by, cores, system."""

import os
import platform
from pathlib import Path

from stages.core.base.processor import CPUINFO, list_flags, parse_cpuinfo, read_cpuinfo
from stages.core.results.benchmark import Machine

ISA_FLAGS = (
    "sse4_1",
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "neon",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)
"""Names as in /proc/cpuinfo. XNNPACK picks its micro-kernels by these, so int8 latency follows from them."""


def read_machine(cpuinfo: Path = CPUINFO) -> Machine:
    """Describes this machine. `num_cpus` counts those that this process may use."""
    text = read_cpuinfo(cpuinfo)
    fields = parse_cpuinfo(text)
    present = list_flags(fields)
    return Machine(
        cpu=fields.get("model name") or _board(text, fields) or platform.processor() or platform.machine(),
        isa_flags=tuple(flag for flag in ISA_FLAGS if flag in present),
        num_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def _board(text: str, fields: dict[str, str]) -> str:
    """What an ARM system says instead of a processor's name: the board or chip, and the core's number."""
    last = parse_cpuinfo(text.strip().split("\n\n")[-1])
    board = last.get("Model") or last.get("Hardware") or ""
    core = f"ARM core {fields['CPU part']}" if "CPU part" in fields else ""
    return ", ".join(part for part in (board, core) if part)
