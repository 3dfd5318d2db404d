"""Names of the files by which one step finds what another has written; docs/architecture.md says what is in them."""

from __future__ import annotations

CANDIDATE_FILE = "candidate.json"
FAILURE_FILE = "failed.json"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
VERDICT_FILE = "verdict.json"
