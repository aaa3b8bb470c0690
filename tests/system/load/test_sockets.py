"""WebSockets' tickets under load: several servers of several workers, and two sockets a ticket."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from .engines import SCALE, url_of
from .harness import generate, uvicorns

pytestmark = pytest.mark.load

TICKETS = int(10_000 * SCALE)
# Tickets live for 30 seconds; and of sessions that no adapter can verify, a network has 1,000.
_BATCH = 500
_AT_ONCE = 64


async def handshake(port: int, token: str, in_url: bool) -> int:
    """The status of one handshake; the first message of a socket that opened says why it did."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    target = f"/?ott={token}" if in_url else "/"
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: load.example",
        "Origin: http://load.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: bG9hZCB0ZXN0IG9mIDE2IQ==",
        *([] if in_url else [f"Sec-WebSocket-Protocol: ott, ott.{token}"]),
    ]
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        status = int(head.split(b" ")[1])
        if status == 101:
            assert (b"sec-websocket-protocol: ott\r\n" in head.lower()) is not in_url
            message = await asyncio.wait_for(reader.readexactly(2 + len("websocket")), 30)
            assert message[2:] == b"websocket"
        return status
    finally:
        writer.close()


async def offer_all(ports: list[int], tokens: list[str]) -> list[tuple[int, int]]:
    """Each ticket offered to both servers at once, in both ways; the statuses, ticket by ticket."""
    free = asyncio.Semaphore(_AT_ONCE // 2)

    async def one(token: str) -> tuple[int, int]:
        async with free:
            first, second = ports[0], ports[-1]
            return await asyncio.gather(
                handshake(first, token, in_url=True), handshake(second, token, in_url=False)
            )

    return list(await asyncio.gather(*map(one, tokens)))


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_each_ticket_opens_one_socket(engine: str, tmp_path: Path) -> None:
    with uvicorns(url_of(engine, tmp_path)) as (ports, _):
        began = time.monotonic()
        opened = 0
        while opened < TICKETS:
            tokens = generate(ports, min(_BATCH, TICKETS - opened), "websocket")
            for statuses in asyncio.run(offer_all(ports, tokens)):
                assert sorted(statuses) == [101, 403]
                opened += 1
        print(f"{2 * TICKETS / (time.monotonic() - began):.0f} handshakes a second")
