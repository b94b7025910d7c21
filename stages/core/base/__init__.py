"""What every room uses: errors, hashes, JSON, paths, child processes. Knows nothing of detectors."""
