"""The one error of a run: something could not be measured, and why."""

__all__ = ["BenchmarkError"]


class BenchmarkError(Exception):
    """A figure that cannot be had. The words are for the person who started the run."""
