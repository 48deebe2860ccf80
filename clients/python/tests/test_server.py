"""What the server says, through the client: `gender` predicts `score = 1 + visits`, `visits = user_id % 7`."""

import asyncio
import time
from collections.abc import Callable

import pytest

from cameo_client import AsyncClient, Changes, Client, ProblemError, Tenant


def test_a_prediction_says_what_and_from_when(marketing: Tenant) -> None:
    one = marketing.service("gender").prediction(17)
    assert one.predictions == {"score": 4.0, "twin": 8.0}
    assert (one.tenant, one.service, one.key, one.version) == ("marketing", "gender", 17, "0.0.1")
    assert one.predicted_at.tzinfo is not None
    text = marketing.service("taste").prediction("c/17")
    assert (text.key, text.rows) == ("c/17", [{"score": 4.0, "twin": 8.0}])


@pytest.mark.parametrize("key", [10**9, "..", "."])
def test_a_key_that_nobody_knows_is_a_problem_with_a_code(marketing: Tenant, key: int | str) -> None:
    service = marketing.service("gender" if isinstance(key, int) else "taste")
    with pytest.raises(ProblemError) as raised:
        service.prediction(key)
    assert (raised.value.status, raised.value.code) == (404, "unknown_key")
    assert raised.value.is_not_found


def test_more_keys_than_one_request_takes_are_one_batch(marketing: Tenant, customers: int) -> None:
    batch = marketing.service("gender").predictions(range(1, 25_001))
    assert [result.key for result in batch.results] == list(range(1, 25_001))
    assert sum(result.is_found for result in batch.results) == customers
    mixed = marketing.service("gender").predictions([1, "2", "x"])
    assert [result.status for result in mixed.results] == ["found", "found", "invalid"]
    assert "integer" in (mixed.results[2].detail or "")


def test_batches_are_tables_and_frames_with_the_declared_types(marketing: Tenant) -> None:
    table = marketing.service("taste").table(["c/1", "nobody", "c/2"])
    assert [str(field.type) for field in table.schema] == ["string", "double", "double"]
    assert table.to_pydict() == {"user_id": ["c/1", "c/2"], "score": [2.0, 3.0], "twin": [4.0, 6.0]}
    assert table.schema.metadata[b"version"] == b"0.0.1"
    frame = marketing.service("gender").frame([3, 1, 999_999])
    assert frame.index.name == "user_id"
    assert frame["score"].to_dict() == {3: 4.0, 1: 2.0}
    assert str(frame.index.dtype) == "Int64"
    assert frame.attrs["generation"] >= 1


def test_a_profile_is_what_all_services_say(marketing: Tenant) -> None:
    profile = marketing.profile(17, missing=True)
    assert list(profile.services) == ["gender"]
    assert profile.services["gender"].predictions == {"score": 4.0, "twin": 8.0}
    assert [(one.service, one.reason) for one in profile.missing] == [("taste", "unknown_key")]
    assert profile.failed == []
    profiles = marketing.profiles([*range(1, 150), "c/1"], services=["gender", "taste"])
    assert len(profiles) == 150
    assert list(profiles[149].services) == ["taste"]
    with pytest.raises(ProblemError, match="knows"):
        marketing.profile("nobody")


def test_services_runs_and_generations_are_managed(client: Client, marketing: Tenant) -> None:
    assert client.tenants() == ["marketing"]
    assert [service.service for service in marketing.services()] == ["gender", "taste"]
    gender = marketing.service("gender")
    before = gender.get()
    assert [column.type for column in before.columns] == ["INT", "FLOAT64", "FLOAT64"]
    asked = gender.run_now("from-python")
    assert gender.run_now("from-python").run == asked.run
    run = gender.wait_for_run(asked.run, limit=60)
    assert run.state == "published", run
    page = gender.runs(state="published", limit=1)
    assert page.runs[0].run == run.run and page.next_cursor
    assert gender.runs(limit=1, cursor=page.next_cursor).runs[0].run < run.run
    newest = gender.generations()[0]
    assert newest.current and newest.generation == run.generation
    back = gender.rollback()
    assert (back.generation, back.previous) == (before.generation, newest.generation)
    release = gender.releases()[0]
    assert (release.stage, gender.promote(release.release, to="production").outcome) == ("production", "unchanged")
    with pytest.raises(ProblemError) as raised:
        gender.promote(release.version, to="shadow", reason="from production")
    assert raised.value.code == "promotion_refused"


def test_keys_are_made_rotated_and_revoked(client: Client, marketing: Tenant, server: tuple[str, str]) -> None:
    me = client.me()
    assert me.tenants[0].tenant == "marketing" and "manage" in me.tenants[0].scopes
    made = marketing.create_key("campaigns", ["read"], services=["gender"], expires_days=30)
    assert made.secret not in repr(made)
    with Client(server[0], made.secret) as campaigns:
        assert list(campaigns.tenant("marketing").profile(17, missing=True).services) == ["gender"]
        with pytest.raises(ProblemError, match="manage"):
            campaigns.tenant("marketing").keys()
    rotated = marketing.rotate_key(made.key.prefix, overlap_seconds=60)
    assert rotated.key.services == ["gender"]
    assert marketing.revoke_key(rotated.key.prefix).active is False
    listed = {key.prefix: key for key in marketing.keys()}
    assert listed[made.key.prefix].successor == rotated.key.prefix


def test_segments_are_counted_followed_and_told(marketing: Tenant, customers: int) -> None:
    counted = marketing.count_segment("gender.score >= 7")
    assert (counted.members, counted.profiles) == (customers // 7, customers)
    assert counted.condition == "gender.score >= 7.0" and list(counted.generations) == ["gender"]
    with pytest.raises(ProblemError) as raised:
        marketing.count_segment("gender.nothing > 1")
    assert raised.value.code == "invalid_segment"

    marketing.define_segment("followed", "gender.score >= 7", attributes=["gender.score"])
    first = eventually(lambda: marketing.changes("followed", since=0))
    assert first.since == 0 and first.table.column_names == ["key", "change", "gender.score"]
    assert first.table["change"].to_pylist() == ["entered"] * counted.members
    noted = marketing.acknowledge("followed", "crm_tool", first.materialisation)
    assert noted.materialisation == first.materialisation
    assert [one.consumer for one in marketing.consumers("followed")] == ["crm_tool"]
    marketing.define_segment("followed", "gender.score >= 6", attributes=["gender.score"])
    next_ones = eventually(lambda: newer(marketing.changes("followed", consumer="crm_tool"), first.materialisation))
    frame = next_ones.frame()
    assert set(frame["change"]) == {"entered"} and set(frame["gender.score"]) == {6.0}
    with pytest.raises(ValueError, match="one of since and consumer"):
        marketing.changes("followed")

    made = marketing.put_webhook("crm_tool", "https://campaigns.example/hooks", segments=["followed"])
    assert made.secret and made.secret.startswith("whsec_") and made.secret not in repr(made)
    assert marketing.webhook("crm_tool").secret is None
    assert [one.webhook for one in marketing.webhooks()] == ["crm_tool"]
    rotated = marketing.rotate_webhook("crm_tool", both_hours=1)
    assert rotated.secret != made.secret and rotated.previous_secret_until
    ping = marketing.ping_webhook("crm_tool")
    told = marketing.deliveries("crm_tool")
    assert [(one.id, one.event) for one in told] == [(ping, "cameo.webhook.ping")]
    marketing.delete_webhook("crm_tool")
    with pytest.raises(ProblemError) as raised:
        marketing.webhook("crm_tool")
    assert raised.value.is_not_found


def newer(changes: Changes, than: int) -> Changes:
    """The changes, once there is another materialisation."""
    if changes.materialisation <= than:
        raise ProblemError({"status": 409, "code": "not_materialised", "title": "", "detail": "", "request_id": ""})
    return changes


def eventually(ask: Callable[[], Changes]) -> Changes:
    """Asks until the members are made."""
    ends_at = time.monotonic() + 60
    while True:
        try:
            return ask()
        except ProblemError as problem:
            if problem.code != "not_materialised" or time.monotonic() > ends_at:
                raise
            time.sleep(0.2)


def test_what_is_not_shown_of_sensitive_predictions_is_said(marketing: Tenant, crm: Tenant) -> None:
    one = crm.service("clv").prediction(17)
    assert (one.predictions, one.withheld) == ({"score": 4.0, "twin": None}, ["twin"])
    assert crm.service("clv").predictions([17, 18]).withheld == ["twin"]
    assert crm.profile(17).services["clv"].withheld == ["twin"]
    assert marketing.service("gender").prediction(17).withheld == []


def test_what_is_not_the_callers_is_not_there(client: Client, server: tuple[str, str]) -> None:
    for call in (client.tenant("crm").services, client.tenant("nobody").services):
        with pytest.raises(ProblemError) as raised:
            call()
        assert raised.value.code == "not_found"
    with Client(server[0], "cameo_wrong") as nobody, pytest.raises(ProblemError) as raised:
        nobody.tenants()
    assert raised.value.code == "unauthenticated"


def test_the_async_client_does_the_same(server: tuple[str, str], customers: int) -> None:
    async def ask() -> None:
        async with AsyncClient(*server) as client:
            marketing = client.tenant("marketing")
            gender = marketing.service("gender")
            one, batch, profile = await asyncio.gather(
                gender.prediction(17), gender.predictions(range(1, 25_001)), marketing.profile(17)
            )
            assert one.predictions == profile.services["gender"].predictions == {"score": 4.0, "twin": 8.0}
            assert sum(result.is_found for result in batch.results) == customers
            frame = await gender.frame([1, 2])
            assert list(frame["score"]) == [2.0, 3.0]
            assert [service.service for service in await marketing.services()] == ["gender", "taste"]
            with pytest.raises(ProblemError):
                await gender.prediction(10**9)
            counted = await marketing.count_segment("gender.score >= 7")
            assert (counted.members, await marketing.webhooks()) == (customers // 7, [])
            with pytest.raises(ProblemError):
                await marketing.changes("nothing", since=0)

    asyncio.run(ask())
