"""The listener: a port before the app, an end within seconds."""

import signal
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from gateway.core.face.serving import Listener, PortTakenError

SERVER = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from gateway.core.face.serving import Listener, run

async def forever(request):
    async def body():
        yield b"first"
        await asyncio.Event().wait()
    return StreamingResponse(body())

async def main():
    listener = Listener()
    app = Starlette(routes=[Route("/", forever)])
    await listener.serve(app, on_ready=lambda url: print(url, type(asyncio.get_running_loop()).__module__, flush=True))
    print("cleaned up", flush=True)

run(main())
"""


async def test_a_taken_port_is_said_so() -> None:
    first = Listener()
    try:
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{first.port}"):
            Listener(port=first.port)
    finally:
        first.close()


async def test_the_address_is_known_before_anything_is_served() -> None:
    listener = Listener()
    assert listener.base_url == f"http://127.0.0.1:{listener.port}"
    assert listener.port > 0
    listener.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_server_with_an_open_request_and_its_clean_up_runs(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    root = str(Path(__file__).parent.parent.parent)
    process = await anyio.open_process(
        [sys.executable, str(script)], env={**environment, "PYTHONPATH": root}, stderr=None
    )
    assert process.stdout is not None
    async with process:
        with anyio.fail_after(20):
            url, loop = (await process.stdout.receive()).decode().split()
            assert loop == "uvloop"
            async with httpx.AsyncClient() as http, http.stream("GET", url) as response:
                chunks = response.aiter_bytes()
                assert await anext(chunks) == b"first"
                process.send_signal(number)
                with pytest.raises(httpx.RemoteProtocolError):
                    await anext(chunks)
            rest = b"".join([piece async for piece in process.stdout])
            assert await process.wait() == 0
    assert rest == b"cleaned up\n"
