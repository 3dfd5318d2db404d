from __future__ import annotations

import socket
from http.client import BadStatusLine

import pytest
import requests
from urllib3.exceptions import ProtocolError

from components.common.errors import state_cause


def test_an_error_of_the_network_is_told_without_its_wrappings(deserted_address: str) -> None:
    with pytest.raises(requests.ConnectionError) as failure:
        requests.get(deserted_address, timeout=10)
    assert "Max retries" in str(failure.value)
    assert state_cause(failure.value).startswith("Failed to establish a new connection: [Errno ")


def test_a_server_that_takes_no_connection_is_told_without_objects_of_python() -> None:
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())
        with pytest.raises(requests.ConnectTimeout) as failure:
            requests.get(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.5)
    assert state_cause(failure.value) == "Connection to 127.0.0.1 timed out. (connect timeout=0.5)"


def test_of_a_proxy_it_is_said_that_it_is_one(deserted_address: str) -> None:
    with pytest.raises(requests.exceptions.ProxyError) as failure:
        requests.get("http://photos.example", proxies={"http": deserted_address}, timeout=10)
    assert state_cause(failure.value).startswith("Unable to connect to proxy: Failed to establish a new connection: [Errno ")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer")), "Connection aborted: [Errno 104] reset by peer"),
        (ProtocolError("Connection aborted.", BadStatusLine("\x15\x03\x01")), r"Connection aborted: '\x15\x03\x01'"),
        ("404 Client Error: Not Found for url: http://here/", "404 Client Error: Not Found for url: http://here/"),
        ("", "RequestException"),
    ],
)
def test_what_stands_beside_a_cause_is_kept_and_bytes_are_spelled_out(error: object, cause: str) -> None:
    assert state_cause(requests.RequestException(*([error] if error else []))) == cause
