"""What Linux says of the processor, and nothing on other systems."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def read_cpuinfo(path: Path = CPUINFO) -> str:
    """The file's text; empty where there is none."""
    return path.read_text() if path.exists() else ""


def parse_cpuinfo(text: str) -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo's text."""
    fields: dict[str, str] = {}
    for line in text.strip().split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    return fields


def list_flags(fields: dict[str, str]) -> frozenset[str]:
    """Names of the instruction sets, as x86-64 (`flags`) or ARM (`Features`) have them."""
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())
