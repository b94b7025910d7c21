"""What every package uses: errors, hashes, JSON, paths, child processes. Knows nothing of detectors."""
