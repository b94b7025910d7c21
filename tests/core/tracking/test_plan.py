import json
import math
from collections import defaultdict
from dataclasses import fields, replace
from itertools import count
from pathlib import Path

import pytest
import yaml
from mlflow.utils.validation import _validate_metric_name

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import HISTORY_FILE, REFINEMENT_FILE, RESULT_FILE, Layout
from stages.core.params.steps import PrepareParams
from stages.core.params.tree import load_params
from stages.core.results.benchmark import Latency
from stages.core.results.classes import ClassCurve, ClassResults, OperatingPoint
from stages.core.results.conversion import Conversion
from stages.core.results.device import DeviceCost, DeviceFile
from stages.core.results.history import Entry, History
from stages.core.results.preparation import PrepareReport
from stages.core.results.status import Status
from stages.core.results.training import InitializedPart, InitRecord
from stages.core.results.validation import AveragePrecision, Parity
from stages.core.tracking.data_sets import plan_data_sets
from stages.core.tracking.metric_names import find_meaning, meanings_to_markdown
from stages.core.tracking.numbers import class_keys, clean_name, shorten
from stages.core.tracking.plan import plan_publication
from stages.core.tracking.run_plan import Publication
from stages.core.tracking.settings import flatten
from stages.core.tracking.state import read_state
from stages.core.tracking.training_runs import history_to_curves
from stages.core.tracking.views import plan_views
from stages.report import main as report
from tests.builders import (
    SIZES,
    Accuracy,
    average_precision,
    class_results,
    history,
    prepare_report,
    train_result,
    write_cell,
    write_dvc_lock,
    write_project,
)

MODELS, SCHEMES = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"), ("float32", "int8")
TRAIN = {"common": {"steps": 900}, "retinanet_mobiledet_edgetpu": {"batch_size": 4}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = write_project(tmp_path, MODELS, SCHEMES, params={"train": TRAIN, "report": {"num_pictures": 1}})
    write_dvc_lock(layout)
    return layout


def plan(layout: Layout, uri: str = "sqlite:////x/mlflow.db") -> Publication:
    report(["--root", str(layout.root)])
    state = read_state(layout.root, dvc_lock=layout.dvc_lock, metrics=layout.metrics)
    return plan_publication(layout, state, load_params(layout.root), uri)


def test_one_parent_and_one_child_per_model_and_scheme(layout: Layout) -> None:
    publication = plan(layout)
    assert [child.name for child in publication.children] == [f"{m}/{s}" for m in MODELS for s in SCHEMES]
    assert len({child.key for child in publication.children} | {publication.parent.key}) == 5
    assert publication.artifact_root == "file:///x/mlartifacts", "beside the database"
    assert plan(layout, "http://host").artifact_root is None


def test_runs_of_an_experiment_are_named_after_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "sparsity-0.8")
    publication = plan(layout)
    names = [run.name for run in (publication.parent, *publication.children)]
    assert all(name.endswith(" (sparsity-0.8)") for name in names)
    assert f"{MODELS[0]}/int8 (sparsity-0.8)" in names


def test_a_child_carries_its_numbers_files_and_settings(layout: Layout) -> None:
    child = plan(layout).children[1]
    assert child.metrics["box_ap"] == 64.3
    assert child.metrics["box/ap50"] == pytest.approx(88.3)
    assert child.metrics["box_ap_float"] == 65.2
    assert child.metrics["box_per_class/triangle"] == 68.3
    assert child.metrics["box_ap50_per_class/triangle"] == 92.3
    assert child.metrics["box_class_ap_drop"] == pytest.approx(0.9)
    assert child.metrics["objects_per_class/circle"] == 10
    assert child.metrics["box_best/score_threshold"] == 0.5
    assert child.metrics["box_best_score_per_class/circle"] == 0.4375
    assert child.metrics["box_best_f1_per_class/circle"] == 0.847
    assert "box_best_f1_per_class/triangle" not in child.metrics, "a class without objects has none"
    assert child.metrics["latency/p99_ms"] == 14.0
    assert child.metrics["parity/worst_sqnr_db"] == 22.5
    assert child.metrics["proof/int8_macs_fraction"] == 0.998
    assert child.metrics["size_mb"] == pytest.approx(SIZES["int8"] / 1e6)
    assert not [name for name in child.metrics if name.endswith("_bytes")]
    assert not {"mask_ap", "box/ap_large"} & set(child.metrics), "what was not measured is not a number"
    assert child.params["train.steps"] == "900"
    assert child.params["train.batch_size"] == "4"
    assert child.params["scheme.activations"] == "int8"
    assert child.tags["version.ai-edge-litert"] == "2.3.0"
    assert child.tags["verdict"] == "pass"
    names = {f"{folder}/{path.name}" for path, folder in child.artifacts}
    assert {"model/model.tflite", "model/interface.json", "model/proof.json"} < names
    assert len(names) == 6


def test_raw_outputs_that_are_not_finite_are_not_published_as_numbers(layout: Layout) -> None:
    measured = Parity(output="boxes", sqnr_db=22.5, cosine=0.9, max_abs=0.5, num_images=16)
    broken = Parity(output="scores", sqnr_db=None, cosine=None, max_abs=None, num_images=16)
    write_cell(layout, MODELS[0], "float32", validation_changes={"parity": (measured,)})
    write_cell(layout, MODELS[0], "int8", validation_changes={"parity": (measured, broken)})
    sound, child = plan(layout).children[:2]
    assert sound.metrics["parity/max_abs"] == 0.5
    assert not [name for name in child.metrics if name.startswith("parity/")]


def test_every_number_has_one_name(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.tracking.numbers.shorten", float)
    # Differences of square roots are no square roots of integers: a drop equals no other number.
    values = map(math.sqrt, count(2))

    def distinct_ap() -> AveragePrecision:
        names = [field.name for field in fields(AveragePrecision) if not field.name.startswith("per_class")]
        by_class = {name: {"circle": next(values)} for name in ("per_class", "per_class_ap50")}
        return AveragePrecision(**{name: next(values) for name in names}, **by_class)

    def distinct_classes() -> ClassResults:
        points = [OperatingPoint(**{f.name: next(values) for f in fields(OperatingPoint)}) for _ in range(2)]
        overall, circle = (ClassCurve(num_objects=12, best=point) for point in points)
        return replace(class_results(), curves={"circle": circle}, overall=overall)

    changes = {
        "accuracy": Accuracy(box=distinct_ap(), mask=distinct_ap()),
        "reference": Accuracy(box=distinct_ap(), mask=distinct_ap()),
        "box_classes": distinct_classes(),
        "mask_classes": distinct_classes(),
    }
    latency = Latency(p50_ms=101.5, p90_ms=102.5, p99_ms=103.5, mean_ms=104.5, runs=50, warmup=5)
    costs = {"latency": latency, "peak_rss_bytes": 66_123_457}
    write_cell(layout, MODELS[1], "int8", validation_changes=changes, benchmark_changes=costs)
    child = next(run for run in plan(layout).children if run.name == f"{MODELS[1]}/int8")
    by_value = defaultdict(list)
    for name, value in child.metrics.items():
        by_value[value].append(name)
    assert len(child.metrics) > 55
    assert {value: names for value, names in by_value.items() if len(names) > 1 and value % 1} == {}


def test_every_number_is_described(layout: Layout) -> None:
    publication = plan(layout)
    runs = (publication.parent, *publication.trainings, *publication.children)
    names = {name for run in runs for name in (*run.metrics, *(curve.name for curve in run.curves))}
    assert len(names) > 70
    assert {name for name in names if find_meaning(name) is None} == set()
    assert find_meaning("box_class_ap_drop") != find_meaning("box_ap_drop")
    assert "| `train/images_per_second` | images/s |" in meanings_to_markdown()


def test_views_show_the_columns_that_have_values(layout: Layout) -> None:
    write_json(history(masks=False), layout.variant(MODELS[1], "trained") / HISTORY_FILE)
    views = {name: json.loads(view.state) for name, view in plan_views(plan(layout)).items()}
    assert views["files"]["searchFilter"] == "tags.role = 'child'"
    assert {"metrics.`box_ap`", "metrics.`mask_ap_drop`", "metrics.`size_mb`"} < set(views["files"]["selectedColumns"])
    trainings = views["trainings"]["selectedColumns"]
    assert {"metrics.`validation/box_ap`", "params.`train.learning_rate`"} < set(trainings)
    assert "metrics.`validation/mask_ap`" not in trainings


def test_what_devices_measured_goes_with_the_row(layout: Layout) -> None:
    before = plan(layout)
    sha = read_json(Conversion, layout.converted(MODELS[0], "int8") / RESULT_FILE).sha256 or ""
    measured = DeviceCost(
        model=MODELS[0],
        scheme="int8",
        artifact_sha256=sha,
        status=Status.OK,
        latency_mean_ms=21.6,
        latency_p50_ms=21.4,
        num_threads=4,
        timed_on="noise",
        tool="a tool",
        runtime="LiteRT 2",
        delegate="XNNPACK",
    )
    write_json(DeviceFile(device="Pixel 8", cpu="A chip", costs=(measured,)), layout.devices / "a.json")

    after = plan(layout)

    new = {name: value for name, value in after.children[1].metrics.items() if name.startswith("device")}
    assert new == {"device/Pixel_8__4_threads/latency_p50_ms": 21.4, "device/Pixel_8__4_threads/latency_mean_ms": 21.6}
    assert after.parent.tags["device.Pixel_8__4_threads"] == "A chip; LiteRT 2 (XNNPACK); 4 threads; a tool on noise"
    assert after.children[1].key == before.children[1].key, "the same run, brought up to date"
    assert after.children[1].content_sha256 != before.children[1].content_sha256
    assert after.children[0].content_sha256 == before.children[0].content_sha256


def test_the_parent_carries_report_and_pictures(layout: Layout) -> None:
    parent = plan(layout).parent
    assert parent.curves == (), "they belong to the trainings"
    assert parent.metrics == {"rows": 4.0, "rows_red": 0.0}
    assert parent.tags["gate"] == "green"
    assert parent.params["train.common.steps"] == "900"
    names = {f"{folder}/{path.name}" for path, folder in parent.artifacts}
    assert {
        "report/index.html",
        "report/metrics.json",
        "pictures/retinanet_mobiledet_edgetpu",
        "inputs/dvc.lock",
    } < names


def test_each_training_has_a_run_with_its_curves(layout: Layout) -> None:
    write_json(train_result(variant="qat", seconds=60.0), layout.variant(MODELS[0], "qat") / RESULT_FILE)
    write_json(history(300, 100), layout.variant(MODELS[0], "qat") / HISTORY_FILE)
    write_json({"symmetric": True}, layout.variant(MODELS[0], "qat") / REFINEMENT_FILE)
    first, refined, second = plan(layout).trainings
    assert [run.name for run in (first, refined, second)] == [
        f"{MODELS[0]}/trained", f"{MODELS[0]}/qat", f"{MODELS[1]}/trained",
    ]  # fmt: skip
    curves = {curve.name: curve.points for curve in first.curves}
    assert [step for step, _ in curves["validation/box_ap"]] == [500, 1000, 1500]
    assert {curve.name for curve in refined.curves} == set(curves) - {"validation/box_ap"}, "one name in all trainings"
    assert {"train/total_loss", "train/learning_rate", "train/images_per_second"} < set(curves)
    assert (first.clock[500], first.clock[1500]) == (180.0, 540.0)
    assert first.params["train.batch_size"] == "4"
    assert (refined.params["train.steps"], refined.params["refinement.symmetric"]) == ("100", "true")
    assert first.tags["mlflow.note.content"] == "box_ap 66.6 on val, weights of step 1500 of 1500"
    assert (first.seconds, refined.seconds) == (540.0, 60.0)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"total_loss": 2.0, "model_loss": 2.0, "training_loss": 2.0}, {"train/total_loss"}),
        ({"total_loss": 2.0, "model_loss": 1.9}, {"train/total_loss", "train/model_loss"}),
        ({"steps_per_second": 2.0, "learning_rate": 0.1}, {"train/learning_rate"}),
    ],
)
def test_a_number_of_a_training_is_one_curve(entry: Entry, names: set[str]) -> None:
    found = History(train=({"step": 5, **entry},), validation=({"step": 5, "validation_loss": 3.0},))
    assert {curve.name for curve in history_to_curves(found)} == {*names, "validation/total_loss"}


def test_a_training_is_known_by_what_it_is_and_when_it_began(layout: Layout) -> None:
    folder = layout.variant(MODELS[0], "trained")
    before = plan(layout).trainings[0]
    write_dvc_lock(layout, state="two")
    assert plan(layout).trainings[0].key == before.key, "the same training in another state of the project"
    tree = json.loads((folder / HISTORY_FILE).read_text())
    tree["train"][0]["seconds"] += 0.001
    write_json(tree, folder / HISTORY_FILE)
    assert plan(layout).trainings[0].key != before.key, "trained again"


def test_runs_name_their_data(layout: Layout) -> None:
    publication = plan(layout)
    shown = {
        kind: [(data.name, data.context) for data in run.data_sets]
        for kind, run in (
            ("parent", publication.parent), ("training", publication.trainings[0]), ("child", publication.children[0]),
        )
    }  # fmt: skip
    assert shown == {
        "parent": [("synthetic/train", "training"), ("synthetic/val", "evaluation")],
        "training": [("synthetic/train", "training"), ("synthetic/val", "validation")],
        "child": [("synthetic/val", "evaluation")],
    }
    (data,) = publication.children[0].data_sets
    prepared = read_json(PrepareReport, layout.prepare_report).splits["val"]
    assert prepared.sha256.startswith(data.digest)
    assert len(data.digest) == 32
    assert json.loads(data.profile) == {"num_images": 6, "num_objects": 12, "objects_per_class": {"circle": 12}}


def test_data_is_called_after_its_folder() -> None:
    params = PrepareParams(source="voc", path="data/raw/bccd")
    names = [data.name for data in plan_data_sets(prepare_report(), params, ("train", "val", "test"))]
    assert names == ["bccd/train", "bccd/val"], "a split without images is no data set"


def test_the_run_of_a_training_says_what_it_started_from(layout: Layout) -> None:
    record = InitRecord(
        source="zoo:ssdlite_mobiledet_edgetpu",
        kind="Object Detection API TF1 checkpoint",
        sha256="0" * 64,
        parts=(InitializedPart(part="backbone", loaded=285, variables=285, reason=""),
               InitializedPart(part="head (class)", loaded=0, variables=15, reason="not in the checkpoint")),
        missing={"head/_classifier/bias": "not in the checkpoint"},
        class_names_from="",
        classes=(),
        notes=(),
        unused=145,
    )  # fmt: skip
    folder = layout.variant("retinanet_mobiledet_edgetpu", "trained")
    write_json(train_result(initialization=record), folder / RESULT_FILE)
    first, other = plan(layout).trainings
    assert (first.metrics["init/backbone/loaded"], first.metrics["init/head__class_/variables"]) == (285, 15)
    assert first.tags["init"] == (
        "zoo:ssdlite_mobiledet_edgetpu (Object Detection API TF1 checkpoint): backbone 285 of 285; head (class) 0 of 15"
    )
    assert first.artifacts == ((folder / RESULT_FILE, "training"),)
    assert other.artifacts == ()
    assert other.metrics == {"best_step": 1500.0}


def test_a_red_gate_is_planned_as_red(layout: Layout) -> None:
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"box_ap_drop": 3.1})
    publication = plan(layout)
    assert (publication.parent.tags["gate"], publication.parent.failed) == ("red", True)
    assert [child.failed for child in publication.children] == [False, True, False, False]
    assert publication.parent.model is None
    names = [child.model.name if child.model else None for child in publication.children]
    assert names[:2] == ["retinanet_mobiledet_edgetpu-float32", None], "only what passes is a model"
    assert None not in names[2:]
    model = publication.children[0].model
    assert model is not None
    pins = dict(pin.split("==") for pin in model.requirements)
    assert {"ai-edge-litert", "numpy", "pillow"} < set(pins)
    assert not [name for name in pins if "tensorflow" in name]
    assert "above 2" in publication.children[1].tags["verdict_reasons"]


def test_keys_follow_the_state_and_what_was_measured(layout: Layout) -> None:
    before = plan(layout)
    assert [run.key for run in plan(layout).children] == [run.key for run in before.children]
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", benchmark_changes={"init_ms": 99.0})
    after = plan(layout)
    assert after.parent.key == before.parent.key
    assert [a.key == b.key for a, b in zip(after.children, before.children, strict=True)] == [True, False, True, True]
    write_dvc_lock(layout, state="two")
    assert plan(layout).parent.key != before.parent.key


def test_without_dvc_lock_the_metrics_are_the_state(layout: Layout) -> None:
    layout.dvc_lock.unlink()
    parent = plan(layout).parent
    assert parent.key.startswith("parent:metrics-")
    assert "dvc_lock_sha256" not in parent.tags


def test_a_model_file_that_was_not_measured_is_not_published(layout: Layout) -> None:
    plan(layout)
    (layout.converted("retinanet_mobiledet_edgetpu", "int8") / "model.tflite").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="not the file that was measured"):
        plan(layout)


def test_without_a_report_there_is_nothing_to_publish(layout: Layout) -> None:
    with pytest.raises(MissingResultError, match=r"stages\.report"):
        read_state(layout.root, dvc_lock=layout.dvc_lock, metrics=layout.metrics)


def test_class_names_become_names_that_mlflow_takes(layout: Layout) -> None:
    accuracy = Accuracy(box=average_precision(60.0, {"1": "a/b", "2": "Ø 5 mm, round", "3": ".."}))
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"accuracy": accuracy})
    names = {name for name in plan(layout).children[1].metrics if name.startswith("box_per_class/")}
    assert names == {"box_per_class/a_b", "box_per_class/Ø_5_mm__round", "box_per_class/_"}


@pytest.mark.parametrize(("name", "clean"), [("a//b", "a/_/b"), ("train/loss", "train/loss"), ("a*b", "a_b")])
def test_clean_names(name: str, clean: str) -> None:
    assert clean_name(name) == clean


def test_settings_are_flattened() -> None:
    tree = yaml.safe_load("{a: {b: 1, c: [1, 2]}, d: null, e: text, f: {}}")
    assert flatten(tree) == {"a.b": "1", "a.c": "[1, 2]", "d": "null", "e": "text", "f": "{}"}


NAMES = {
    "long": ["n" * 300, "n" * 299 + "m", "short"],
    "equal once cleaned": ["a/b", "a_b", "a b", "a:b"],
    "equal but for case": ["Fig", "fig"],
    "nothing left": ["...", "/", "."],
    "letters": ["Ø 5 mm", "日本", "a\nb", "tab\there"],
    "folders": ["../up", "/root", "a//b"],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_any_class_names_give_distinct_valid_recognisable_metrics(names: list[str]) -> None:
    keys = class_keys(names)
    assert len({key.casefold() for key in keys.values()}) == len(names)
    for name, key in keys.items():
        _validate_metric_name(f"box_best_score_per_class/{key}")
        assert not set(key) & {"/", " "}
        letters = "".join(filter(str.isalnum, name))[:20]
        assert "".join(filter(str.isalnum, key)).startswith(letters)
    assert class_keys(["fig", "date"]) == {"fig": "fig", "date": "date"}


SHORT = {27.43522953: 27.4352, -0.0427430: -0.04274, 0.0: 0.0, 0.00079208: 0.0007921, 4e9: 4e9}


@pytest.mark.parametrize(("value", "short"), SHORT.items())
def test_numbers_are_as_long_as_a_table_can_show(value: float, short: float) -> None:
    assert shorten(value) == short
