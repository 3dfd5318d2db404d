"""What the gateway does, apart from HTTP: follows the registry, answers for photos, keeps those that were misjudged.

In: a fleet of models, the settings, and requests that were read and admitted. Out: answers, counted. What is wrong is raised, and
`app.py` says it with a status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi.responses import JSONResponse, Response

from serving.admission import ComputeQueue, OverloadedError
from serving.gateway import schemas
from serving.gateway.bodies import BodyReader, Form, Photo
from serving.gateway.flagging import Flag, FlaggedPhotos, read_flag
from serving.gateway.fleet import Fleet
from serving.gateway.metrics import Metrics
from serving.gateway.observing import log
from serving.gateway.settings import Settings
from serving.gateway.sources import CHAMPION, SourceError, Version
from serving.images import UnreadableImageError
from serving.options import Options, RequestError
from serving.predictor import Examined

#: Callers who wait for a version that is not loaded.
_MOST_LOADING = 4
#: As nginx has it; nobody sees it but the log.
_LEFT = 499


class Gateway:
    """What the routes share."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        """Put the parts together; nothing is loaded or started yet."""
        self.fleet = fleet
        self.settings = settings
        self._loading: set[asyncio.Task[Version]] = set()
        self.queue = ComputeQueue(settings.num_threads, settings.max_waiting)
        self.reader = BodyReader(settings)
        self.metrics = Metrics(lambda: self.queue.num_admitted, lambda: self.reader.num_buffered, lambda: fleet.leaders.values())
        self.flagged = FlaggedPhotos(settings.flagged, settings.max_flagged, settings.max_flagged_bytes) if settings.flagged else None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Load the models, then follow the registry until the block ends."""
        await self._refresh()
        poller = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            poller.cancel()
            with suppress(asyncio.CancelledError):
                await poller
            self.queue.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            try:
                await self._refresh()
            except Exception:
                # Whatever it was, the registry is followed on.
                log.exception("the registry could not be followed")

    async def _refresh(self) -> None:
        before = self.fleet.detail
        changed = await asyncio.to_thread(self.fleet.refresh)
        self.metrics.healthy.set(not self.fleet.problem)
        if self.fleet.problem and self.fleet.detail != before:
            log.warning(self.fleet.detail)
        if changed:
            self.metrics.reloads.inc()
            self.metrics.versions.clear()
            for alias, version in self.fleet.leaders.items():
                self.metrics.versions.labels(self.fleet.source.model, alias, version.number, version.precision).set(1)
                log.info("serving", extra={"fields": {"model": self.fleet.source.model, "alias": alias, "version": version.number}})

    async def find(self, name: str) -> Version:
        """The version to ask; one that is not loaded yet is loaded outside the compute threads."""
        if name == CHAMPION and CHAMPION not in self.fleet.leaders:
            raise schemas.NotReadyError(f"no model can answer yet: {self.fleet.problem}")
        version = self.fleet.find(name)
        return version if version is not None else await self._load(name)

    async def _load(self, name: str) -> Version:
        # Who waits for one holds a place that the champion's callers need.
        if len(self._loading) >= _MOST_LOADING:
            raise OverloadedError("too many ask for versions that are not loaded; try again in a second")
        loading = asyncio.create_task(asyncio.to_thread(self.fleet.load, name))
        self._loading.add(loading)
        loading.add_done_callback(self._loading.discard)
        try:
            async with asyncio.timeout(self.settings.answer_seconds):
                return await asyncio.shield(loading)
        except SourceError as error:
            log.warning(error.explain())
            raise

    async def answer(self, name: str, photos: Sequence[Photo], options: Options, has_left: Callable[[], Awaitable[bool]]) -> Response:
        """Classify the photos of one admitted request, one after the other, for as long as the caller is there."""
        if not photos:
            raise RequestError("no photo arrived; expected at least one")
        version, answers = await self.find(name), []
        for row, photo in enumerate(photos):
            if await has_left():
                return Response(status_code=_LEFT)
            answers.append(await self._classify(version, row, photo, options))
        return JSONResponse({"predictions": answers})

    async def _classify(self, version: Version, row: int, photo: Photo, options: Options) -> dict[str, Any]:
        def compute() -> Examined:
            if isinstance(photo, RequestError):
                raise photo
            started = time.perf_counter()
            examined = version.predictor.examine(bytes(photo), options)
            self.metrics.photo_seconds.labels(version.number).observe(time.perf_counter() - started)
            return examined

        try:
            # For each photo, because under load each waits its turn behind the photos of others.
            async with asyncio.timeout(self.settings.answer_seconds):
                examined = await asyncio.wrap_future(self.queue.submit(compute))
        except (UnreadableImageError, RequestError) as error:
            self.metrics.unreadable.inc()
            if options.on_error == "report":
                return {"error": str(error)}
            raise RequestError(f"photo {row}: {error}") from None
        self.metrics.count_answer(version, examined)
        return examined.answer

    def require_flagging(self) -> FlaggedPhotos:
        """Where misjudged photos are kept.

        Raises:
            ForbiddenError: This server keeps none.
        """
        if self.flagged is None:
            raise schemas.ForbiddenError("this server keeps no photos")
        return self.flagged

    async def flag(self, form: Form) -> str:
        """Keep the photo of an admitted form, with what its version says of it; return the photo's SHA-256.

        Raises:
            RequestError: There is no photo in the form, or a field is wrong.
        """
        keep = self.require_flagging().keep
        version = await self.find(form.fields.get("version", CHAMPION))
        label = read_flag(form.fields, version.predictor.card.classes)
        if not form.photos or not isinstance(form.photos[0], bytes):
            raise RequestError("no photo arrived; expected one as the field `image`")
        photo = form.photos[0]

        def store() -> str:
            return keep(photo, Flag(label, self.fleet.source.model, version.predictor.predict(photo)))

        return await asyncio.wrap_future(self.queue.submit(store))
