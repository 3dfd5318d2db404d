"""`python healthy.py URL`: exit code 0 if the address answers 200; with credentials where the environment has MLflow's.

The host in the address is what a client would use, because MLflow refuses names that it was not told of, and says "healthy" to all.
"""

from __future__ import annotations

import base64
import os
import sys
import urllib.request


def main() -> None:
    """Ask once; any other answer, or none, raises."""
    request = urllib.request.Request(sys.argv[1])  # noqa: S310 (the address stands in the Compose file)
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=4) as response:  # noqa: S310
        if response.status != 200:
            raise SystemExit(f"{sys.argv[1]} answered {response.status}")


if __name__ == "__main__":
    main()
