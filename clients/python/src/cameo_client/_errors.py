"""Why a request has no answer."""

from collections.abc import Mapping
from typing import Any


class CameoError(Exception):
    """Any error of this client."""


class ProblemError(CameoError):
    """The server says why: a problem after RFC 9457."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status = int(problem["status"])
        self.code = str(problem["code"])
        """The stable word to act on, such as ``unknown_key``."""
        self.title = str(problem["title"])
        self.detail = str(problem["detail"])
        """What was expected, what was found, and what to do next."""
        self.request_id = str(problem["request_id"])
        """Names the request in the server's log: give it when you ask for help."""
        position = problem.get("position")
        self.position: tuple[int, int] | None = (position["line"], position["column"]) if position else None
        """Line and column of the request's body at which the server stopped."""
        self.findings: list[dict[str, Any]] = list(problem.get("findings") or [])
        """Everything that was found in a bundle."""
        super().__init__(f"{self.detail} ({self.code}, request {self.request_id})")

    @property
    def is_not_found(self) -> bool:
        """Whether nothing is there, or nothing that the key may see."""
        return self.status == 404


class UnreachableError(CameoError):
    """The server cannot be reached, or the connection broke."""


class TimedOutError(CameoError):
    """There was no answer in time, with all attempts."""


class NotCameoError(CameoError):
    """Something answers that is not the API, such as a proxy on the way."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"expected an answer of the Cameo API, found status {status}; is a proxy in between?")


class NotUnderstoodError(CameoError):
    """The answer has another shape than this version of the client knows."""


class MovingError(CameoError):
    """New predictions were published each time that all parts of a batch were asked."""
