"""A bad network: a TCP proxy on 127.0.0.1 that can cut, refuse, freeze, half-close, delay and throttle.

It runs in a thread of its own with an event loop. The methods may be called from any thread and return when the deed is done.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from typing import Any, Callable, Coroutine, Optional

from .ports import reserve_port

CHUNK = 65536
Inspector = Callable[[bytes], bool]
"""Sees bytes on their way from the server to the client; true: the connection is cut and these bytes are lost."""
Alterer = Callable[[bytes, bool], bytes]
"""What goes on in the place of a chunk; true: to the client."""


class _Link:
    """One client connection and its connection to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.is_lost = False
        self.is_half_closed = False

    def reset(self) -> None:
        """Both sides get a RST, as from a firewall that forgot the connection."""
        for side in (self.client, self.server):
            raw = side.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.transport.abort()


class Proxy:
    def __init__(self, to_port: int) -> None:
        self._to_ports = (to_port,)
        self._reservation = reserve_port()
        self.port = self._reservation.number
        self.connections = 0  # ever accepted
        self.bytes_to_client = 0
        self.bytes_to_server = 0
        self._links: set[_Link] = set()
        self._refuses = False
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self._inspector: Optional[Inspector] = None
        self._alterer: Optional[Alterer] = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", self.port))

    # Deeds

    def cut(self) -> int:
        """Resets every connection; new ones are welcome. Says how many there were."""
        async def deed() -> int:
            links = list(self._links)
            for link in links:
                link.reset()
            return len(links)
        return self._run(deed())

    def refuse(self, refuses: bool = True) -> None:
        """New connections are reset at once."""
        self._set("_refuses", refuses)

    def freeze(self) -> None:
        """Nothing passes any more, nothing is closed: a pulled cable. Connections become half-open when cut is called later."""
        self._set_flowing(False)

    def thaw(self) -> None:
        self._set_flowing(True)

    def half_close(self) -> None:
        """Tells each server that its client will send no more (FIN), while the other direction stays open: what the client sends goes nowhere."""
        async def deed() -> None:
            for link in list(self._links):
                link.is_half_closed = True
                if link.server.can_write_eof() and not link.server.is_closing():
                    link.server.write_eof()
        self._run(deed())

    def lose_server(self) -> None:
        """Half-open: the server's side is gone, the client is not told and its bytes go nowhere."""
        async def deed() -> None:
            for link in list(self._links):
                link.is_lost = True
                link.server.transport.abort()
        self._run(deed())

    def delay(self, seconds: float) -> None:
        """Each chunk, in each direction, takes so much longer."""
        self._set("_delay_s", seconds)

    def throttle(self, bytes_per_s: float) -> None:
        """For each direction of each connection; 0 is unlimited."""
        self._set("_bytes_per_s", bytes_per_s)

    def inspect(self, inspector: Optional[Inspector]) -> None:
        self._set("_inspector", inspector)

    def alter(self, alterer: Optional[Alterer]) -> None:
        self._set("_alterer", alterer)

    def balance(self, *to_ports: int) -> None:
        """New connections go to these in turn."""
        self._set("_to_ports", to_ports)

    def close(self) -> None:
        async def deed() -> None:
            self._server.close()
            for link in list(self._links):
                link.reset()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._run(deed())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._reservation.release()

    # The event loop's side

    def _run(self, deed: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(deed, self._loop).result(30)

    def _set(self, name: str, value: Any) -> None:
        async def deed() -> None:
            setattr(self, name, value)
        self._run(deed())

    def _set_flowing(self, flows: bool) -> None:
        async def deed() -> None:
            if flows:
                self._flowing.set()
            else:
                self._flowing.clear()
        self._run(deed())

    async def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._flowing.wait()
        if self._refuses:
            _Link(to_client, to_client).reset()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to_ports[self.connections % len(self._to_ports)])
        except OSError:
            to_client.transport.abort()
            return
        link = _Link(to_client, to_server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, from_client, to_server, False), self._pump(link, from_server, to_client, True))
        except OSError:
            link.reset()
        finally:
            self._links.discard(link)
            to_client.close()
            to_server.close()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, to_client: bool) -> None:
        while chunk := await self._read(link, source):
            await self._flowing.wait()
            if link.is_lost:
                continue
            if to_client and self._inspector is not None and self._inspector(chunk):
                link.reset()
                return
            if self._delay_s > 0:
                await asyncio.sleep(self._delay_s)
            if self._bytes_per_s > 0:
                await asyncio.sleep(len(chunk) / self._bytes_per_s)
            if self._alterer is not None:
                chunk = self._alterer(chunk, to_client)
            if link.is_half_closed and not to_client:
                continue
            sink.write(chunk)
            await sink.drain()
            if to_client:
                self.bytes_to_client += len(chunk)
            else:
                self.bytes_to_server += len(chunk)
        await self._flowing.wait()
        if not link.is_lost and sink.can_write_eof() and not sink.is_closing():
            sink.write_eof()

    @staticmethod
    async def _read(link: _Link, source: asyncio.StreamReader) -> bytes:
        try:
            return await source.read(CHUNK)
        except OSError:
            if link.is_lost:
                return b""
            raise
