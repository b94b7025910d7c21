"""What a measurement says of its machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.benchmarking.machine import read_machine
from stages.core.benchmarking.memory import measure_gzip_bytes

ROOT = Path(__file__).resolve().parents[3]
X86 = """processor\t: 0
model name\t: A CPU @ 2.1GHz
flags\t\t: fpu avx2 sse4_2 avx512_vnni mmx

processor\t: 1
model name\t: B
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm crc32
CPU part\t: 0xd0c

Revision\t: c04
Model\t\t: Board 5 Rev 1.0
"""


@pytest.mark.parametrize(
    ("text", "cpu", "flags"),
    [
        (X86, "A CPU @ 2.1GHz", ("sse4_2", "avx2", "avx512_vnni")),
        (ARM, "Board 5 Rev 1.0, ARM core 0xd0c", ("asimd", "asimddp", "i8mm")),
    ],
    ids=["x86", "arm"],
)
def test_cpuinfo(text: str, cpu: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)

    machine = read_machine(tmp_path / "cpuinfo")

    assert (machine.cpu, machine.isa_flags) == (cpu, flags)
    assert machine.num_cpus >= 1


def test_this_machine_and_one_without_cpuinfo(tmp_path: Path) -> None:
    assert read_machine().cpu
    assert read_machine(tmp_path / "nothing").isa_flags == ()


def test_peak_memory_stays_when_what_was_held_is_gone() -> None:
    program = (
        "from stages.core.benchmarking.memory import read_peak_rss_bytes, read_rss_bytes\n"
        "before = read_peak_rss_bytes()\n"
        "ballast = bytearray(b'x') * 100_000_000\n"
        "del ballast\n"
        "print(before, read_peak_rss_bytes(), read_rss_bytes())\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    before, peak, now = map(int, done.stdout.split())
    assert peak >= before + 95_000_000
    assert now < peak - 90_000_000


def test_gzip_size(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(100_000))

    assert measure_gzip_bytes([tmp_path / "zeros"]) < 300
