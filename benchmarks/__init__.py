"""What each figure in the README comes from: `python -m benchmarks`, peers included."""
