"""The routes, over real HTTP."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.gateway.sources import FolderSource
from serving.options import Options
from serving.predictor import Predictor
from tests.serving.gateway.conftest import StartGateway
from tests.serving.http import Client, draw

BRIGHT, DARK = draw(255), draw(0)


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_form_and_a_bare_photo_get_the_predictors_own_answer(gateway: Client, tmp_path: Path, two_models: FolderSource) -> None:
    expected = Predictor(tmp_path / "bright", two_models.read_aliases()["champion"]).predict(BRIGHT)
    assert gateway.post("/predict", files={"image": BRIGHT}).json() == {"predictions": [expected]}
    for content_type in ("image/png", "application/octet-stream", "application/x-www-form-urlencoded", ""):
        assert gateway.post("/predict", data=BRIGHT, headers={"content-type": content_type}).json() == {"predictions": [expected]}


def test_several_photos_are_answered_in_their_order(gateway: Client) -> None:
    photos = [("image", DARK), ("image", BRIGHT), ("image", DARK)]
    answers = gateway.post("/predict", files=photos).json()["predictions"]
    assert [answer["label"] for answer in answers] == ["cat", "dog", "cat"]


def test_two_versions_answer_side_by_side(gateway: Client, two_models: FolderSource) -> None:
    number = two_models.read_aliases()["challenger"]
    labels = [
        gateway.post(f"/predict/{name}", data=BRIGHT).json()["predictions"][0]["label"] for name in ("champion", "challenger", number)
    ]
    assert labels == ["dog", "cat", "cat"]
    refused = gateway.post("/predict/nobody", data=BRIGHT)
    assert refused.status_code == 404
    assert "no alias or version 'nobody'; aliases: challenger (version" in refused.json()["message"]


def test_options_are_passed_on(gateway: Client, tmp_path: Path) -> None:
    answer = gateway.post("/predict?top_k=1&threshold=1&heat_map=true", data=BRIGHT).json()["predictions"][0]
    assert answer == {**Predictor(tmp_path / "bright").predict(BRIGHT, Options(1, 1.0, True)), "model_version": answer["model_version"]}
    refused = gateway.post("/predict?topk=1", data=BRIGHT)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "unknown option 'topk'" in refused.json()["message"]
    forgotten = gateway.post("/predict", files={"image": (None, "photo.jpg")})
    assert forgotten.status_code == 400
    assert forgotten.json()["message"].startswith("`image` came as text; expected the file itself, as `curl -F image=@photo.jpg`")
    of_form = gateway.post("/predict", files={"image": BRIGHT}, data={"top_k": "1"}).json()["predictions"][0]
    assert list(of_form["probabilities"]) == [answer["label"]]
    refused = gateway.post("/predict", files={"image": BRIGHT}, data={"nonsense": "1"})
    assert (refused.status_code, refused.json()["message"][:25]) == (400, "unknown option 'nonsense'")


@pytest.mark.parametrize(
    "envelope",
    [
        lambda rows: {"dataframe_split": {"columns": ["image"], "data": [[row] for row in rows]}},
        lambda rows: {"dataframe_split": {"index": [5, 6], "columns": ["name", "image"], "data": [["x", row] for row in rows]}},
        lambda rows: {"dataframe_records": [{"image": row} for row in rows]},
        lambda rows: {"instances": [{"image": row} for row in rows]},
        lambda rows: {"instances": rows},
        lambda rows: {"inputs": {"image": rows}},
        lambda rows: {"inputs": rows},
    ],
)
def test_mlflow_envelopes(gateway: Client, envelope: object) -> None:
    body = envelope([encode(DARK), encode(BRIGHT)])  # type: ignore[operator]
    answer = gateway.post("/invocations", json={**body, "params": {"top_k": 1}})
    assert [list(row["probabilities"]) for row in answer.json()["predictions"]] == [["cat"], ["dog"]]


def test_one_bad_photo_fails_all_or_its_row_alone(gateway: Client) -> None:
    photos = [("image", BRIGHT), ("image", b"camera shy"), ("image", DARK)]
    refused = gateway.post("/predict", files=photos)
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("photo 1: the 10 bytes are not an image")
    rows = gateway.post("/predict?on_error=report", files=photos).json()["predictions"]
    assert [row.get("label") for row in rows] == ["dog", None, "cat"]
    assert rows[1] == {"error": "the 10 bytes are not an image in any accepted format (JPEG, PNG, GIF, WEBP, BMP, TIFF)"}
    mixed = {"instances": [encode(BRIGHT), "no base64", 7], "params": {"on_error": "report"}}
    rows = gateway.post("/invocations", json=mixed).json()["predictions"]
    assert [set(row) == {"error"} for row in rows] == [False, True, True]


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status", "message"),
    [
        ("/predict", "", b"", 400, "photo 0: the file is empty"),
        ("/predict", "multipart/form-data", b"x", 400, "multipart form cannot be read"),
        ("/predict", "multipart/form-data; boundary=b", b"--b--\r\n", 400, "no photo arrived"),
        ("/predict", "application/json", b"{}", 415, "goes to /invocations"),
        ("/invocations", "", b"{}", 415, "expected application/json"),
        ("/invocations", "text/csv", b"image\nx\n", 415, "expected application/json"),
        ("/invocations", "application/json", b"\xff\xfe\xfd", 400, "not JSON in UTF-8"),
        ("/invocations", "application/json", b"[" * 10_000, 400, "not JSON"),
        ("/invocations", "application/json", b'{"instances": [' + b"{}," * 10_000 + b"{}]}", 413, "lists, objects and values"),
        ("/invocations?top_k=1", "application/json", b"{}", 400, "options stand in `params` of the JSON; the address has 'top_k'"),
        ("/invocations", "application/json", b"[]", 400, "the JSON is a list"),
        ("/invocations", "application/json", b"{}", 400, "has the keys none"),
        ("/invocations", "application/json", b'{"inputs": 1, "instances": 2}', 400, "exactly one of"),
        ("/invocations", "application/json", b'{"inputs": {"photo": "x"}}', 400, "does not hold a column `image`"),
        ("/invocations", "application/json", b'{"dataframe_split": {"data": [[1]]}}', 400, "does not hold a column `image`"),
        ("/invocations", "application/json", b'{"instances": []}', 400, "no photo arrived"),
        ("/invocations", "application/json", b'{"instances": [null]}', 400, "got NoneType"),
        ("/invocations", "application/json", b'{"instances": ["x"], "params": {"top_k": -3}}', 400, "top_k is '-3'"),
        ("/invocations", "application/json", b'{"instances": ["x"], "params": [1]}', 400, "params is a list"),
        ("/invocations", "application/json", b'{"instances": ["x"], "params": false}', 400, "params is a bool"),
    ],
)
def test_what_is_wrong_is_said_in_words(gateway: Client, path: str, content_type: str, body: bytes, status: int, message: str) -> None:
    refused = gateway.post(path, data=body, headers={"content-type": content_type})
    assert refused.status_code == status
    assert message in refused.json()["message"]


def test_unknown_addresses_and_methods(gateway: Client) -> None:
    assert gateway.get("/nothing").json()["error_code"] == "ENDPOINT_NOT_FOUND"
    assert gateway.get("/predict").json()["error_code"] == "METHOD_NOT_ALLOWED"
    assert gateway.get("/page/../app.py").status_code == 404
    assert gateway.get("/page/%2e%2e/app.py").status_code == 404


def test_head_is_get_without_a_body(gateway: Client) -> None:
    for path in ("/", "/healthz", "/models", "/page/app.js"):
        answer = gateway.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == str(len(gateway.get(path).content))
    assert gateway.head("/predict").status_code == 405
    assert 'method="HEAD",route="/healthz",status="200"' in gateway.get("/metrics").text


def test_a_compressed_body_is_refused_in_words(gateway: Client) -> None:
    refused = gateway.post("/predict", data=gzip.compress(BRIGHT), headers={"content-encoding": "gzip"})
    assert refused.status_code == 415
    assert "Content-Encoding is 'gzip'" in refused.json()["message"]


def test_any_bytes_get_a_clean_answer(gateway: Client) -> None:
    generator = np.random.default_rng(0)
    whole = {
        "image/png": BRIGHT,
        "multipart/form-data; boundary=b": b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        + BRIGHT
        + b"\r\n--b--\r\n",
        "application/json": json.dumps(
            {"dataframe_split": {"columns": ["image"], "data": [[encode(BRIGHT)]]}, "params": {"top_k": 1}}
        ).encode(),
    }
    statuses = set()
    for number in range(300):
        content_type, path = list(whole)[number % 3], ("/predict", "/invocations", "/flag")[number // 3 % 3]
        body = bytearray(whole[content_type])
        for position in generator.integers(0, len(body), generator.integers(0, 6)):
            body[position] = generator.integers(0, 256)
        answer = gateway.post(
            path, data=bytes(body[: generator.integers(len(body) // 2, len(body) + 1)]), headers={"content-type": content_type}
        )
        statuses.add(answer.status_code)
        assert set(answer.json()) in ({"predictions"}, {"error_code", "message"})
    assert statuses <= {200, 400, 403, 415}
    assert {200, 400} <= statuses
    assert gateway.post("/predict", data=BRIGHT).status_code == 200


def test_a_key_protects_everything_but_health_and_the_page(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, api_key="secret")
    for path in ("/predict", "/predict/champion", "/invocations", "/flag"):
        refused = client.post(path, data=BRIGHT)
        assert (refused.status_code, refused.json()["error_code"]) == (401, "UNAUTHENTICATED")
        assert client.post(path, data=BRIGHT, headers={"X-API-Key": "secre\u00e9"}).status_code == 401
    assert [client.get(path).status_code for path in ("/models", "/metrics", "/drift", "/healthz", "/")] == [401, 401, 401, 200, 200]
    for headers in ({"X-API-Key": "secret"}, {"Authorization": "Bearer secret"}):
        assert client.post("/predict", data=BRIGHT, headers=headers).status_code == 200


def test_another_site_cannot_post_through_a_visitors_browser(gateway: Client) -> None:
    assert gateway.post("/predict", data=BRIGHT, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert gateway.post("/predict", data=BRIGHT, headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/monitor"])
def test_a_page_has_the_parts_that_all_share(path: str, gateway: Client) -> None:
    page = gateway.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert page.text.count('<link rel="stylesheet" href="page/style.css">') == page.text.count('<p class="brand">') == 1
    assert ('<dialog id="key"' in page.text) == (path != "/docs")
    assert "<!--" not in page.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_commands_of_the_page_for_programs_run_with_a_photo_of_usual_size(gateway: Client, tmp_path: Path) -> None:
    photo = io.BytesIO()
    Image.effect_noise((1200, 900), 80).convert("RGB").save(photo, "JPEG", quality=90)
    assert len(photo.getvalue()) > 200_000
    for name in ("dog", "a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(photo.getvalue())
    page = html.unescape(gateway.get("/docs").text.replace('<span class="here"></span>', gateway.address))
    commands = "\n".join(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL))
    done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.count('"label"') == 1 + 2 + 1 + 1, done.stdout[:2000] + done.stderr


@pytest.mark.parametrize("path", ["/", "/monitor", "/page/app.js", "/models", "/nothing"])
def test_a_browser_may_load_and_run_nothing_from_elsewhere(gateway: Client, path: str) -> None:
    headers = gateway.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_document_of_the_api_names_every_route(gateway: Client) -> None:
    paths = gateway.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/predict", "/predict/{name}", "/invocations", "/flag", "/models", "/healthz", "/readyz", "/metrics", "/drift"}
    assert "multipart/form-data" in paths["/predict"]["post"]["requestBody"]["content"]
    envelope = paths["/invocations"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert len(gateway.post("/invocations", json=envelope).json()["predictions"]) == 1
    assert "security" not in paths["/predict"]["post"]


def test_the_document_names_the_key_where_one_is_wanted(start_gateway: StartGateway, two_models: FolderSource) -> None:
    client = start_gateway(two_models, api_key="secret")
    paths = client.get("/openapi.json").json()["paths"]
    assert [path for path, methods in paths.items() for method in methods.values() if "security" not in method] == ["/healthz", "/readyz"]
