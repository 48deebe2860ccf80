"""The client for programs that wait."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from . import _frames, _http, _plans
from ._errors import TimedOutError
from ._http import Ask, Refusal, Settings
from ._types import (
    ApiKey,
    Batch,
    Changes,
    Consumer,
    Delivery,
    Generation,
    Key,
    Me,
    NewKey,
    Prediction,
    Profile,
    Promotion,
    Release,
    Rollback,
    Run,
    RunPage,
    Segment,
    SegmentCount,
    ServiceInfo,
    Webhook,
)

if TYPE_CHECKING:
    import pandas
    import pyarrow

T = TypeVar("T")
LOOK_SECONDS = 0.5
"""How often a run that is waited for is looked at."""


class Client:
    """A client of one server with one key. It may be shared by threads."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 12.0,
        deadline: float = 30.0,
        attempts: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        :param timeout: How long one attempt may take, in seconds.
        :param deadline: How long a request may take with all its attempts and the waits between them.
        :param attempts: How often a request is sent at most; 1 repeats none.
        :param transport: Another way to the server than httpx's own, for tests and proxies.
        """
        _http.check(url, key)
        self._settings = Settings(url, key, timeout, deadline, max(1, attempts))
        self._http = httpx.Client(
            headers=self._settings.headers(), timeout=timeout, transport=transport, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def me(self) -> Me:
        """Who the key speaks for, and what it may do."""
        return self._run(_plans.me())

    def tenants(self) -> list[str]:
        """The tenants that the key may see, by name."""
        return self._run(_plans.tenants())

    def tenant(self, name: str) -> "Tenant":
        """What belongs to a tenant."""
        return Tenant(self, name)

    def _run(self, steps: _plans.Steps[T]) -> T:
        answers: Sequence[Any] | None = None
        while True:
            try:
                asks = _plans.understood(steps, answers)
            except StopIteration as done:
                result: T = done.value
                return result
            answers = [self._ask(ask) for ask in asks]

    def _ask(self, ask: Ask) -> Any:
        ends_at = time.monotonic() + self._settings.deadline
        url, headers, body = self._settings.request(ask)
        attempt = 0
        while True:
            left = ends_at - time.monotonic()
            limit = max(0.001, min(self._settings.timeout, left))
            try:
                timeout = httpx.Timeout(limit, read=_http.PAUSE_MAX_SECONDS) if ask.streamed else httpx.Timeout(limit)
                request = self._http.build_request(ask.method, url, headers=headers, content=body, timeout=timeout)
                response = self._http.send(request, stream=True)
                if ask.streamed and response.is_success:
                    return response
                response.read()
                response.close()
                answer = _http.read(ask, response)
            except httpx.HTTPError as error:
                answer = _http.unanswered(ask, error, self._settings.url)
            if not isinstance(answer, Refusal):
                return answer
            attempt += 1
            wait = _http.wait_seconds(attempt - 1, answer.after)
            if not answer.repeat or attempt >= self._settings.attempts:
                raise answer.error
            if time.monotonic() + wait >= ends_at:
                raise TimedOutError(f"no answer within {self._settings.deadline} s") from answer.error
            time.sleep(wait)


class Tenant:
    """What belongs to a tenant."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def service(self, name: str) -> "Service":
        """One of the tenant's services."""
        return Service(self._client, self.name, name)

    def services(self) -> list[ServiceInfo]:
        """The tenant's services, by name."""
        return self._client._run(_plans.services(self.name))

    def profile(self, key: Key, *, services: Iterable[str] | None = None, missing: bool = False) -> Profile:
        """Everything that the tenant's services, or some of them, say about a customer.

        :raises ProblemError: ``unknown_key`` where no service knows the customer.
        """
        return self._client._run(_plans.profile(self.name, key, services, missing))

    def profiles(
        self, keys: Iterable[Key], *, services: Iterable[str] | None = None, missing: bool = False
    ) -> list[Profile]:
        """The profiles of any number of customers, in the order asked; without services where none knows them."""
        return self._client._run(_plans.profiles(self.name, keys, services, missing))

    def keys(self) -> list[ApiKey]:
        """The tenant's API keys, the newest first."""
        return self._client._run(_plans.keys(self.name))

    def create_key(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        services: Iterable[str] | None = None,
        expires_days: int | None = None,
    ) -> NewKey:
        """Makes a key that may do no more than the caller's own."""
        named = None if services is None else list(services)
        wanted = {"name": name, "scopes": list(scopes), "services": named, "expires_days": expires_days}
        return self._client._run(_plans.create_key(self.name, wanted))

    def rotate_key(self, prefix: str, *, overlap_seconds: int | None = None) -> NewKey:
        """Makes a key that may do the same as this one, which ends after the overlap; a day unless given."""
        return self._client._run(_plans.rotate_key(self.name, prefix, overlap_seconds))

    def revoke_key(self, prefix: str) -> ApiKey:
        """Ends a key for good."""
        return self._client._run(_plans.revoke_key(self.name, prefix))

    def segments(self) -> list[Segment]:
        """The tenant's segments, by name."""
        return self._client._run(_plans.segments(self.name))

    def segment(self, name: str) -> Segment:
        """One segment."""
        return self._client._run(_plans.segment(self.name, name))

    def define_segment(self, name: str, condition: str, *, attributes: Iterable[str] = ()) -> Segment:
        """Defines a segment: whom the condition holds for, handed on with these attributes."""
        return self._client._run(_plans.define_segment(self.name, name, condition, attributes))

    def members(self, segment: str) -> "Iterator[pyarrow.RecordBatch]":
        """All members of a segment with their attributes, sorted by key, batch by batch as they arrive.

        :raises ProblemError: ``not_materialised`` before its members were made first.
        """
        response: httpx.Response = self._client._ask(_plans.members(self.name, segment))
        try:
            yield from _frames.batches(response.iter_bytes())
        finally:
            response.close()

    def members_table(self, segment: str) -> "pyarrow.Table":
        """All members of a segment as one Arrow table."""
        response: httpx.Response = self._client._ask(_plans.members(self.name, segment))
        try:
            return _frames.gathered(response.iter_bytes())
        finally:
            response.close()

    def members_frame(self, segment: str) -> "pandas.DataFrame":
        """All members of a segment as a DataFrame."""
        return self.members_table(segment).to_pandas()

    def count_segment(self, condition: str) -> SegmentCount:
        """Counts whom a condition chooses; nothing is kept."""
        return self._client._run(_plans.count_segment(self.name, condition))

    def changes(
        self, segment: str, *, since: int | None = None, consumer: str | None = None, attributes: bool = False
    ) -> Changes:
        """Who entered and who left since a materialisation (0: everybody entered), or since what a consumer
        acknowledged last; with ``attributes`` also whose attributes changed.

        :raises ProblemError: ``materialisation_gone`` where the older members are no longer kept: take all members,
            and go on from there.
        """
        ask = _plans.changes(self.name, segment, since, consumer, attributes)
        response: httpx.Response = self._client._ask(ask)
        try:
            return _frames.changes(response.headers, response.iter_bytes())
        finally:
            response.close()

    def consumers(self, segment: str) -> list[Consumer]:
        """Those who follow a segment, by name."""
        return self._client._run(_plans.consumers(self.name, segment))

    def acknowledge(self, segment: str, consumer: str, materialisation: int) -> Consumer:
        """Notes that a consumer has everything up to a materialisation. Say it once the changes are safe."""
        return self._client._run(_plans.acknowledge(self.name, segment, consumer, materialisation))

    def webhooks(self) -> list[Webhook]:
        """The tenant's webhooks, by name."""
        return self._client._run(_plans.webhooks(self.name))

    def webhook(self, name: str) -> Webhook:
        """One webhook."""
        return self._client._run(_plans.webhook(self.name, name))

    def put_webhook(self, name: str, url: str, *, segments: Iterable[str] = ()) -> Webhook:
        """Makes a webhook, or changes it; of all segments unless some are named. A new one comes with its secret."""
        return self._client._run(_plans.put_webhook(self.name, name, url, segments))

    def delete_webhook(self, name: str) -> None:
        """Ends a webhook, with everything that it was still to be told."""
        self._client._run(_plans.delete_webhook(self.name, name))

    def rotate_webhook(self, name: str, *, both_hours: int | None = None) -> Webhook:
        """Replaces the secret; for so many hours, a day unless given, the one before signs as well."""
        return self._client._run(_plans.rotate_webhook(self.name, name, both_hours))

    def ping_webhook(self, name: str) -> str:
        """Sends a test message, and gives the id of its delivery."""
        return self._client._run(_plans.ping_webhook(self.name, name))

    def deliveries(self, name: str) -> list[Delivery]:
        """The latest messages to a webhook, newest first."""
        return self._client._run(_plans.deliveries(self.name, name))


class Service:
    """One service of a tenant."""

    def __init__(self, client: Client, tenant: str, name: str) -> None:
        self._client = client
        self.tenant = tenant
        self.name = name

    def get(self) -> ServiceInfo:
        """What is in production, when it runs next, and how old what it serves is."""
        return self._client._run(_plans.service(self.tenant, self.name))

    def prediction(self, key: Key) -> Prediction:
        """Looks one key up.

        :raises ProblemError: ``unknown_key`` where the service has no prediction for it.
        """
        return self._client._run(_plans.prediction(self.tenant, self.name, key))

    def predictions(self, keys: Iterable[Key]) -> Batch:
        """Looks any number of keys up: in parts, and asked anew where the service publishes in between, so that all
        answers are of one generation. A key that is unknown or invalid is a result, not an error."""
        return self._client._run(_plans.predictions(self.tenant, self.name, keys))

    def table(self, keys: Iterable[Key]) -> "pyarrow.Table":
        """The predictions of the keys that are known as an Arrow table with the declared types."""
        return _frames.table(self.predictions(keys), self.get().columns)

    def frame(self, keys: Iterable[Key]) -> "pandas.DataFrame":
        """The predictions of the keys that are known as a DataFrame with the key as its index."""
        return _frames.frame(self.predictions(keys), self.get().columns)

    def run_now(self, idempotency_key: str | None = None) -> Run:
        """Asks for a run; the same name gives the same run."""
        return self._client._run(_plans.run_now(self.tenant, self.name, idempotency_key))

    def run(self, number: int) -> Run:
        """One run."""
        return self._client._run(_plans.run(self.tenant, self.name, number))

    def runs(self, *, state: str | None = None, limit: int | None = None, cursor: str | None = None) -> RunPage:
        """A page of runs, newest first."""
        return self._client._run(_plans.runs(self.tenant, self.name, state, limit, cursor))

    def wait_for_run(self, number: int, *, limit: float = 600.0) -> Run:
        """Waits until a run has ended.

        :raises TimedOutError: It has not within ``limit`` seconds; it goes on all the same.
        """
        ends_at = time.monotonic() + limit
        while not (run := self.run(number)).is_finished:
            if time.monotonic() >= ends_at:
                raise TimedOutError(f"run {number} has not ended within {limit} s")
            time.sleep(LOOK_SECONDS)
        return run

    def releases(self) -> list[Release]:
        """The releases: those in use first, then the latest."""
        return self._client._run(_plans.releases(self.tenant, self.name))

    def promote(self, release: str, *, to: str | None = None, reason: str | None = None) -> Promotion:
        """Moves a release, named by its hash, the first digits of it or its version, to another stage."""
        given = {"to": to, "reason": reason}
        return self._client._run(_plans.act(self.tenant, self.name, release, "promote", given))

    def approve(self, release: str, *, reason: str | None = None) -> Promotion:
        """Puts a release into production that somebody else has asked for."""
        return self._client._run(_plans.act(self.tenant, self.name, release, "approve", {"reason": reason}))

    def generations(self) -> list[Generation]:
        """What was published, the latest first."""
        return self._client._run(_plans.generations(self.tenant, self.name))

    def rollback(self, generation: int | None = None) -> Rollback:
        """Serves an earlier generation at once: the one given, else the one before the current one."""
        return self._client._run(_plans.rollback(self.tenant, self.name, generation))
