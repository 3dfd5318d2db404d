"""What an empty team server needs before it can be used: a bucket, and a user of MLflow who may only read.

In: the environment (`BUCKET`, `MLFLOW_S3_ENDPOINT_URL`, `AWS_*`; `MLFLOW_TRACKING_*` of an administrator; `MLFLOW_READER_PASSWORD`).
Out: both are there; what was there already stays as it is. Also the copy of the bucket in backups:

    python prepare.py                    the bucket and the user
    python prepare.py bucket             the bucket alone, before there is an MLflow to ask
    python prepare.py reader             the user alone
    python prepare.py save FOLDER        the bucket's objects into an empty folder
    python prepare.py restore FOLDER     back again
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import requests

READER = "reader"
_EXISTS = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")


def open_store() -> Any:
    """A client of the S3-compatible store that the environment names."""
    return boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None)


def create_bucket(bucket: str) -> None:
    """Make the bucket, if there is none."""
    try:
        open_store().create_bucket(Bucket=bucket)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in _EXISTS:
            raise


def create_reader(address: str, administrator: tuple[str, str], password: str) -> None:
    """Make the user `reader`, if there is none; whatever is not permitted to somebody, all may read."""
    users = f"{address.rstrip('/')}/api/2.0/mlflow/users"
    if requests.get(f"{users}/get", params={"username": READER}, auth=administrator, timeout=30).status_code == 200:
        return
    requests.post(f"{users}/create", json={"username": READER, "password": password}, auth=administrator, timeout=30).raise_for_status()


def create_reader_of_environment() -> None:
    """Make the user with the credentials in the environment."""
    administrator = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    create_reader(os.environ["MLFLOW_TRACKING_URI"], administrator, os.environ["MLFLOW_READER_PASSWORD"])


def save(bucket: str, folder: Path) -> int:
    """Copy all objects into a folder, and return their number."""
    store = open_store()
    number = 0
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            path = folder / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(bucket, item["Key"], str(path))
            number += 1
    return number


def restore(bucket: str, folder: Path) -> int:
    """Copy all files of a folder into the bucket, and return their number."""
    store = open_store()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        store.upload_file(str(path), bucket, path.relative_to(folder).as_posix())
    return len(files)


def main() -> None:
    """See the module."""
    bucket = os.environ["BUCKET"]
    match sys.argv[1:]:
        case ["bucket"]:
            create_bucket(bucket)
        case ["reader"]:
            create_reader_of_environment()
        case ["save", folder]:
            print(f"saved {save(bucket, Path(folder))} objects")
        case ["restore", folder]:
            create_bucket(bucket)
            print(f"restored {restore(bucket, Path(folder))} objects")
        case []:
            create_bucket(bucket)
            create_reader_of_environment()
        case other:
            sys.exit(f"unknown arguments {other}; expected none, `bucket`, `reader`, `save FOLDER` or `restore FOLDER`")


if __name__ == "__main__":
    main()
