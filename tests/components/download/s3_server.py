"""A real S3 server for tests: SeaweedFS, on free ports, with its data in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest

KEY, SECRET = "tester", "not-a-secret"
_PATIENCE = 40.0


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: Its address.
        client: A boto3 client that may do everything.
    """

    endpoint: str
    client: Any


def _find_ports(count: int) -> list[int]:
    """Ports that are free, and whose neighbour 10,000 above is: the server's internal calls go there."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            low, high = (stack.enter_context(socket.socket()) for _ in range(2))
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            if port > 55_000:
                continue
            try:
                high.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
        return found


@contextmanager
def serving_s3(folder: Path) -> Iterator[S3Server]:
    """Serve while the body runs."""
    program = Path(sys.executable).with_name("weed")
    weed = str(program) if program.is_file() else shutil.which("weed")
    if weed is None:
        pytest.skip("SeaweedFS is not installed; `make setup` installs it where there is a build of it")
    s3, master, volume, filer = _find_ports(4)
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", f"-s3.port={s3}"]
    command += ["-s3.port.iceberg=0", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    command += ["-webdav=false", "-admin.ui=false"]
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **keys}, stdout=log, stderr=log, cwd=folder)
    endpoint = f"http://127.0.0.1:{s3}"
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")
    try:
        _wait_until_ready(client, process, folder / "log")
        yield S3Server(endpoint, client)
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(client: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="photos")
            client.put_object(Bucket="photos", Key="ready", Body=b"yes")
            return
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the S3 server does not come up ({error}):\n{log.read_text()[-2000:]}") from error
            time.sleep(0.2)


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have boto3 find the server and its keys where it looks for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
