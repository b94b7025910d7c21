"""Writes the licences of all installed packages as a Markdown table to stdout (`make licences`)."""

import json
import subprocess
import sys

LONGEST = 90
HEAD = """# Licences of the dependencies

Of every package in requirements.lock, as its own metadata states it; written by `make licences`. "in its files" means
that the metadata names none, or holds the whole text: the package carries its licence as a file.

| package | version | licence |
|---|---|---|"""


def short_name(licence: str) -> str:
    """One line of a table for what a package says of its licence."""
    line = " ".join(licence.split())
    return "in its files" if line == "UNKNOWN" or len(line) > LONGEST else line.replace("|", "or")


def main() -> None:
    """Asks pip-licenses about this environment."""
    command = ["pip-licenses", f"--python={sys.executable}", "--from=mixed", "--format=json", "--with-system"]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(HEAD)
    for row in sorted(rows, key=lambda row: row["Name"].lower()):
        print(f"| {row['Name']} | {row['Version']} | {short_name(row['License'])} |")


if __name__ == "__main__":
    main()
