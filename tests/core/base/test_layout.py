from pathlib import Path

import pytest

from stages.core.base.layout import PROJECT_VARIABLE, Layout, show_path


@pytest.mark.parametrize(
    ("started", "root", "shown"),
    [
        ("project", "project", "models/report"),
        ("project", "project/runs/smoke", "runs/smoke/models/report"),
        ("project", "elsewhere", "{base}/elsewhere/models/report"),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_path_is_shown_as_it_can_be_opened(
    started: str, root: str, shown: str, by_variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (started, root):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    # A stage of a run is started by DVC in the run's own folder.
    monkeypatch.chdir(tmp_path / (root if by_variable else started))
    if by_variable:
        monkeypatch.setenv(PROJECT_VARIABLE, str(tmp_path / started))
    assert show_path(Layout(tmp_path / root).report) == shown.format(base=tmp_path)
