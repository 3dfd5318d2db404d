"""What the exit handler says about a pipeline run that has ended, well or badly."""

from __future__ import annotations


def describe_end(state: str, error: str) -> tuple[bool, str]:
    """Whether the run succeeded, and a sentence about it.

    Args:
        state: Final state as Kubeflow names it: SUCCEEDED, FAILED, CANCELLED.
        error: Kubeflow's error message; may be empty.
    """
    if state == "SUCCEEDED":
        return True, "the pipeline finished"
    # Kubeflow's message names the task group that failed; the step's own message stands in its log.
    return False, f"the pipeline ended as {state}" + (f" ({error})" if error else "")
