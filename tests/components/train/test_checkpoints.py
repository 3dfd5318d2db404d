from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.common.errors import PawflowError
from components.common.store import home
from components.train.checkpoints import LOCATION, Checkpoint, Checkpoints, Progress
from tests.components.download.s3_server import KEY, SECRET, serving_s3


def make(epoch: int) -> Checkpoint:
    progress = Progress(phase="body", epoch=epoch, best=0.25, history={"loss": [1.0, 0.5]}, sums={"loss": 3.5}, num_images=7)
    numbers = np.random.default_rng(epoch)
    return Checkpoint(progress, {"network": [numbers.random((40, 30), np.float32), np.array([7, 9], np.int64)], "best": []})


def assert_equal(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert found.progress == expected.progress
    for one, other in zip(found.arrays["network"], expected.arrays["network"], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for checkpoints; in the environment, too."""
    if request.param == "folder":
        monkeypatch.setenv(LOCATION, str(tmp_path / "elsewhere"))
        return "folder"
    for name, value in {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, LOCATION: "s3://photos/some/checkpoints"}.items():
        monkeypatch.setenv(name, value)
    server = request.getfixturevalue("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    return "s3"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server.endpoint


def test_the_newest_comes_back_and_all_go_in_the_end(place: str) -> None:
    checkpoints = Checkpoints("key")
    assert checkpoints.load() is None
    for epoch in range(12):
        checkpoints.save(make(epoch))
    Checkpoints("another").save(make(99))
    assert_equal(Checkpoints("key").load(), make(11))
    checkpoints.clear()
    assert checkpoints.load() is None
    assert_equal(Checkpoints("another").load(), make(99))


def files() -> list[Path]:
    return sorted((home() / "checkpoints" / "key").iterdir())


def test_two_are_kept() -> None:
    for epoch in range(5):
        Checkpoints("key").save(make(epoch))
    assert [file.name for file in files()] == ["000003.npz", "000004.npz"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "rubbish"])
def test_a_damaged_one_gives_way_to_the_one_before(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints("key")
    checkpoints.save(make(1))
    checkpoints.save(make(2))
    data = bytearray(files()[-1].read_bytes())
    data[1000] ^= 1
    contents = {"truncated": bytes(data[: len(data) // 2]), "empty": b"", "flipped": bytes(data), "rubbish": b"no archive at all"}
    files()[-1].write_bytes(contents[damage])
    assert_equal(checkpoints.load(), make(1))
    assert "000001.npz is damaged and discarded" in capsys.readouterr().out
    assert [file.name for file in files()] == ["000000.npz"]


def test_a_place_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCATION, "gs://bucket/prefix")
    with pytest.raises(PawflowError, match="expected a folder or s3://bucket/prefix"):
        Checkpoints("key")


def test_a_place_that_cannot_be_written_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(LOCATION, str(tmp_path / "file"))
    Checkpoints("key").save(make(0))
    assert "no checkpoint was written" in capsys.readouterr().out
