"""The tests ask the server that `CAMEO_SERVER` names; `tests/tests/clients/python.rs` starts one for them."""

import os
from collections.abc import Iterator

import pytest

from cameo_client import Client, Tenant


@pytest.fixture(scope="session")
def server() -> tuple[str, str]:
    """The server's address and a key of the tenant marketing."""
    return os.environ["CAMEO_SERVER"], os.environ["CAMEO_API_KEY"]


@pytest.fixture(scope="session")
def customers() -> int:
    """Customers 1 to this many are known."""
    return int(os.environ["CAMEO_CUSTOMERS"])


@pytest.fixture
def client(server: tuple[str, str]) -> Iterator[Client]:
    with Client(*server) as client:
        yield client


@pytest.fixture
def marketing(client: Client) -> Tenant:
    return client.tenant("marketing")


@pytest.fixture
def crm(server: tuple[str, str]) -> Iterator[Tenant]:
    """Another tenant, with a key to which nothing sensitive is shown."""
    with Client(server[0], os.environ["CAMEO_CRM_KEY"]) as client:
        yield client.tenant("crm")
