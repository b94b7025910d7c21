"""`overrides:` of one training, laid over a Model Garden configuration without forgiving anything.

Model Garden's own strict mode still lets unknown keys through below an optional section that is switched off, and takes
any value for any key. Here every key must exist and every value must be of the kind that stands there.
"""

import difflib
from typing import Any

from official.core import config_definitions as cfg
from official.modeling.hyperparams import base_config

from stages.core.base.errors import ParamsError

SECTIONS = ("task", "trainer", "runtime")


def apply_overrides(config: cfg.ExperimentConfig, overrides: dict[str, Any], *, where: str) -> None:
    """Lays `overrides` over `config`, in place.

    Args:
      config: The configuration that settings and data gave.
      overrides: Tree below `task`, `trainer` and `runtime`.
      where: What messages call the tree, e.g. `params.yaml: train.retinanet_mobiledet_cpu.overrides`.

    Raises:
      ParamsError: for an unknown key (listing the known ones at that level), a value of another kind, or a combination
        that Model Garden itself refuses.
    """
    for key in overrides:
        _check_known(key, SECTIONS, where)
    _check_tree(config, overrides, where)
    try:
        config.override(overrides, is_strict=True)
        config.validate()
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ParamsError(f"{where}: {' '.join(str(error).split())}") from None


def _check_tree(config: Any, tree: dict[str, Any], where: str) -> None:
    known = [key for key in vars(config) if key not in config.RESERVED_ATTR]
    for key, value in tree.items():
        path = f"{where}.{key}"
        _check_known(key, known, where)
        current = getattr(config, key)
        if isinstance(value, dict):
            _check_section(config, key, current, value, path)
        elif isinstance(current, base_config.Config) and value is not None:
            raise ParamsError(f"{path}: expected a mapping, found {value!r}")
        else:
            _check_kind(current, value, path)


def _check_section(config: Any, key: str, current: Any, value: dict[str, Any], path: str) -> None:
    """Checks a mapping against the section that stands there, or that the field is declared to take."""
    if current is not None and not isinstance(current, base_config.Config | str | list | tuple):
        raise ParamsError(f"{path}: expected {_kind(current)}, found a mapping")
    kind = type(current) if isinstance(current, base_config.Config) else type(config)._get_subconfig_type(key)
    if kind is not base_config.Config:  # a bare Config is a free mapping, such as weights by input name
        _check_tree(current if isinstance(current, kind) else kind(), value, path)


def _check_known(key: str, known: Any, where: str) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key), list(known), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ParamsError(f"{where}.{key}: unknown key{hint} (known: {', '.join(sorted(known))})")


def _check_kind(current: Any, value: Any, path: str) -> None:
    if current is None or value is None:
        return
    allowed: tuple[type, ...] = {float: (float, int), list: (list, tuple), tuple: (list, tuple)}.get(
        type(current), (type(current),)
    )
    is_bool_for_number = isinstance(value, bool) and bool not in allowed
    if isinstance(current, str) and isinstance(value, list):
        return  # Model Garden's paths and module lists are one string or several
    if not isinstance(value, allowed) or is_bool_for_number:
        raise ParamsError(f"{path}: expected {_kind(current)}, found {value!r}")


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "a mapping" if isinstance(value, base_config.Config) else type(value).__name__)
