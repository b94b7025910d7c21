import numpy as np

from stages.core.processing.detections import Detections
from stages.core.validating.agreement import NUM_MOVED, measure_agreement
from stages.core.validating.moved_images import MovedImages

NUM_IMAGES = 3 * NUM_MOVED


def found_on(rng: np.random.Generator, num: int) -> Detections:
    corners = rng.uniform(0, 60, (num, 2)).astype(np.float32)
    return Detections(
        boxes_xyxy=np.concatenate([corners, corners + 20], 1),
        scores=np.sort(rng.uniform(0, 1, num).astype(np.float32))[::-1],
        classes=rng.integers(1, 3, num).astype(np.int32),
        image_size=(100, 100),
    )


def outputs_of(image_id: int) -> dict[str, np.ndarray]:
    scores = np.full((1, 4), image_id, np.float32)
    return {"num_detections": np.asarray([2.0], np.float32), "detection_scores": scores}


def test_the_images_kept_are_those_that_the_agreement_names() -> None:
    rng = np.random.default_rng(0)
    floats = {image_id: found_on(rng, 5) for image_id in range(1, NUM_IMAGES + 1)}
    # Every third image as it was, the others with boxes of their own.
    files = {key: value if key % 3 == 0 else found_on(rng, 5) for key, value in floats.items()}
    kept = MovedImages(floats, score_threshold=0.3)
    for image_id in rng.permutation(list(files)).tolist():
        kept.offer(image_id, files[image_id], outputs_of(image_id))
    agreement = measure_agreement(((key, floats[key], files[key]) for key in files), score_threshold=0.3)
    assert len(kept.outputs) == NUM_MOVED
    assert list(kept.outputs) == [image.image_id for image in agreement.most_moved]
    for image_id, outputs in kept.outputs.items():
        assert outputs["detection_scores"].tolist() == [image_id, image_id, 0, 0]
