"""Versions of the tools behind a number, read without importing them."""

from importlib.metadata import PackageNotFoundError, version


def read_versions(*packages: str) -> dict[str, str]:
    """Installed version of each distribution name; `absent` where it is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
