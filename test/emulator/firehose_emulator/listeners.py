"""The sockets we listen on, good ones and bad ones.

http, https     the emulator
wrong-host, expired, self-signed, tls1.1
                the emulator behind TLS that a client must refuse
silent          accepts and never says a word
identity, identity-https
                hand out credentials: metadata, containers, STS, ...
"""

import asyncio
import os

from . import tls
from .app import IdentitySite, Site
from .wire import Connection

BAD_TLS = ("wrong-host", "expired", "self-signed", "tls1.1")
MODES = ("http", "https", *BAD_TLS, "silent", "identity", "identity-https")


class _Silent(asyncio.Protocol):
    """Takes a connection and neither reads nor writes."""

    def connection_made(self, transport):
        transport.pause_reading()


class Listeners:
    """Opens listeners and knows their ports.

    ports  port by mode, the last opened of each
    """

    def __init__(self, app, bind, certificate=None, key=None):
        self._app = app
        self._bind = bind
        self._own_files = (certificate, key) if certificate else None
        self._authority = None
        self._servers = []
        self.ports = {}

    @property
    def ca_file(self):
        """What a client must trust, None before any TLS listener."""
        if self._own_files:
            return os.path.abspath(self._own_files[0])
        return self._authority.ca_file if self._authority else None

    async def open(self, mode, port=0):
        """Listen in a mode; return the port."""
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}, one of {MODES}")
        loop = asyncio.get_running_loop()
        context = None if mode in ("http", "silent", "identity") else self._context(mode)
        if mode == "silent":
            factory = _Silent
        else:
            site = (IdentitySite(self._app) if mode.startswith("identity") else
                    Site(self._app, tls=context is not None))

            def factory():
                return Connection(site, self._app.next_connection_number())
        server = await loop.create_server(factory, self._bind, port,
                                          ssl=context, backlog=1024)
        self._servers.append(server)
        self.ports[mode] = server.sockets[0].getsockname()[1]
        return self.ports[mode]

    def _context(self, mode):
        if mode == "https" and self._own_files:
            return tls.server_context(*self._own_files)
        if self._authority is None:
            self._authority = tls.Authority(
                os.path.join(os.path.abspath(self._app.store.directory),
                             "tls"), self._app.settings.region)
        kind = mode if mode in ("wrong-host", "expired",
                                "self-signed") else "good"
        return tls.server_context(*self._authority.certificate(kind),
                                  only_tls_1_1=mode == "tls1.1")

    def close(self):
        for server in self._servers:
            server.close()
