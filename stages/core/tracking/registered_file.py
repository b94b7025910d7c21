"""A converted folder named by its address in MLflow's registry, e.g. `models:/detectors-m-int8@champion`."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.core.base.errors import UsageError, UserError
from stages.core.params.steps import PublishParams
from stages.core.tracking.address import probe_store, resolve_uri
from stages.core.tracking.publish import prepare_environment

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<number>\d+))")
SCHEME = "models:/"


@contextmanager
def open_source(source: str) -> Iterator[Path]:
    """The folder itself, or for an address in the registry a copy of it that lasts as long as the block.

    The store is MLFLOW_TRACKING_URI's, else the one that a project in the current folder publishes to by default.

    Raises:
      UsageError: if it looks like an address and is none.
      UserError: if the store cannot be reached, or has no such version.
    """
    if not source.startswith(SCHEME):
        yield Path(source)
        return
    address = ADDRESS.fullmatch(source)
    if address is None:
        raise UsageError(f"{source}: expected models:/<name>@<alias> or models:/<name>/<version>")
    defaults = PublishParams()
    uri = resolve_uri(defaults.tracking_uri, Path.cwd(), os.environ)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise UserError(f"{source}: no tracking store here ({uri}); set MLFLOW_TRACKING_URI")
    if problem := probe_store(uri, defaults.timeout_s):
        raise UserError(f"{source}: no tracking store to ask: {problem}")
    prepare_environment(defaults.timeout_s)
    from stages.core.tracking.registry import Registry

    versions = Registry(uri)
    with tempfile.TemporaryDirectory(prefix="registered-") as scratch:
        version = versions.look_up(address["name"], alias=address["alias"], number=address["number"])
        yield versions.download(version, Path(scratch))
