"""What each number of a run is, for the description of the experiment in MLflow's UI."""

from fnmatch import fnmatchcase

MEANINGS: dict[str, tuple[str, str]] = {
    "box_ap": ("points", "COCO box AP of the file, 0 to 100; `mask_ap`: of its masks"),
    "mask_ap": ("points", ""),
    "*_ap_float": ("points", "the float model under the same post-processing, on the same images"),
    "*_ap_trained": ("points", "the same weights as training measured them at its end"),
    "*_class_ap_drop": ("points", "what the class that lost most has lost"),
    "*_ap_drop": ("points", "`*_ap_float` minus the file's AP"),
    "*_trained_drop": ("points", "`*_ap_trained` minus the file's AP"),
    "*_low": ("points", "lower end of the 95 % interval over the images"),
    "*_high": ("points", "upper end"),
    "latency_p*_ms": ("ms", "one image, median and 90th percentile, on the machine that ran `benchmark`"),
    "latency/*_ms": ("ms", "99th percentile and mean"),
    "init_ms": ("ms", "opening the file"),
    "size_mb": ("MB, 10^6 bytes", "the file; `gzip_mb`: compressed"),
    "gzip_mb": ("MB", ""),
    "peak_rss_mb": ("MB", "peak memory of a process that runs the file; `baseline_rss_mb`: before it is opened"),
    "baseline_rss_mb": ("MB", ""),
    "num_images": ("", "images evaluated"),
    "mean_detections": ("", "detections per timed image"),
    "agreement_f1": ("0 to 1", "how well the detections match the float model's; `agreement/*`: what it is made of"),
    "agreement/*": ("", ""),
    "parity/*": ("", "raw outputs beside the float model's: worst SQNR in dB, cosine, largest difference"),
    "proof/*": ("", "read from the file's bytes: multiply-accumulates, and the share of them in int8"),
    "float_*/*": ("points", "as `box/*` and so on, of the float model"),
    "float_*_per_class/*": ("points", ""),
    "*_best_f1_per_class/*": ("0 to 1", "F1 at the best threshold, class by class"),
    "*_best_score_per_class/*": ("0 to 1", "that threshold"),
    "*_ap50_per_class/*": ("points", "AP at IoU 0.5, class by class"),
    "objects_per_class/*": ("", "objects in the evaluated images"),
    "*_per_class/*": ("points", "AP, class by class"),
    "*_best/*": ("0 to 1", "best threshold over all classes: score, precision, recall, F1"),
    "box/*": ("points", "box AP at IoU 0.5 and 0.75, by size of object; `mask/*`: of masks"),
    "mask/*": ("points", ""),
    "device/*/*": ("", "the same file on other machines: docs/devices.md"),
    "train/learning_rate": ("", "of the optimizer"),
    "train/images_per_second": ("images/s", "training speed between two entries"),
    "train/seconds": ("s", "time spent training so far"),
    "train/*": ("", "mean losses between two entries; `train/total_loss` is their sum"),
    "validation/total_loss": ("", "on val"),
    "validation/*": ("points", "AP on val, by Model Garden's evaluator and post-processing"),
    "best_step": ("steps", "whose weights were kept"),
    "init/*": ("", "variables that an init checkpoint gave, and how many there are"),
    "rows": ("", "files of this state; `rows_red`: those because of which the gate is red"),
    "rows_red": ("", ""),
    "system/*": ("", "load of the machine during training, measured by MLflow"),
}
"""Pattern to unit and meaning; the first that matches counts. Without a meaning: told with another."""


def find_meaning(metric: str) -> tuple[str, str] | None:
    """Pattern's unit and meaning; None for a number that nobody has described."""
    return next((told for pattern, told in MEANINGS.items() if fnmatchcase(metric, pattern)), None)


def meanings_to_markdown() -> str:
    """A table of all numbers."""
    rows = [f"| `{pattern}` | {unit} | {meaning} |" for pattern, (unit, meaning) in MEANINGS.items() if meaning]
    return "\n".join(["| number | unit | what it is |", "|---|---|---|", *rows])
