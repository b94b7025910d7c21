"""Runs MediaPipe's object detector over pictures, in an environment that has MediaPipe; prints JSON.

Arguments: the model file, then the pictures.
"""

import json
import sys


def main(model: str, pictures: list[str]) -> None:
    from mediapipe import Image
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=model))
    with vision.ObjectDetector.create_from_options(options) as detector:
        found = []
        for picture in pictures:
            detections = detector.detect(Image.create_from_file(picture)).detections
            rows = []
            for detection in detections:
                box = detection.bounding_box
                corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
                # Detections with the same box are one, with several categories.
                rows += [
                    {"class": one.category_name, "score": one.score, "box": corners} for one in detection.categories
                ]
            found.append(rows)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
