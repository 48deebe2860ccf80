"""What the API says, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import pandas
    import pyarrow

Key = int | str
"""Whom a prediction is about: an integer or a text, as the service declares it."""

Json = Mapping[str, Any]
Row = dict[str, Any]


def instant(text: str) -> datetime:
    """An instant as the API writes it; precise to the microsecond."""
    return datetime.fromisoformat(text)


def maybe_instant(text: str | None) -> datetime | None:
    return None if text is None else instant(text)


@dataclass(frozen=True, slots=True)
class Origin:
    """From when something is, and who made it."""

    generation: int
    """The publication that says so; two answers with the same generation belong together."""
    release: str
    """The immutable version of the bundle that made it."""
    version: str
    """The version that the team gave it."""
    predicted_at: datetime
    watermark: datetime | None
    """The newest modification of the data that was read, where the warehouse tells."""
    age_seconds: int
    stale: bool
    """Whether it is older than the service allows."""
    withheld: list[str]
    """The predictions that are sensitive, and null in this answer: the key has not the scope ``sensitive``."""


def origin(body: Json) -> dict[str, Any]:
    return {
        "generation": body["generation"],
        "release": body["release"],
        "version": body["version"],
        "predicted_at": instant(body["predicted_at"]),
        "watermark": maybe_instant(body["watermark"]),
        "age_seconds": body["age_seconds"],
        "stale": body["stale"],
        "withheld": body.get("withheld") or [],
    }


def rows_of(predictions: Row | list[Row]) -> list[Row]:
    return predictions if isinstance(predictions, list) else [predictions]


@dataclass(frozen=True, slots=True)
class Prediction(Origin):
    """What a service says about one key."""

    tenant: str
    service: str
    key: Key
    predictions: Row | list[Row]
    """The prediction columns by name; of a service that ranks, a list of them, the best first."""

    @property
    def rows(self) -> list[Row]:
        """All rows: one, unless the service ranks."""
        return rows_of(self.predictions)

    @classmethod
    def read(cls, body: Json) -> Self:
        own = {name: body[name] for name in ("tenant", "service", "key", "predictions")}
        return cls(**origin(body), **own)


@dataclass(frozen=True, slots=True)
class KeyResult:
    """What a service says about one of many keys."""

    key: Key
    status: Literal["found", "not_found", "invalid"]
    predictions: Row | list[Row] | None
    detail: str | None
    """Why the key is invalid, where it is."""

    @property
    def is_found(self) -> bool:
        return self.status == "found"

    @property
    def rows(self) -> list[Row]:
        """All rows: one, unless the service ranks; none where nothing was found."""
        return [] if self.predictions is None else rows_of(self.predictions)

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls(body["key"], body["status"], body.get("predictions"), body.get("detail"))


@dataclass(frozen=True, slots=True)
class Batch(Origin):
    """What a service says about many keys, all from one generation."""

    results: list[KeyResult]
    """One result for each key, in the order asked."""

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls(**origin(body), results=[KeyResult.read(result) for result in body["results"]])


@dataclass(frozen=True, slots=True)
class Attributes(Origin):
    """What one service says about a customer, and from when it is."""

    service: str
    key: Key
    predictions: Row | list[Row]

    @property
    def rows(self) -> list[Row]:
        """All rows: one, unless the service ranks."""
        return rows_of(self.predictions)

    @classmethod
    def read(cls, body: Json) -> Self:
        own = {name: body[name] for name in ("service", "key", "predictions")}
        return cls(**origin(body), **own)


@dataclass(frozen=True, slots=True)
class Failed:
    """A service that could not answer; the others are complete without it."""

    service: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A service that says nothing about the customer."""

    service: str
    reason: str
    """``unknown_key``, ``key_type`` or ``not_published``."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that a tenant's services say about a customer."""

    key: Key
    services: dict[str, Attributes]
    failed: list[Failed]
    missing: list[Missing]

    @classmethod
    def read(cls, body: Json) -> Self:
        services = [Attributes.read(one) for one in body["services"]]
        return cls(
            key=body["key"],
            services={one.service: one for one in services},
            failed=[Failed(one["service"], one["code"], one["detail"]) for one in body["failed"]],
            missing=[Missing(one["service"], one["reason"]) for one in body.get("missing") or []],
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of predictions."""

    name: str
    type: str
    """``INT``, ``FLOAT64``, ``STRING``, ``BOOL``, ``DATE``, ``TIMESTAMP`` or ``JSON``."""


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """A model that a tenant hosts."""

    tenant: str
    service: str
    release: str
    stage: str
    version: str
    columns: list[Column]
    """The columns of its predictions; the first is the key."""
    top_n: int | None
    """Most rows per key of a service that ranks."""
    schedule: str
    timezone: str
    next_due_at: datetime | None
    stale_after_seconds: int
    generation: int | None
    """The generation that readers see; none before the first publication."""
    predicted_at: datetime | None
    age_seconds: int | None
    stale: bool | None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = (
            "tenant", "service", "release", "stage", "version", "top_n", "schedule", "timezone",
            "stale_after_seconds", "generation", "age_seconds", "stale",
        )  # fmt: skip
        return cls(
            **{name: body[name] for name in plain},
            columns=[Column(one["name"], one["type"]) for one in body["columns"]],
            next_due_at=maybe_instant(body["next_due_at"]),
            predicted_at=maybe_instant(body["predicted_at"]),
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret."""

    prefix: str
    """The public part, which names it."""
    name: str
    scopes: list[str]
    services: list[str] | None
    """For which services it is; none for all of the tenant."""
    active: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    successor: str | None
    """The key that takes over, where it was rotated."""

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("prefix", "name", "scopes", "services", "active", "successor")
        return cls(
            **{name: body[name] for name in plain},
            expires_at=maybe_instant(body["expires_at"]),
            revoked_at=maybe_instant(body["revoked_at"]),
            last_used_at=maybe_instant(body["last_used_at"]),
        )


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made. Its secret is shown this once."""

    secret: str = field(repr=False)
    key: ApiKey

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls(body["secret"], ApiKey.read(body["key"]))


@dataclass(frozen=True, slots=True)
class Membership:
    """What a caller may do with a tenant."""

    tenant: str
    scopes: list[str]
    services: list[str] | None


@dataclass(frozen=True, slots=True)
class Me:
    """Who calls, and what the caller may do."""

    actor: str
    everywhere: list[str] | None
    """What holds for every tenant that is not listed; none for everybody but the platform's operators."""
    tenants: list[Membership]

    @classmethod
    def read(cls, body: Json) -> Self:
        tenants = [Membership(one["tenant"], one["scopes"], one["services"]) for one in body["tenants"]]
        return cls(body["actor"], body["everywhere"], tenants)


@dataclass(frozen=True, slots=True)
class Materialisation:
    """Who was a member of a segment at one time."""

    number: int
    as_of: datetime
    members: int
    profiles: int
    """Of how many customers."""
    readable: bool

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("number", "members", "profiles", "readable")
        return cls(**{name: body[name] for name in plain}, as_of=instant(body["as_of"]))


@dataclass(frozen=True, slots=True)
class Segment:
    """The customers for whom a condition over predictions holds."""

    segment: str
    version: int
    defined_by: str | None
    """The service whose bundle defines it; none where the API does."""
    condition: str
    description: str
    attributes: list[str]
    reason: str | None
    """Why its members could not be made from what the services show now; the last ones stay."""
    latest: Materialisation | None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("segment", "version", "defined_by", "condition", "description", "attributes", "reason")
        latest = body["latest"]
        return cls(**{name: body[name] for name in plain}, latest=latest and Materialisation.read(latest))


@dataclass(frozen=True, slots=True)
class SegmentCount:
    """Whom a condition chooses from what the services show now."""

    condition: str
    """The condition, with every name written out."""
    members: int
    profiles: int
    """How many customers its services know."""
    as_of: datetime
    generations: dict[str, int]
    """What was counted: service and generation."""

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("condition", "members", "profiles", "generations")
        return cls(**{name: body[name] for name in plain}, as_of=instant(body["as_of"]))


@dataclass(frozen=True, slots=True)
class Changes:
    """Who entered a segment, who left it and whose attributes changed between two materialisations."""

    since: int
    """Since which materialisation; 0 where everybody entered."""
    materialisation: int
    """Up to which one: acknowledge it, or ask for the next changes since it."""
    table: "pyarrow.Table"
    """``key``, ``change`` (``entered``, ``left`` or ``changed``) and the attributes, null of those who left."""

    def frame(self) -> "pandas.DataFrame":
        """The same as a DataFrame."""
        return self.table.to_pandas()


@dataclass(frozen=True, slots=True)
class Consumer:
    """How far somebody who follows a segment has come."""

    consumer: str
    materialisation: int
    """Up to which materialisation it has taken the changes."""
    acknowledged_by: str
    acknowledged_at: datetime

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("consumer", "materialisation", "acknowledged_by")
        return cls(**{name: body[name] for name in plain}, acknowledged_at=instant(body["acknowledged_at"]))


@dataclass(frozen=True, slots=True)
class Webhook:
    """A place that is told of changes by signed events."""

    webhook: str
    url: str
    segments: list[str]
    """Of which segments it is told; empty: of all."""
    secret: str | None = field(repr=False)
    """What signs its events, after Standard Webhooks: told when the webhook is made and when its secret is replaced,
    and never again."""
    previous_secret_until: datetime | None
    """Until when the secret before this one signs as well."""
    created_by: str
    created_at: datetime
    failing_since: datetime | None
    """Since when every delivery has failed."""
    disabled_at: datetime | None
    """When it was disabled, after days of failures or because the receiver asked for it."""
    disabled_reason: str | None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("webhook", "url", "segments", "created_by", "disabled_reason")
        return cls(
            **{name: body[name] for name in plain},
            secret=body.get("secret"),
            created_at=instant(body["created_at"]),
            previous_secret_until=maybe_instant(body["previous_secret_until"]),
            failing_since=maybe_instant(body["failing_since"]),
            disabled_at=maybe_instant(body["disabled_at"]),
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to a webhook."""

    id: str
    """The header ``webhook-id``: the same at each attempt."""
    event: str
    """``cameo.segment.changed`` or ``cameo.webhook.ping``."""
    segment: str | None
    materialisation: int | None
    state: str
    """``pending``, ``delivered``, ``unchanged`` (there was nothing to tell) or ``abandoned``."""
    attempts: int
    status: int | None
    """What the receiver answered last."""
    reason: str | None
    """Why the last attempt was no success."""
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("id", "event", "segment", "materialisation", "state", "attempts", "status", "reason")
        return cls(
            **{name: body[name] for name in plain},
            created_at=instant(body["created_at"]),
            next_at=maybe_instant(body["next_at"]),
            ended_at=maybe_instant(body["ended_at"]),
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run ended as it did."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a release for one due instant."""

    run: int
    release: str
    state: str
    attempt: int
    attempts_max: int
    reason: Reason | None
    rows_read: int | None
    rows_scored: int | None
    rows_quarantined: int | None
    generation: int | None
    """What it produced; once complete."""
    due_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.finished_at is not None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = (
            "run", "release", "state", "attempt", "attempts_max", "rows_read", "rows_scored",
            "rows_quarantined", "generation",
        )  # fmt: skip
        reason = body["reason"]
        return cls(
            **{name: body[name] for name in plain},
            reason=reason and Reason(reason["code"], reason["message"]),
            due_at=instant(body["due_at"]),
            created_at=instant(body["created_at"]),
            started_at=maybe_instant(body["started_at"]),
            finished_at=maybe_instant(body["finished_at"]),
        )


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs, newest first."""

    runs: list[Run]
    next_cursor: str | None
    """Ask for the next page with it."""

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls([Run.read(one) for one in body["runs"]], body["next_cursor"])


@dataclass(frozen=True, slots=True)
class Release:
    """An immutable version of a bundle."""

    release: str
    version: str
    stage: str
    since: datetime
    next_stage: str | None
    protected: bool
    approval_asked_by: str | None
    git_commit: str | None
    applied_by: str
    applied_at: datetime

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = (
            "release", "version", "stage", "next_stage", "protected", "approval_asked_by", "git_commit",
            "applied_by",
        )  # fmt: skip
        own = {name: body[name] for name in plain}
        return cls(**own, since=instant(body["since"]), applied_at=instant(body["applied_at"]))


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of the wish to move a release."""

    outcome: str
    """``moved``, ``unchanged``, or ``awaits_approval`` by somebody else."""
    release: str
    stage: str
    replaced: str | None

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls(body["outcome"], body["release"], body["stage"], body["replaced"])


@dataclass(frozen=True, slots=True)
class Generation:
    """The immutable predictions that one run produced."""

    generation: int
    run: int
    release: str
    predicted_at: datetime
    state: str
    current: bool
    kept: bool
    rows: int | None
    published_at: datetime | None

    @classmethod
    def read(cls, body: Json) -> Self:
        plain = ("generation", "run", "release", "state", "current", "kept", "rows")
        return cls(
            **{name: body[name] for name in plain},
            predicted_at=instant(body["predicted_at"]),
            published_at=maybe_instant(body["published_at"]),
        )


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback did."""

    generation: int
    previous: int
    release: str | None

    @classmethod
    def read(cls, body: Json) -> Self:
        return cls(body["generation"], body["previous"], body["release"])
