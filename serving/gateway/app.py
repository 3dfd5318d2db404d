"""The gateway over HTTP: photos in, answers out, from models that run in this process.

In: a fleet of models and the settings. Out: an ASGI application. Routes read their bodies themselves, within limits, and leave the rest to
`gateway.py`; what a caller can get wrong is answered with a status and a sentence.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.security import APIKeyHeader
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from serving.drift import FEWEST, WINDOW
from serving.gateway import schemas
from serving.gateway.bodies import Photo, WrongTypeError, parse_envelope, parse_form
from serving.gateway.fleet import Fleet
from serving.gateway.gateway import Gateway
from serving.gateway.observing import Observer
from serving.gateway.settings import Settings
from serving.gateway.sources import CHAMPION, Version
from serving.options import Options, RequestError

_PAGE = Path(__file__).parent / "page"

VersionName = Annotated[str, PathParameter(description="an alias or the number of a version", examples=["champion"])]


async def _explain(_: Request, error: Exception) -> Response:
    status, code = next(value for kind, value in schemas.STATUSES.items() if isinstance(error, kind))
    message = str(error) or "too much is waiting before this photo; try again"
    # A request that is refused half-way may still be sent to its end: most callers look for an answer only then.
    headers = {401: {"www-authenticate": "X-API-Key"}, 408: {"connection": "close"}, 503: {"retry-after": "1"}}
    return JSONResponse({"error_code": code, "message": message}, status, headers.get(status))


async def _explain_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    message = {404: "there is nothing at this address; /docs lists what there is", 405: "this address takes another method; see /docs"}
    body = {"error_code": codes.get(error.status_code, "BAD_REQUEST"), "message": message.get(error.status_code, str(error.detail))}
    return JSONResponse(body, error.status_code, error.headers)


def create_app(fleet: Fleet, settings: Settings) -> FastAPI:
    """Build the application; models are loaded when it starts."""
    gateway = Gateway(fleet, settings)

    async def require_key(request: Request, key: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]) -> None:
        given = (key or request.headers.get("authorization", "").removeprefix("Bearer ")).encode()
        if not hmac.compare_digest(given, settings.api_key.encode()):
            raise schemas.UnauthorizedError("this server wants an API key in the header X-API-Key")

    async def refuse_other_sites(request: Request) -> None:
        if request.method == "POST" and request.headers.get("sec-fetch-site") == "cross-site":
            raise schemas.ForbiddenError("another site may not send photos to this one from somebody's browser")

    # Where no key is wanted, the document of the API names none either.
    guards = [Depends(require_key), Depends(refuse_other_sites)] if settings.api_key else [Depends(refuse_other_sites)]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.run():
            yield

    app = FastAPI(
        title="pawflow gateway",
        version=_version(),
        description="Photos in, classes out. Errors are `error_code` and `message`.",
        docs_url=None,  # FastAPI's page loads scripts from elsewhere; page/docs.html does not.
        redoc_url=None,
        lifespan=lifespan,
    )
    for kind in schemas.STATUSES:
        app.add_exception_handler(kind, _explain)
    app.add_exception_handler(HTTPException, _explain_route)
    app.add_middleware(Observer, metrics=gateway.metrics)
    _add_predictions(app, gateway, guards)
    _add_information(app, gateway, guards)
    return app


def _version() -> str:
    try:
        return importlib.metadata.version("pawflow")
    except importlib.metadata.PackageNotFoundError:  # A container may hold the source alone.
        return "0"


def _add_predictions(app: FastAPI, gateway: Gateway, guards: Sequence[Any]) -> None:
    shared: dict[str, Any] = {"dependencies": guards, "responses": schemas.PROBLEMS, "tags": ["photos"]}
    photos = {"parameters": schemas.OPTIONS, "requestBody": schemas.PHOTOS}

    @app.post("/predict", response_model=schemas.Answers, openapi_extra=photos, **shared)
    async def predict(request: Request) -> Response:
        """Classify photos with the champion: `curl -F image=@dog.jpg`, or one photo as the body."""
        return await predict_with(CHAMPION, request)

    @app.post("/predict/{name}", response_model=schemas.Answers, openapi_extra=photos, **shared)
    async def predict_with(name: VersionName, request: Request) -> Response:
        """Classify photos with the version that an alias or a number names."""
        content_type = request.headers.get("content-type", "")
        options = Options.parse(request.query_params)
        if content_type.startswith("application/json"):
            raise WrongTypeError("this address takes photos, not JSON; MLflow's JSON goes to /invocations")
        async with gateway.reader.read(request) as body:
            with gateway.queue.admit():
                photos: Sequence[Photo] = [body]
                if content_type.lower().startswith("multipart/form-data"):
                    form = await parse_form(body, request.headers, gateway.settings.max_photos)
                    photos, options = form.photos, Options.parse({**request.query_params, **form.fields})
                return await gateway.answer(name, photos, options, request.is_disconnected)

    @app.post("/invocations", response_model=schemas.Answers, openapi_extra={"requestBody": schemas.ENVELOPE}, **shared)
    async def invocations(request: Request) -> Response:
        """The champion, in the format of MLflow's scoring server."""
        content_type = request.headers.get("content-type", "")
        if request.query_params:
            raise RequestError(f"options stand in `params` of the JSON; the address has {', '.join(request.query_params)[:50]!r}")
        async with gateway.reader.read(request) as body:
            with gateway.queue.admit():
                parsing = gateway.queue.submit(lambda: parse_envelope(body, content_type, gateway.settings.max_photos))
                return await gateway.answer(CHAMPION, *await asyncio.wrap_future(parsing), request.is_disconnected)

    @app.post("/flag", response_model=schemas.Flagged, status_code=201, openapi_extra={"requestBody": schemas.FLAG}, **shared)
    async def flag(request: Request) -> Response:
        """Keep a photo that was misjudged, with its owner's consent, for the labels of the next run."""
        gateway.require_flagging()
        async with gateway.reader.read(request) as body:
            with gateway.queue.admit():
                return JSONResponse({"sha256": await gateway.flag(await parse_form(body, request.headers, 1))}, 201)


def _add_information(app: FastAPI, gateway: Gateway, guards: Sequence[Any]) -> None:
    health: dict[str, Any] = {"tags": ["health"]}
    guarded: dict[str, Any] = {"dependencies": guards, "responses": {401: {"model": schemas.Problem}}}

    @app.get("/models", response_model=schemas.ServedModel, **guarded)
    async def models() -> dict[str, Any]:
        """The model and the versions that lead."""
        versions = [_describe(alias, version) for alias, version in gateway.fleet.leaders.items()]
        return {"model": gateway.fleet.source.model, "versions": versions, "flagging": gateway.flagged is not None}

    @app.get("/drift", response_model=schemas.Watched, **guarded)
    async def drift() -> dict[str, Any]:
        """What each leading version has answered since it was loaded, and how far the photos have moved from those it was judged on."""
        versions = [
            {"alias": alias, "version": version.number, **version.tally.describe()} for alias, version in gateway.fleet.leaders.items()
        ]
        return {"model": gateway.fleet.source.model, "window": WINDOW, "fewest": FEWEST, "versions": versions}

    @app.get("/healthz", response_model=schemas.Health, **health)
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @app.get("/readyz", response_model=schemas.Health, responses={503: {"model": schemas.Health}}, **health)
    async def readyz() -> Response:
        """Whether it can answer; a problem of the registry alone does not make it unready."""
        ready = CHAMPION in gateway.fleet.leaders
        return JSONResponse({"status": "ok" if ready else "not ready", "problem": gateway.fleet.problem}, 200 if ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse, **guarded, **health)
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    for path, name in (("/", "index"), ("/docs", "docs"), ("/monitor", "monitor")):
        app.add_api_route(path, _serve_page(name), include_in_schema=False)

    app.mount("/page", StaticFiles(directory=_PAGE), name="page")


def _serve_page(name: str) -> Callable[[], Awaitable[Response]]:
    """A page with the parts that all share in the places of the comments that name them."""
    text = (_PAGE / f"{name}.html").read_text()
    for part in ("head", "brand", "key"):
        text = text.replace(f"<!-- {part} -->", (_PAGE / f"{part}.html").read_text().strip())

    async def page() -> Response:
        return HTMLResponse(text, headers={"cache-control": "no-cache"})

    return page


def _describe(alias: str, version: Version) -> dict[str, Any]:
    card = version.predictor.card
    return {
        "alias": alias,
        "version": version.number,
        "created": version.created,
        "precision": version.precision,
        "classes": card.classes,
        "not_sure_below": card.not_sure_below,
        "image_size": card.image_size,
        "resize": card.resize,
        "dataset_digest": card.dataset_digest,
        "generated": card.generated,
    }
