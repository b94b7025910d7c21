"""Takes the pictures of docs/tracking.md in headless Chromium, and checks that they show what the page says.

    python docs/make_screenshots.py --uri sqlite:///mlflow.db --experiment demo

Starts `mlflow server` on the store, opens the pages, waits until names, columns and curves are there, and writes PNGs
of few colours. Ends with status 1 where something is not on its page, or cannot be read there. Needs Chromium
(Debian: `apt-get install chromium`).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
from browser import Browser, find_browser
from PIL import Image

HERE = Path(__file__).resolve().parent
PATIENCE_S, START_S = 20.0, 120
"""How long something may take to be on a page, and the server to start."""
COLOURS = 64
LINES = "document.querySelectorAll('.js-plotly-plot .scatterlayer .js-line').length"
"""How many curves a page shows."""
READABLE = """(text) => {
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const inside = (box, frame) => box.left >= frame.left - 1 && box.right <= frame.right + 1
    && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const at = node.data.indexOf(text);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + text.length);
    const box = range.getBoundingClientRect();
    const page = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
    let seen = box.width > 0 && inside(box, page);
    for (let up = node.parentElement; seen && up; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX !== 'visible') seen = inside(box, up.getBoundingClientRect());
      if (style.textOverflow === 'ellipsis' && up.scrollWidth > up.clientWidth) seen = false;
    }
    const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
    if (seen && top && (top.contains(node) || node.parentElement.contains(top))) return true;
  }
  return false;
}"""
"""Whether a text is on the picture: within the page, not cut by an element around it, not covered by another."""
TIDY = """(() => {
  if (document.getElementById('tidy')) return;
  const style = document.createElement('style');
  style.id = 'tidy';
  style.textContent = '.modebar-container {display: none}';
  document.head.append(style);
})()"""
"""Hides the buttons of charts, which a person sees under the pointer only."""
CLOSE_ASSISTANT = "document.querySelector('[data-component-id=\"mlflow.assistant.chat_panel.close\"]')?.click()"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture.

    Attributes:
      name: Of the file.
      page: Behind `#/experiments/<id>/`; `{training}` is the id of the training's run.
      texts: What must be readable on it.
      cut: What must be on it, but may be cut: MLflow's columns of numbers have one width.
      curves: How many curves it must show at least.
    """

    name: str
    page: str
    texts: Sequence[str]
    cut: Sequence[str] = ()
    curves: int = 0
    width: int = 1500
    height: int = 560


def shots(model: str, *, files: int, charts: int) -> tuple[Shot, ...]:
    """What docs/tracking.md shows, of the runs of a model.

    Args:
      model: Name in the table of detectors.
      files: How many files the table lists.
      charts: How many charts there are before those of the evaluation.
    """
    return (
        Shot(
            name="files",
            page="runs?workflowType=machine_learning&viewStateShareKey=files",
            texts=(f"{model}/float32", f"{model}/int8", "box_ap", "box_ap_drop", "size_mb", "verdict"),
            cut=("latency_p50_ms",),
            height=max(560, 420 + 33 * files),
        ),
        Shot(
            name="trainings",
            page="runs?workflowType=machine_learning&viewStateShareKey=trainings",
            texts=(f"{model}/trained", "train/total_loss", "train.steps"),
            cut=("validation/box_ap", "train/images_per_second", "train.learning_rate"),
        ),
        Shot(
            name="curves",
            page="runs/{training}/model-metrics?workflowType=machine_learning",
            texts=(f"{model}/trained", "total_loss", "learning_rate", "images_per_second", "box_ap"),
            curves=9,
            width=1200,
            height=350 + 357 * (-(-charts // 3) + 1),
        ),
    )


def wait_for(browser: Browser, scripts: Mapping[str, str]) -> list[str]:
    """Waits until all expressions are true; names of those that are not in time."""
    until = time.monotonic() + PATIENCE_S
    while True:
        browser.evaluate(CLOSE_ASSISTANT)  # it opens on the first visit, over the table
        missing = [name for name, script in scripts.items() if not browser.evaluate(script)]
        if not missing or time.monotonic() > until:
            return missing
        time.sleep(0.3)


@contextmanager
def served(uri: str) -> Iterator[str]:
    """Address of an `mlflow server` on a store; of the server itself, if it is one."""
    if uri.startswith("http"):
        yield uri
        return
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(START_S):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def find_training(client: mlflow.MlflowClient, experiment_id: str) -> mlflow.entities.Run:
    """The newest first training."""
    return client.search_runs([experiment_id], "tags.role = 'training' and tags.variant = 'trained'", max_results=1)[0]


def take(browser: Browser, address: str, shot: Shot, out: Path) -> list[str]:
    """Writes one picture, and returns what is missing on its page."""
    browser.open(shot.page, width=shot.width, height=shot.height)
    missing = wait_for(
        browser,
        {text: f"({READABLE})({json.dumps(text)})" for text in shot.texts}
        | {text: f"document.body.innerText.includes({json.dumps(text)})" for text in shot.cut}
        | {f"{shot.curves} curves": f"{LINES} >= {shot.curves}"},
    )
    browser.evaluate(TIDY)
    time.sleep(1)  # for what fades
    browser.picture().convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    return missing


def main() -> int:
    """Status 1 if a page lacks something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", default="sqlite:///mlflow.db", help="a store, or the address of a server")
    parser.add_argument("--experiment", default="demo")
    parser.add_argument("--out", type=Path, default=HERE / "pictures")
    args = parser.parse_args()
    program = find_browser()
    if program is None:
        print("error: no Chromium; Debian: apt-get install chromium", file=sys.stderr)
        return 2
    args.out.mkdir(exist_ok=True)
    failed = False
    with served(args.uri) as address, Browser(program) as browser:
        client = mlflow.MlflowClient(tracking_uri=address)
        experiment = client.get_experiment_by_name(args.experiment)
        if experiment is None:
            print(f"error: no experiment {args.experiment!r} in {args.uri}", file=sys.stderr)
            return 2
        training = find_training(client, experiment.experiment_id)
        files = len(client.search_runs([experiment.experiment_id], "tags.role = 'child'"))
        charts = sum(name.startswith("train/") for name in training.data.metrics)
        for shot in shots(training.data.tags["model"], files=files, charts=charts):
            page = shot.page.format(training=training.info.run_id)
            page = f"{address}/#/experiments/{experiment.experiment_id}/{page}"
            out = args.out / f"mlflow-{shot.name}.png"
            missing = take(browser, address, Shot(**{**vars(shot), "page": page}), out)
            print(f"{out}: {out.stat().st_size // 1000} kB" + "".join(f"; MISSING: {text}" for text in missing))
            failed |= bool(missing)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
