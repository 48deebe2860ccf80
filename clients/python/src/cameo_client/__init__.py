"""A client of the Cameo API, sync and async.

    with Client("https://cameo.example", "cameo_…") as client:
        gender = client.tenant("marketing").service("gender")
        print(gender.prediction(17).predictions)
        frame = gender.frame(range(50_000))

A request that the server refuses because it has too much to do is repeated after the time that it says; one that
could have changed something is repeated only where it has not. Every error of the API is a ``ProblemError`` with a
stable ``code`` to act on and the request's id to ask with.
"""

from ._errors import (
    CameoError,
    MovingError,
    NotCameoError,
    NotUnderstoodError,
    ProblemError,
    TimedOutError,
    UnreachableError,
)
from ._async import AsyncClient, AsyncService, AsyncTenant
from ._sync import Client, Service, Tenant
from ._types import (
    ApiKey,
    Attributes,
    Batch,
    Changes,
    Column,
    Consumer,
    Delivery,
    Failed,
    Generation,
    Key,
    KeyResult,
    Materialisation,
    Me,
    Membership,
    Missing,
    NewKey,
    Prediction,
    Profile,
    Promotion,
    Reason,
    Release,
    Rollback,
    Run,
    RunPage,
    Segment,
    SegmentCount,
    ServiceInfo,
    Webhook,
)

__all__ = [
    "ApiKey",
    "AsyncClient",
    "AsyncService",
    "AsyncTenant",
    "Attributes",
    "Batch",
    "CameoError",
    "Changes",
    "Client",
    "Column",
    "Consumer",
    "Delivery",
    "Failed",
    "Generation",
    "Key",
    "KeyResult",
    "Materialisation",
    "Me",
    "Membership",
    "Missing",
    "MovingError",
    "NewKey",
    "NotCameoError",
    "NotUnderstoodError",
    "Prediction",
    "ProblemError",
    "Profile",
    "Promotion",
    "Reason",
    "Release",
    "Rollback",
    "Run",
    "RunPage",
    "Segment",
    "SegmentCount",
    "Service",
    "ServiceInfo",
    "Tenant",
    "TimedOutError",
    "UnreachableError",
    "Webhook",
]
