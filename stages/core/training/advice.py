"""One line at the end of a training: what the curves say should be tried next."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from stages.core.results.history import Entry, History

FEW_STEPS = 100
"""Steps below which batch norm and a moving average have hardly settled."""
CLEAR_FALL, CLEAR_RISE = 1.0, 1.0
"""Points of AP between evaluations that are more than noise of a validation split of a hundred images."""
FAR_ABOVE, CLOSE = 1.5, 1.15
"""Validation loss over training loss: from here a model has learned its images by heart; up to here it has not begun
to. On BCCD 1,000 steps ended at 1.05 (AdamW) and 0.98 (SGD), and more steps helped both."""
TAIL = 0.1


def advise(history: History, empty_classes: Sequence[str], section: str) -> str:
    """One line on what to try next; the first of the findings that holds.

    Args:
      history: Of the finished training.
      empty_classes: Names of classes without an object in the train split.
      section: Where the training's parameters are in params.yaml, e.g. `train.retinanet_mobiledet_cpu`.
    """
    if empty_classes:
        return f"next: {', '.join(empty_classes)}: no object in train, so never found; label some or drop the class"
    findings = (_too_short(history), _past_its_best(history), _still_rising(history), _loss_gap(history))
    found = next((finding for finding in findings if finding), "nothing stands out: more labelled images help most")
    return f"next: {found} ({section} in params.yaml)"


def read_empty_classes(annotations: Path) -> list[str]:
    """Names of the classes of a prepared COCO JSON that no object has; what is ignored is none."""
    tree = json.loads(annotations.read_bytes())
    used = Counter(entry["category_id"] for entry in tree["annotations"] if not entry.get("iscrowd"))
    return [category["name"] for category in tree["categories"] if not used[category["id"]]]


def _too_short(history: History) -> str | None:
    steps = int(history.train[-1]["step"] or 0) if history.train else 0
    return f"only {steps} steps: raise steps, or max_minutes if that is set" if steps < FEW_STEPS else None


def _main_ap(entry: Entry) -> float:
    """Mask AP where there is one, as the best checkpoint is chosen."""
    return entry.get("mask_ap") or entry.get("box_ap") or 0.0


def _past_its_best(history: History) -> str | None:
    values = [_main_ap(entry) for entry in history.validation]
    if len(values) < 2 or values[-1] > max(values) - CLEAR_FALL:
        return None
    best = history.validation[values.index(max(values))]
    return (
        f"val AP fell from {max(values):.1f} at step {best['step']:.0f} to {values[-1]:.1f}: fewer steps, or stronger "
        "augmentation"
    )


def _still_rising(history: History) -> str | None:
    values = [_main_ap(entry) for entry in history.validation]
    if len(values) < 2 or values[-1] < max(values[:-1]) + CLEAR_RISE:
        return None
    return f"val AP still rose, from {max(values[:-1]):.1f} to {values[-1]:.1f}: more steps"


def _loss_gap(history: History) -> str | None:
    """What the losses say; Model Garden's Mask R-CNN has none on val."""
    last = history.train[-max(1, round(TAIL * len(history.train))) :]
    trained = mean([entry.get("total_loss") or 0.0 for entry in last]) if last else 0.0
    judged = (history.validation[-1].get("validation_loss") or 0.0) if history.validation else 0.0
    if not trained or not judged:
        return None
    losses = f"loss {judged:.2f} on val, {trained:.2f} in training"
    if judged > FAR_ABOVE * trained:
        return f"{losses}: more images or stronger augmentation, such as augmentation.color_jitter and mosaic"
    if judged < CLOSE * trained:
        return f"{losses}: not learned by heart, so more steps"
    return None
