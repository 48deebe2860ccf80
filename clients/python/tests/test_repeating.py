"""When a request is sent again; a server is not needed for that."""

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow
import pytest

from cameo_client import (
    AsyncClient,
    Client,
    MovingError,
    NotCameoError,
    NotUnderstoodError,
    ProblemError,
    TimedOutError,
    UnreachableError,
)

KEY = "cameo_1a2b3c4d"


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"status": status, "code": code, "title": "t", "detail": "d", "request_id": "r-1"}
    return httpx.Response(status, json=body, headers=headers)


def tenants(*names: str) -> httpx.Response:
    return httpx.Response(200, json={"tenants": [{"tenant": name} for name in names]})


class Script:
    """Answers one after the other, and keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(script: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Client:
    return Client("http://cameo.test/below", KEY, transport=httpx.MockTransport(script), **settings)


def test_a_refused_request_is_sent_again_after_the_time_that_the_server_says() -> None:
    later = {"retry-after": "0"}
    script = Script(problem(429, "rate_limited", **later), problem(503, "unavailable", **later), tenants("crm"))
    assert client(script).tenants() == ["crm"]
    assert len(script.asked) == 3
    assert str(script.asked[0].url) == "http://cameo.test/below/v1/tenants"
    assert script.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_broken_connection_is_tried_again_and_then_told() -> None:
    script = Script(httpx.ReadError("cut"), tenants("crm"))
    assert client(script).tenants() == ["crm"]
    script = Script(*[httpx.ConnectError("refused")] * 2)
    with pytest.raises(UnreachableError, match="does it run"):
        client(script, attempts=2).tenants()


def test_what_may_have_been_done_is_not_done_again() -> None:
    script = Script(problem(503, "unavailable"))
    with pytest.raises(ProblemError):
        client(script).tenant("crm").service("clv").rollback()
    script = Script(httpx.ReadError("cut"))
    with pytest.raises(UnreachableError):
        client(script).tenant("crm").service("clv").rollback()
    done = httpx.Response(200, json={"generation": 1, "previous": 2, "release": None})
    script = Script(problem(503, "overloaded", **{"retry-after": "0"}), done)
    assert client(script).tenant("crm").service("clv").rollback().generation == 1


def test_the_deadline_ends_the_waiting() -> None:
    script = Script(problem(503, "overloaded", **{"retry-after": "60"}))
    with pytest.raises(TimedOutError) as raised:
        client(script, deadline=1.0).tenants()
    assert isinstance(raised.value.__cause__, ProblemError)


def test_answers_of_something_else_are_told_apart() -> None:
    with pytest.raises(NotCameoError, match="proxy"):
        client(Script(httpx.Response(404, text="<html>"))).tenants()
    with pytest.raises(NotUnderstoodError):
        client(Script(httpx.Response(200, text="<html>"))).tenants()
    with pytest.raises(NotUnderstoodError, match="older or newer"):
        client(Script(httpx.Response(200, json={"teams": []}))).tenants()
    for url, key in (("cameo.test", KEY), ("http://cameo.test", ""), ("http://cameo.test", "a\nb")):
        with pytest.raises(ValueError, match="expected"):
            Client(url, key)


def batch(request: httpx.Request, generation: int) -> httpx.Response:
    keys = json.loads(request.content)["keys"]
    origin = {"release": "9f86", "version": "0.0.1", "predicted_at": "2026-03-01T00:00:00.000001Z"}
    results = [{"key": key, "status": "not_found"} for key in keys]
    more = {"watermark": None, "age_seconds": 1, "stale": False, "results": results, "generation": generation}
    return httpx.Response(200, json={**origin, **more})


@pytest.mark.parametrize("publications", [1, 100])
def test_parts_of_a_batch_are_of_one_generation(publications: int) -> None:
    asked = 0

    def server(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.method == "GET":
            info = dict.fromkeys(
                ["tenant", "service", "release", "stage", "version", "schedule", "timezone", "next_due_at"]
                + ["stale_after_seconds", "generation", "predicted_at", "age_seconds", "stale"]
            )
            return httpx.Response(200, json={**info, "top_n": 1_000, "columns": []})
        asked += 1
        return batch(request, min(asked, publications + 1))

    service = client(server).tenant("crm").service("clv")
    if publications == 1:
        found = service.predictions(range(250))
        assert (found.generation, len(found.results)) == (2, 250)
        assert asked == 4, "100 keys at most of a service that gives 1,000 rows each; the first part anew"
    else:
        with pytest.raises(MovingError):
            service.predictions(range(250))


def test_the_async_client_repeats_as_well() -> None:
    async def ask() -> list[str]:
        script = Script(problem(503, "overloaded", **{"retry-after": "0"}), tenants("crm"))
        transport = httpx.MockTransport(script)
        async with AsyncClient("http://cameo.test", KEY, transport=transport) as client:
            return await client.tenants()

    assert asyncio.run(ask()) == ["crm"]


@pytest.mark.parametrize("rows", [0, 20_000])
def test_the_members_of_a_segment_arrive_as_a_stream_of_arrow(rows: int) -> None:
    members = pyarrow.table({"key": pyarrow.array(range(rows), pyarrow.int64())})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, members.schema) as writer:
        writer.write_table(members, max_chunksize=1_000)
    asked: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if len(asked) % 2 == 1:
            return problem(503, "overloaded", **{"retry-after": "0"})
        return httpx.Response(200, content=sink.getvalue())

    crm = client(server).tenant("crm")
    assert crm.members_table("loyal").equals(members)
    assert asked[0] == "http://cameo.test/below/v1/tenants/crm/segments/loyal/members?format=arrow"
    assert sum(batch.num_rows for batch in crm.members("loyal")) == rows
    assert len(crm.members_frame("loyal")) == rows

    async def ask() -> bool:
        transport = httpx.MockTransport(server)
        async with AsyncClient("http://cameo.test", KEY, transport=transport) as other:
            return bool((await other.tenant("crm").members_table("loyal")).equals(members))

    assert asyncio.run(ask())
