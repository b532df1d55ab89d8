"""Where a caller may make this server connect to: a table of URLs, and of what they resolve to."""

import ipaddress

import httpcore
import pytest

from gateway.core.addresses import AddressRefusedError, Screen, forbidden, literal
from gateway.core.push.dial import ScreenedNetwork

PUBLIC = ("http://8.8.8.8/hook", "https://[2606:4700::1111]:8443/hook?a=b")
REFUSED = (
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",  # noqa: RUF001  # full-width digits
    "http://0.0.0.0/",
    "http://0/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://any.localhost/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data",
    "http://168.63.129.16/",
    "http://192.0.0.8/",
    "http://192.88.99.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://203.0.113.7/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[2606:4700::1111%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001::1]/",
    "http://[2001:db8::1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://ⓛocalhost/",
    "http://user:secret@8.8.8.8/",
    "http://8.8.8.8\\@127.0.0.1/",
    "http://8.8.8.8/#fragment",
    "http://8.8.8.8:0/",
    "http://8.8.8.8:99999/",
    "http:///path",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
    "//8.8.8.8/",
    "8.8.8.8",
    "http://exa mple.com/",
    "http://[::1",
    "http://8.8.8.8\r\nX: y/",
    "",
)


@pytest.mark.parametrize("url", PUBLIC)
async def test_a_public_address_passes(url: str) -> None:
    await Screen().check(url)


@pytest.mark.parametrize("url", REFUSED)
async def test_everything_else_is_refused_by_its_spelling_alone(url: str) -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise AssertionError((host, port))

    with pytest.raises(AddressRefusedError):
        await Screen(resolver=nobody).check(url)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fd12::1", "::ffff:10.0.0.1"])
async def test_a_name_with_one_address_that_is_not_public_is_refused(address: str) -> None:
    async def mixed(host: str, port: int) -> list[str]:
        assert (host, port) == ("xn--mnchen-3ya.example", 443)
        return ["8.8.8.8", address]

    with pytest.raises(AddressRefusedError):
        await Screen(resolver=mixed).check("https://münchen.example/")


async def test_a_name_that_has_no_address_now_passes_for_now() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError(host, port)

    await Screen(resolver=nowhere).check("https://receiver.example/hook")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "http://127.8.8.8:1/"]
)
async def test_a_server_on_loopback_may_reach_its_machine_by_its_own_names(url: str) -> None:
    await Screen(loopback=True).check(url)


async def test_a_foreign_name_for_this_machine_is_refused_even_then() -> None:
    async def rebound(host: str, port: int) -> list[str]:
        del host, port
        return ["127.0.0.1"]

    with pytest.raises(AddressRefusedError):
        await Screen(loopback=True, resolver=rebound).check("http://rebound.example/")


async def test_an_opened_network_is_reached_and_what_is_never_open_is_not() -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("169.254.0.0/16"))
    screen = Screen(networks=networks)
    await screen.check("http://10.2.3.4/")
    for url in ("http://169.254.169.254/", "http://192.168.0.1/", "http://127.0.0.1/"):
        with pytest.raises(AddressRefusedError):
            await screen.check(url)


async def test_a_connection_is_refused_before_it_is_dialled() -> None:
    async def inside(host: str, port: int) -> list[str]:
        del host, port
        return ["192.168.0.1"]

    network = ScreenedNetwork(Screen(resolver=inside))
    with pytest.raises(AddressRefusedError):
        await network.connect_tcp("receiver.example", 80)
    with pytest.raises(httpcore.ConnectError):
        await network.connect_unix_socket("/run/docker.sock")


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("2002:a9fe:a9fe::", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_what_is_never_open_is_seen_through_its_disguises(text: str, never: bool) -> None:
    address = literal(text)
    assert address is not None
    assert forbidden(address) is never
