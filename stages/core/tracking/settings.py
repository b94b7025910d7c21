"""Settings of params.yaml as parameters and tags of runs."""

import json
from collections.abc import Mapping
from typing import Any

JUDGING_SECTIONS = ("gate", "report", "publish", "promote")
"""Sections of params.yaml on which no measured number depends."""


def measuring_settings(tree: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a run's numbers depend on: its parameters, which MLflow lets nobody change."""
    return flatten({section: value for section, value in tree.items() if section not in JUDGING_SECTIONS})


def judging_settings(tree: Mapping[str, Any]) -> dict[str, str]:
    """The others, as tags: a changed bound changes the verdict of a run, and makes no new one."""
    return flatten({section: value for section, value in tree.items() if section in JUDGING_SECTIONS}, "setting.")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A tree of settings as `section.key` to text; lists and empty mappings are written as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
