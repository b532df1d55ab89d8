"""Agents by host name: where the name leads is judged before anything is sent there."""

import pytest

from gateway.core.addresses import Screen
from gateway.errors import AgentAddressError
from gateway.link.client import Clients, Link
from tests.gateway.foreigners import liar, stream_of


def screen(*addresses: str) -> Screen:
    async def resolver(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return Screen(private=True, resolver=resolver)


async def fetched(url: str, screened: Screen) -> bytes:
    clients = Clients(screened)
    try:
        return await Link(agent="a", client=clients.at(url), headers={}).get(url)
    finally:
        await clients.close()


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"]
)
async def test_a_name_that_leads_to_a_metadata_service_is_not_called(address: str) -> None:
    with pytest.raises(AgentAddressError, match="metadata"):
        await fetched("http://agent.internal/card", screen(address))
    with pytest.raises(AgentAddressError, match="metadata"):  # one of several is enough
        await fetched("http://agent.internal/card", screen("127.0.0.1", address))


async def test_a_name_of_this_machine_or_of_a_private_network_is_an_agents_too() -> None:
    async with liar(stream_of()) as agent:
        port = agent.base_url.rpartition(":")[2]
        url = f"http://agent.internal:{port}/.well-known/agent-card.json"
        clients = Clients(screen("127.0.0.1"))
        link = Link(agent="a", client=clients.at(url), headers={"Host": f"127.0.0.1:{port}"})
        assert b"Liar" in await link.get(url)
        await clients.close()
    assert await screen("10.1.2.3").addresses("agent.internal", 80) == ["10.1.2.3"]
