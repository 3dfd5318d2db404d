from __future__ import annotations

import pytest
import requests

from components.common.errors import state_cause


def test_an_error_of_the_network_is_told_without_its_wrappings(deserted_address: str) -> None:
    with pytest.raises(requests.ConnectionError) as failure:
        requests.get(deserted_address, timeout=10)
    assert "Max retries" in str(failure.value)
    assert state_cause(failure.value).startswith("Failed to establish a new connection: [Errno ")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (requests.ConnectionError("Connection aborted.", ConnectionResetError(104, "reset by peer")), "[Errno 104] reset by peer"),
        (requests.HTTPError("404 Client Error: Not Found for url: http://here/"), "404 Client Error: Not Found for url: http://here/"),
        (requests.Timeout(), "Timeout"),
    ],
)
def test_an_error_that_wraps_nothing_speaks_for_itself(error: Exception, cause: str) -> None:
    assert state_cause(error) == cause
