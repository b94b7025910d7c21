"""Running a converted file: pixels in, `Detections` out, one runner per runtime."""
