"""One request: what is sent, when it is repeated, and what an answer means. Nothing here waits or connects."""

import json
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from ._errors import CameoError, NotCameoError, NotUnderstoodError, ProblemError, UnreachableError

WAIT_FIRST_SECONDS = 0.1
PAUSE_MAX_SECONDS = 30.0
"""Longest pause within an answer that is streamed."""
WAIT_MAX_SECONDS = 5.0
"""The longest wait that the client chooses by itself."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that can be sent several times."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    harmless: bool = True
    """Whether it may be sent twice: it reads, or it names itself."""
    streamed: bool = False
    """Whether the answer comes for as long as it takes."""


Plan = Generator[Sequence[Ask], Sequence[Any], Any]
"""What asks and is given the answers' bodies, in the same order. Those asked together may be sent at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client behaves."""

    url: str
    key: str
    timeout: float
    deadline: float
    attempts: int

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}", "user-agent": "cameo-client/0.1.0 python"}

    def request(self, ask: Ask) -> tuple[str, dict[str, str], bytes | None]:
        """URL, headers and body of a request."""
        # A colon belongs to an action; everything else that could end a segment is encoded.
        path = "/".join(quote(segment, safe=":") for segment in ask.path)
        query = {name: value for name, value in ask.query.items() if value is not None}
        url = str(httpx.URL(f"{self.url.rstrip('/')}/{path}", params=query))
        if ask.body is None:
            return url, dict(ask.headers), None
        return url, {**ask.headers, "content-type": "application/json"}, json.dumps(ask.body).encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an attempt gave nothing, and whether another may be made."""

    error: CameoError
    repeat: bool
    after: float | None = None


def check(url: str, key: str) -> None:
    """Whether a client can be made of these."""
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"expected a URL such as https://cameo.example, found {url}")
    if not key.isascii() or not key.isprintable() or not key:
        raise ValueError("expected an API key such as `cameo_…`, found other text")


def read(ask: Ask, response: httpx.Response) -> Any:
    """The body of an answer, or a ``Refusal``."""
    status = response.status_code
    if status == 204:
        return None
    try:
        body = json.loads(response.content)
    except ValueError as error:
        if response.is_success:
            raise NotUnderstoodError(f"an answer is no JSON: {error}") from error
        return Refusal(NotCameoError(status), ask.harmless and status in (429, 502, 503, 504))
    if response.is_success:
        return body
    after = response.headers.get("retry-after", "")
    wait = float(after) if after.isdigit() else None
    try:
        problem = ProblemError(body)
    except (KeyError, TypeError):
        return Refusal(NotCameoError(status), False)
    refused = status == 429 or problem.code == "overloaded"
    return Refusal(problem, refused or (ask.harmless and status in (502, 503, 504)), wait)


def unanswered(ask: Ask, error: httpx.HTTPError, url: str) -> Refusal:
    """A request that has no answer."""
    told = UnreachableError(f"the server at {url} could not be asked: {error!r}; does it run?")
    told.__cause__ = error
    return Refusal(told, ask.harmless or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout))


def wait_seconds(attempt: int, after: float | None) -> float:
    """How long to wait: what the server says, else twice as long as before, and never all clients at once."""
    if after is not None:
        return after * (1 + random.random() / 2)
    longest = min(WAIT_FIRST_SECONDS * 2.0 ** min(attempt, 16), WAIT_MAX_SECONDS)
    return longest * (0.5 + random.random() / 2)
