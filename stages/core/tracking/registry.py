"""MLflow's model registry: versions of a file, who is `challenger`, who is `champion`, and who was before."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from stages.core.base.errors import UserError
from stages.core.base.layout import INTERFACE_FILE
from stages.core.predicting.requests import FOLDER_ARTIFACT
from stages.core.tracking.address import hide_password
from stages.core.tracking.names import CHALLENGER, CHAMPION, registered_name

SHA256_TAG, HISTORY_TAG, PROMOTED_TAG = "artifact_sha256", "champions", "promoted"
_ABSENT = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version.

    Attributes:
      name: Of the registered model; number: of the version.
      sha256: Of its file, as it was measured; empty for a version that somebody else registered.
    """

    name: str
    number: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


class Registry:
    """The registry of one tracking store.

    Raises:
      UserError: from every method, with one line, if the store cannot be reached or refuses.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        with self._one_line():
            self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def find(self, name: str, alias: str) -> Version | None:
        """The version that has an alias; None if there is none, or no such model."""
        with self._one_line():
            try:
                return _to_version(self._client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                # A model without the alias is reported as an invalid parameter.
                if error.error_code == _ABSENT or "alias" in str(error).lower():
                    return None
                raise

    def look_up(self, name: str, *, alias: str | None, number: str | None) -> Version:
        """The version with an alias or a number.

        Raises:
          UserError: if there is none.
        """
        if alias is not None:
            found = self.find(name, alias)
            if found is None:
                raise UserError(f"{name}: no such model, or no version of it is called {alias}")
            return found
        with self._one_line():
            return _to_version(self._client.get_model_version(name, str(number)))

    def history(self, name: str) -> list[str]:
        """Numbers of the versions that have been champion, latest last."""
        with self._one_line():
            tags = self._client.get_registered_model(name).tags
        found = json.loads(tags.get(HISTORY_TAG, "[]"))
        return [str(number) for number in found]

    def download(self, version: Version, folder: Path) -> Path:
        """Fetches a version's converted folder.

        Raises:
          UserError: if its files are gone.
        """
        with self._one_line(f"the files of {version} cannot be fetched"):
            mlflow.set_tracking_uri(self._uri)
            source = self._client.get_model_version_download_uri(version.name, version.number)
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{source}/artifacts", dst_path=str(folder), tracking_uri=self._uri
            )
        found = sorted(path.parent for path in folder.rglob(INTERFACE_FILE))
        if not found:
            raise UserError(f"{version}: no converted folder ({FOLDER_ARTIFACT}) among its files")
        return found[0]

    def promote(self, version: Version, over: Version | None, evidence: str) -> None:
        """Makes a version champion and writes down what it replaces and why.

        Raises:
          UserError: if somebody else has changed the champion since `over` was looked up.
        """
        now = self.find(version.name, CHAMPION)
        if (now and now.number) != (over and over.number):
            raise UserError(f"{version.name}: the champion is {now or 'none'} now, was {over or 'none'}: run it again")
        with self._one_line():
            record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "over": over and over.number}
            self._client.set_model_version_tag(version.name, version.number, PROMOTED_TAG, json.dumps(record))
            self._client.update_model_version(version.name, version.number, description=evidence)
            self._set_champion(version, [*self.history(version.name), version.number])

    def roll_back(self, name: str) -> tuple[Version, Version]:
        """Makes the previous champion champion again.

        Returns:
          The version that is champion now, and the one that was.

        Raises:
          UserError: if there is no champion, or none before it.
        """
        now = self.find(name, CHAMPION)
        if now is None:
            raise UserError(f"{name}: no champion, so nothing to roll back to")
        before = [number for number in self.history(name) if number != now.number]
        if not before:
            raise UserError(f"{now}: the first champion, so nothing to roll back to")
        with self._one_line(f"{name} version {before[-1]} cannot be champion again"):
            earlier = _to_version(self._client.get_model_version(name, before[-1]))
            self._set_champion(earlier, before)
        return earlier, now

    def _set_champion(self, version: Version, history: list[str]) -> None:
        # The history first: a champion that it does not know could not be rolled back from.
        self._client.set_registered_model_tag(version.name, HISTORY_TAG, json.dumps(history))
        self._client.set_registered_model_alias(version.name, CHAMPION, version.number)

    @contextmanager
    def _one_line(self, what: str = "") -> Iterator[None]:
        """Whatever the store or the network says, as one line."""
        try:
            yield
        except (MlflowException, OSError) as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"{hide_password(self._uri)}: {f'{what}: ' if what else ''}{text}") from None


def register_challenger(
    client: mlflow.MlflowClient, experiment: str, logged: str, *, model_id: str, run_id: str, sha256: str
) -> str:
    """Registers a logged model unless it is, makes it challenger, and returns the registered model's name.

    Args:
      experiment, logged: Names of the experiment and of the logged model, which the registered model's is made of.
      sha256: Of the model's file.
    """
    name = registered_name(experiment, logged)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'", max_results=1)
    if known:
        version = known[0]
    else:
        # Not `models:/<id>`: MLflow would look for it in the store that is set globally.
        source = client.get_logged_model(model_id).artifact_location
        version = client.create_model_version(
            name, source, run_id, tags={SHA256_TAG: sha256}, model_id=model_id, await_creation_for=None
        )
    client.set_registered_model_alias(name, CHALLENGER, version.version)
    return name


def _to_version(found: ModelVersion) -> Version:
    return Version(name=found.name, number=str(found.version), sha256=found.tags.get(SHA256_TAG, ""))
