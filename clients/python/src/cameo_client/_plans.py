"""What each call asks. Sync and async clients run the same plans, so they do the same."""

import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ._errors import MovingError, NotUnderstoodError, ProblemError
from ._http import Ask
from ._types import (
    ApiKey,
    Batch,
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

PART_KEYS_MAX = 10_000
"""Most keys of one request."""
PART_ROWS_MAX = 100_000
"""Most rows of one request, of a service that ranks."""
RANKED_KEYS_SAFE = 100
"""A service that ranks gives 1,000 rows per key at most."""
PROFILES_PART_MAX = 100
ROUNDS_MAX = 4
"""How often parts are asked anew because the service published in between."""

UNSENDABLE = (".", "..")
"""Keys that no path can carry: `..` as a segment is the way up."""

T = TypeVar("T")
Steps = Generator[Sequence[Ask], Sequence[Any], T]

Path = tuple[str, ...]


def service_path(tenant: str, service: str, *rest: str) -> Path:
    return ("v1", "tenants", tenant, "services", service, *rest)


def one(ask: Ask) -> Steps[Any]:
    """The answer to one request."""
    answers = yield [ask]
    return answers[0]


def tenants() -> Steps[list[str]]:
    body = yield from one(Ask("GET", ("v1", "tenants")))
    return [tenant["tenant"] for tenant in body["tenants"]]


def services(tenant: str) -> Steps[list[ServiceInfo]]:
    body = yield from one(Ask("GET", ("v1", "tenants", tenant, "services")))
    return [ServiceInfo.read(service) for service in body["services"]]


def service(tenant: str, name: str) -> Steps[ServiceInfo]:
    body = yield from one(Ask("GET", service_path(tenant, name)))
    return ServiceInfo.read(body)


def prediction(tenant: str, name: str, key: Key) -> Steps[Prediction]:
    if str(key) in UNSENDABLE:
        body = yield from one(part(tenant, name, [key]))
        (result,) = body["results"]
        if result["status"] != "found":
            raise unknown(f"{tenant}/{name} has no prediction for key `{key}`")
        return Prediction.read({**body, **result})
    body = yield from one(Ask("GET", service_path(tenant, name, "predictions", str(key))))
    return Prediction.read(body)


def part(tenant: str, name: str, keys: Sequence[Key]) -> Ask:
    return Ask("POST", service_path(tenant, name, "predictions:batchGet"), body={"keys": list(keys)})


def predictions(tenant: str, name: str, keys: Iterable[Key]) -> Steps[Batch]:
    """Any number of keys, in parts; asked anew where the service publishes in between."""
    asked = list(keys)
    if not asked:
        raise ValueError("expected at least one key, found none")
    size = PART_KEYS_MAX
    if len(asked) > RANKED_KEYS_SAFE:
        info = yield from service(tenant, name)
        size = max(1, min(PART_KEYS_MAX, PART_ROWS_MAX // (info.top_n or 1)))
    asks = [part(tenant, name, asked[start : start + size]) for start in range(0, len(asked), size)]
    batches: list[Batch | None] = [None] * len(asks)
    for _ in range(ROUNDS_MAX):
        old = outdated(batches)
        answers = yield [asks[at] for at in old]
        for at, body in zip(old, answers, strict=True):
            batches[at] = Batch.read(body)
        if not outdated(batches):
            found = [batch for batch in batches if batch is not None]
            return replace(found[0], results=[result for batch in found for result in batch.results])
    raise MovingError("new predictions were published each time that all parts were asked; ask for fewer keys at once")


def outdated(batches: Sequence[Batch | None]) -> list[int]:
    """The parts that are not of the newest generation that any part is of."""
    newest = max((batch.generation for batch in batches if batch), default=None)
    return [at for at, batch in enumerate(batches) if batch is None or batch.generation != newest]


def profile_query(tenant: str, services: Iterable[str] | None, missing: bool) -> Mapping[str, str | None]:
    named = ",".join(services) if services is not None else None
    return {"tenant": tenant, "services": named, "missing": "true" if missing else None}


def profile(tenant: str, key: Key, services: Iterable[str] | None, missing: bool) -> Steps[Profile]:
    if str(key) in UNSENDABLE:
        found = yield from profiles(tenant, [key], services, missing)
        if not found[0].services:
            raise unknown(f"no service of {tenant} knows key `{key}`")
        return found[0]
    query = profile_query(tenant, services, missing)
    body = yield from one(Ask("GET", ("v1", "profiles", str(key)), query))
    return Profile.read(body)


def profiles(tenant: str, keys: Iterable[Key], services: Iterable[str] | None, missing: bool) -> Steps[list[Profile]]:
    query = profile_query(tenant, services, missing)
    asked = list(keys)
    starts = range(0, len(asked), PROFILES_PART_MAX)
    parts = [asked[start : start + PROFILES_PART_MAX] for start in starts]
    answers = yield [Ask("POST", ("v1", "profiles:batchGet"), query, body={"keys": keys}) for keys in parts]
    return [Profile.read(profile) for body in answers for profile in body["profiles"]]


def run_now(tenant: str, name: str, idempotency_key: str | None) -> Steps[Run]:
    # It has a name of its own, so it starts one run however often it has to be sent.
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    body = yield from one(Ask("POST", service_path(tenant, name, "runs"), headers=headers))
    return Run.read(body)


def run(tenant: str, name: str, number: int) -> Steps[Run]:
    body = yield from one(Ask("GET", service_path(tenant, name, "runs", str(number))))
    return Run.read(body)


def runs(tenant: str, name: str, state: str | None, limit: int | None, cursor: str | None) -> Steps[RunPage]:
    query = {"state": state, "limit": limit, "cursor": cursor}
    body = yield from one(Ask("GET", service_path(tenant, name, "runs"), query))
    return RunPage.read(body)


def releases(tenant: str, name: str) -> Steps[list[Release]]:
    body = yield from one(Ask("GET", service_path(tenant, name, "releases")))
    return [Release.read(release) for release in body["releases"]]


def act(tenant: str, name: str, release: str, action: str, given: Mapping[str, str | None]) -> Steps[Promotion]:
    path = service_path(tenant, name, "releases", f"{release}:{action}")
    told = {member: value for member, value in given.items() if value is not None}
    body = yield from one(Ask("POST", path, body=told, harmless=False))
    return Promotion.read(body)


def generations(tenant: str, name: str) -> Steps[list[Generation]]:
    body = yield from one(Ask("GET", service_path(tenant, name, "generations")))
    return [Generation.read(generation) for generation in body["generations"]]


def rollback(tenant: str, name: str, generation: int | None) -> Steps[Rollback]:
    path = ("v1", "tenants", tenant, "services", f"{name}:rollback")
    told = {} if generation is None else {"generation": generation}
    body = yield from one(Ask("POST", path, body=told, harmless=False))
    return Rollback.read(body)


def unknown(detail: str) -> ProblemError:
    """What a look-up of a key says that nobody knows."""
    title = "No prediction for this key"
    told = {"status": 404, "code": "unknown_key", "title": title, "detail": detail, "request_id": ""}
    return ProblemError(told)


def me() -> Steps[Me]:
    body = yield from one(Ask("GET", ("v1", "me")))
    return Me.read(body)


def keys(tenant: str) -> Steps[list[ApiKey]]:
    body = yield from one(Ask("GET", ("v1", "tenants", tenant, "keys")))
    return [ApiKey.read(key) for key in body["keys"]]


def create_key(tenant: str, wanted: Mapping[str, Any]) -> Steps[NewKey]:
    told = {member: value for member, value in wanted.items() if value is not None}
    body = yield from one(Ask("POST", ("v1", "tenants", tenant, "keys"), body=told, harmless=False))
    return NewKey.read(body)


def rotate_key(tenant: str, prefix: str, overlap_seconds: int | None) -> Steps[NewKey]:
    told = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
    path = ("v1", "tenants", tenant, "keys", f"{prefix}:rotate")
    body = yield from one(Ask("POST", path, body=told, harmless=False))
    return NewKey.read(body)


def revoke_key(tenant: str, prefix: str) -> Steps[ApiKey]:
    body = yield from one(Ask("DELETE", ("v1", "tenants", tenant, "keys", prefix)))
    return ApiKey.read(body)


def segments(tenant: str) -> Steps[list[Segment]]:
    body = yield from one(Ask("GET", ("v1", "tenants", tenant, "segments")))
    return [Segment.read(segment) for segment in body["segments"]]


def segment(tenant: str, name: str) -> Steps[Segment]:
    body = yield from one(Ask("GET", ("v1", "tenants", tenant, "segments", name)))
    return Segment.read(body)


def define_segment(tenant: str, name: str, condition: str, attributes: Iterable[str]) -> Steps[Segment]:
    path = ("v1", "tenants", tenant, "segments", name)
    # Defining the same again changes nothing.
    body = yield from one(Ask("PUT", path, body={"condition": condition, "attributes": list(attributes)}))
    return Segment.read(body)


def members(tenant: str, name: str) -> Ask:
    """All members as a stream of Arrow batches."""
    return Ask("GET", ("v1", "tenants", tenant, "segments", name, "members"), {"format": "arrow"}, streamed=True)


def count_segment(tenant: str, condition: str) -> Steps[SegmentCount]:
    body = yield from one(Ask("POST", ("v1", "tenants", tenant, "segments:count"), body={"condition": condition}))
    return SegmentCount.read(body)


def changes(tenant: str, name: str, since: int | None, consumer: str | None, attributes: bool) -> Ask:
    """What changed, as a stream of Arrow batches."""
    if (since is None) == (consumer is None):
        raise ValueError("expected one of since and consumer: from which members on changes are wanted")
    query = {
        "format": "arrow",
        "since": None if since is None else str(since),
        "consumer": consumer,
        "attributes": "true" if attributes else None,
    }
    return Ask("GET", ("v1", "tenants", tenant, "segments", name, "changes"), query, streamed=True)


def consumers(tenant: str, name: str) -> Steps[list[Consumer]]:
    body = yield from one(Ask("GET", ("v1", "tenants", tenant, "segments", name, "consumers")))
    return [Consumer.read(consumer) for consumer in body["consumers"]]


def acknowledge(tenant: str, name: str, consumer: str, materialisation: int) -> Steps[Consumer]:
    path = ("v1", "tenants", tenant, "segments", name, "changes:acknowledge")
    # Saying the same again changes nothing.
    body = yield from one(Ask("POST", path, body={"consumer": consumer, "materialisation": materialisation}))
    return Consumer.read(body)


def webhook_path(tenant: str, *rest: str) -> Path:
    return ("v1", "tenants", tenant, "webhooks", *rest)


def webhooks(tenant: str) -> Steps[list[Webhook]]:
    body = yield from one(Ask("GET", webhook_path(tenant)))
    return [Webhook.read(webhook) for webhook in body["webhooks"]]


def webhook(tenant: str, name: str) -> Steps[Webhook]:
    body = yield from one(Ask("GET", webhook_path(tenant, name)))
    return Webhook.read(body)


def put_webhook(tenant: str, name: str, url: str, segments: Iterable[str]) -> Steps[Webhook]:
    told = {"url": url, "segments": list(segments)}
    # Not sent again where it may have arrived: the secret is in the first answer alone.
    body = yield from one(Ask("PUT", webhook_path(tenant, name), body=told, harmless=False))
    return Webhook.read(body)


def delete_webhook(tenant: str, name: str) -> Steps[None]:
    yield from one(Ask("DELETE", webhook_path(tenant, name), harmless=False))


def rotate_webhook(tenant: str, name: str, both_hours: int | None) -> Steps[Webhook]:
    told = {} if both_hours is None else {"both_hours": both_hours}
    body = yield from one(Ask("POST", webhook_path(tenant, f"{name}:rotate"), body=told, harmless=False))
    return Webhook.read(body)


def ping_webhook(tenant: str, name: str) -> Steps[str]:
    body = yield from one(Ask("POST", webhook_path(tenant, f"{name}:ping"), harmless=False))
    return str(body["delivery"])


def deliveries(tenant: str, name: str) -> Steps[list[Delivery]]:
    body = yield from one(Ask("GET", webhook_path(tenant, name, "deliveries")))
    return [Delivery.read(delivery) for delivery in body["deliveries"]]


def understood(steps: Steps[T], answers: Sequence[Any] | None) -> Sequence[Ask]:
    """The next requests of a plan; an answer of another shape is an error of its own."""
    try:
        return next(steps) if answers is None else steps.send(answers)
    except (KeyError, TypeError) as error:
        raise NotUnderstoodError(
            f"an answer is not understood ({error!r}); is the server older or newer than this client?"
        ) from error
