"""The files of a Kaggle competition, by Kaggle's own client.

kagglehub fetches, resumes and checks; this module tells people what to click when Kaggle says no, and packs what comes into the one
archive that people get by hand from the competition's page.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import requests
import tenacity

from components.common.errors import PawflowError, state_cause
from components.common.names import list_folder
from components.common.progress import relayed, say
from components.common.store import home
from components.download.packing import pack
from components.download.shelf import keep
from components.download.sources.request import Provenance, Request

_SITE = "https://www.kaggle.com"
_NEW_TOKEN = (
    f"Open {_SITE}/settings/api, sign in, click 'Generate New Token', copy the token, and run again with it in the environment: "
    "export KAGGLE_API_TOKEN=..."
)
_CUT_OFF = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_BY_HAND = "Or fetch the archive by hand and run with sources.root=DIR."


def identify(request: Request) -> dict[str, object]:
    """The competition: its files do not change once it is over."""
    return {"competition": _competition(request)}


def fetch(request: Request, folder: Path) -> Provenance:
    """Fetch all files of the competition as `<name>.zip`."""
    competition, file = _competition(request), f"{request.source.name}.zip"
    keep({"kaggle": competition}, lambda part: _fetch(competition, part), folder / file)
    page = f"{_SITE}/competitions/{competition}"
    return Provenance(file, origin=f"{page}/data", terms=f"Kaggle competition rules ({page}/rules)")


def _competition(request: Request) -> str:
    return request.source.competition or request.source.name


def require_access(request: Request) -> str:
    """Ask Kaggle for the archive, and leave it at that; returns what was asked for.

    Raises:
        PawflowError: There is no token, or Kaggle does not accept it, or the rules of the competition were not accepted.
    """
    competition = _competition(request)
    with _in_words(competition):
        from kagglehub.clients import build_kaggle_client
        from kagglehub.exceptions import handle_call
        from kagglehub.handle import CompetitionHandle
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

        question = ApiDownloadDataFilesRequest()
        question.competition_name = competition
        with build_kaggle_client() as client:
            api = client.competitions.competition_api_client
            handle_call(lambda: api.download_data_files(question), CompetitionHandle(competition)).close()
    return f"the competition {competition}"


def _fetch(competition: str, part: Path) -> None:
    with _in_words(competition):
        import kagglehub
        from kagglehub.exceptions import DataCorruptionError

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((*_CUT_OFF, DataCorruptionError)),
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=20),
            before_sleep=lambda _: say("cut off; going on"),
            reraise=True,
        )
        say(f"fetching the competition {competition} from Kaggle")
        with relayed():
            files = Path(attempts(kagglehub.competition_download, competition))
    pack(list_folder(files), part)
    shutil.rmtree(files)


@contextmanager
def _in_words(competition: str) -> Iterator[None]:
    """Say what to do about whatever Kaggle's client raises."""
    # Set before the import: kagglehub reads some of it then.
    os.environ.setdefault("KAGGLEHUB_CACHE", str(home() / "cache" / "kagglehub"))
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    from kagglehub.exceptions import DataCorruptionError, UnauthenticatedError

    try:
        yield
    except UnauthenticatedError as error:
        raise PawflowError(f"Kaggle gives {competition} to people it knows, and no token was found. {_NEW_TOKEN}\n{_BY_HAND}") from error
    except requests.HTTPError as error:
        raise _explain(competition, error) from error
    except (ValueError, *_CUT_OFF, DataCorruptionError) as error:
        raise PawflowError(
            f"{competition} could not be fetched from Kaggle ({state_cause(error)}). Run again; what came is kept. {_BY_HAND}"
        ) from error


def _explain(competition: str, error: requests.HTTPError) -> PawflowError:
    status = error.response.status_code if error.response is not None else 0
    page = f"{_SITE}/competitions/{competition}"
    reasons = {
        HTTPStatus.UNAUTHORIZED: f"does not accept the token (401): it is old, revoked or mistyped. {_NEW_TOKEN}",
        HTTPStatus.FORBIDDEN: (
            f"does not give {competition} to you yet (403): its rules have not been accepted. Open {page}/data, sign in with the account "
            "that the token is of, scroll to the bottom, click 'I Understand and Accept' (or 'Late Submission' first, if that is all "
            "there is), and run again. If Kaggle asks for a phone number, confirm it at " + f"{_SITE}/settings."
        ),
        HTTPStatus.NOT_FOUND: f"has no competition {competition!r} (404); correct `competition` or the source's name in the recipe.",
        HTTPStatus.TOO_MANY_REQUESTS: "asks to wait (429); run again in some minutes.",
    }
    reason = reasons.get(
        HTTPStatus(status) if status in set(HTTPStatus) else HTTPStatus.OK, f"answers with an error ({error}); run again later."
    )
    return PawflowError(f"Kaggle {reason}\n{_BY_HAND}")
