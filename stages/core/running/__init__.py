"""Running a shipped file: pixels in, `Detections` out, one runner per runtime."""
