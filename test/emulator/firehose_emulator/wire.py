"""HTTP/1.1 over asyncio: reads requests, writes replies, misbehaves on order.

A Connection is one client.  It reads a head into a small buffer and a body
straight into a buffer of its size (BufferedProtocol, so a 4 MiB body is never
copied), hands the request to its site, and sends the reply.  One request at a
time is processed; what a client pipelines waits in the buffer.

The site (see app.Site) has the methods that a connection calls:
    on_connect(connection), on_disconnect(connection)
    line()                        the slow line of a new connection, or None
    on_first_byte(connection)     first byte of a request; may close
    on_malformed(connection, error)
    on_head(request)              a request has begun
    early_fault(request, prefix)  None, WAIT or an EarlyFault
    handle(request)               -> Reply
    on_broken(request, body_have) a request that ended without being handled
"""

import asyncio
import email.utils
import http
import socket
import struct
import time

from .uplink import PIECE

HEAD_ROOM = 65536
MAX_BODY = 64 * 1024 * 1024

WAIT = object()     # early_fault: ask again when more of the body is here


class BadRequest(Exception):
    """The bytes are no HTTP request we take; answered by status and closed."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Request:
    """One request; headers by lower-case name, repeated ones comma-joined."""

    __slots__ = ("connection", "exchange", "started", "received", "method",
                 "path", "version", "headers", "length", "body", "watched",
                 "fault")

    def __init__(self, connection, head):
        self.connection = connection
        self.exchange = connection.exchanges
        self.started = connection.first_byte_at
        self.received = None
        self.body = b""
        self.watched = False
        self.fault = None
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, self.path, self.version = lines[0].split(" ")
        except ValueError:
            raise BadRequest(400, "malformed request line") from None
        if self.version not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequest(505, "unsupported HTTP version")
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequest(400, "malformed header line")
            name = name.lower()
            value = value.strip(" \t")
            if name in self.headers:
                value = self.headers[name] + "," + value
            self.headers[name] = value
        if self.version == "HTTP/1.1" and not self.headers.get("host"):
            raise BadRequest(400, "missing Host header")
        if "transfer-encoding" in self.headers:
            raise BadRequest(411, "send a Content-Length")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadRequest(400, "malformed Content-Length")
        self.length = int(length)
        if self.length > MAX_BODY:
            raise BadRequest(413, "body too large")

    @property
    def keep_alive(self):
        wish = self.headers.get("connection", "").lower()
        return self.version == "HTTP/1.1" and wish != "close"


class Reply:
    """What goes back, and how.

    sender  None, or an async callable(connection, data) -> bool that sends
            the reply in its own way and tells whether all of it went out
    silent  true if the sender sends nothing at all
    delay   seconds to wait before the first byte
    done    called once with True (sent whole) or False
    written set by a sender that goes on after it has sent everything
    """

    def __init__(self, status, body=b"", headers=(), content_type=None):
        self.status = status
        self.body = body
        self.headers = dict(headers)
        if content_type:
            self.headers.setdefault("Content-Type", content_type)
        self.delay = 0
        self.sender = None
        self.silent = False
        self.close = False
        self.written = False
        self.done = None

    def encode(self):
        """Return the bytes of the whole reply."""
        try:
            phrase = http.HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        headers = self.headers
        if ("Content-Length" not in headers
                and "Transfer-Encoding" not in headers):
            lines.append(f"Content-Length: {len(self.body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()
                  if value is not None]
        if self.close:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


class EarlyFault:
    """A fault that strikes while a body is still on its way.

    kind         hang | close | reset | reply | no_continue
    after_bytes  how much of the body is read first
    """

    def __init__(self, kind, after_bytes=0, reply=None, name=None):
        self.kind = kind
        self.after_bytes = after_bytes
        self.reply = reply
        self.name = name


class Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, site, number):
        self.site = site
        self.number = number
        self.exchanges = 0          # requests begun on this connection
        self.counted = False        # carried a request for Firehose
        self.last_call = None       # (operation, stream) of the last
                                    # request, if for Firehose
        self.first_byte_at = 0.0
        self.transport = None
        self.closed = False
        self._buffer = bytearray(HEAD_ROOM)
        self._view = memoryview(self._buffer)
        self._have = 0
        self._request = None        # the one whose body is being read
        self._body_view = None
        self._body_have = 0
        self._busy = False          # a request is processed or answered
        self._deaf = False          # a fault: read nothing more
        self._line = None           # slow, or None
        self._unpaid = 0            # bytes that it has not carried yet
        self._waiting = False       # for it
        self._task = None
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def idle(self):
        """Between requests."""
        return (not self._busy and not self._deaf and self._request is None
                and self._have == 0)

    @property
    def stuck(self):
        """Held by a fault, or waiting to be answered."""
        return self._deaf or self._task is not None

    # -- called by asyncio

    def connection_made(self, transport):
        self.transport = transport
        self._line = self.site.line()
        if self._line is not None:
            # what the kernel takes would not be slow
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        # Tell us of every byte not yet written.  (asyncio's TLS pauses at
        # the limit, its plain transport above it.)
        transport.set_write_buffer_limits(high=int(self.site.tls), low=0)
        self.site.on_connect(self)

    def connection_lost(self, exc):
        self.closed = True
        self._drained.set()
        if self._task is not None:
            self._task.cancel()
        if self._request is not None and not self._busy:
            self.site.on_broken(self._request, self._body_have)
        self.site.on_disconnect(self)

    def pause_writing(self):
        self._drained.clear()

    def resume_writing(self):
        self._drained.set()

    def get_buffer(self, sizehint):
        if self._body_view is not None:
            view = self._body_view[self._body_have:]
        else:
            view = self._view[self._have:]
        return view if self._line is None else view[:PIECE]

    def buffer_updated(self, count):
        if self._deaf:
            return
        if self._body_view is not None:
            self._body_have += count
        else:
            self._have += count
        self._unpaid += count
        if not self._busy:
            self._advance()
        elif self._have == HEAD_ROOM:
            self.transport.pause_reading()

    def eof_received(self):
        return False

    def _wait_for_line(self):
        """Let the slow line carry what came; false: it has."""
        if self._line is None or not self.counted or self._unpaid == 0:
            return self._waiting
        seconds = self._line.take(self._unpaid)
        self._unpaid = 0
        self._waiting = True
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(seconds, self._line_free)
        return True

    def _line_free(self):
        self._waiting = False
        if not (self.closed or self._deaf):
            self.transport.resume_reading()
            self._advance()

    # -- reading

    def _advance(self):
        """Process as many requests as are complete."""
        try:
            while not (self._busy or self._deaf or self.closed):
                if self._request is None and not self._read_head():
                    return
                if self._deaf or self._busy or not self._read_body():
                    return
                self._dispatch()
        except BadRequest as error:
            self.site.on_malformed(self, error)
            reply = Reply(error.status, str(error).encode(),
                          content_type="text/plain")
            reply.close = True
            self._deliver(reply)

    def _read_head(self):
        """Take a head out of the buffer; false when it is not complete."""
        if self._have == 0:
            return False
        if self.first_byte_at == 0.0:
            self.first_byte_at = time.time()
            if self.site.on_first_byte(self):
                return False
        end = self._buffer.find(b"\r\n\r\n", 0, self._have)
        if end < 0:
            if self._have == HEAD_ROOM:
                raise BadRequest(431, "request head too large")
            return False
        self.exchanges += 1
        request = Request(self, bytes(self._view[:end]))
        self._request = request
        self.site.on_head(request)
        rest = self._have - (end + 4)
        self._start_body(request, end + 4, rest)
        request.watched = True
        self._watch()
        if (request.headers.get("expect", "").lower() == "100-continue"
                and self._body_view is not None and not self._deaf
                and not self._busy and request.fault is None):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _start_body(self, request, begin, rest):
        """Move what came with the head into the body or to the front."""
        taken = min(rest, request.length)
        self._body_have = taken
        if request.length:
            request.body = bytearray(request.length)
            self._body_view = memoryview(request.body)
            self._body_view[:taken] = self._view[begin:begin + taken]
        left = rest - taken
        if left:
            self._buffer[:left] = self._buffer[begin + taken:begin + rest]
        self._have = left

    def _read_body(self):
        """True when the body is complete."""
        if self._request.watched:
            self._watch()
            if self._deaf or self._busy:
                return False
        if self._wait_for_line() or self._body_have < self._request.length:
            return False
        self._body_view = None
        return True

    def _watch(self):
        """Let an early fault strike while the body arrives."""
        request = self._request
        if request.fault is None:
            found = self.site.early_fault(request, self._body_have)
            if found is WAIT:
                return
            request.fault = found
            if found is None:
                request.watched = False
                return
        fault = request.fault
        if (self._body_have < fault.after_bytes
                and self._body_have < request.length):
            return
        request.watched = False
        if fault.kind == "hang":
            self.go_deaf()
        elif fault.kind == "close":
            self.hang_up()
        elif fault.kind == "reset":
            self.reset()
        elif fault.kind == "reply":
            self._body_view = None
            self._deaf = True
            self._deliver(fault.reply)

    def _dispatch(self):
        request = self._request
        self._request = None
        request.received = time.time()
        self.first_byte_at = 0.0
        reply = self.site.handle(request)
        if not request.keep_alive:
            reply.close = True
        self._deliver(reply)

    # -- writing

    def _deliver(self, reply):
        """Send a reply, at once where nothing hinders."""
        self._busy = True
        data = reply.encode()
        if reply.sender is None and not reply.delay and not self.closed:
            self.transport.write(data)
            if self.transport.get_write_buffer_size() == 0:
                self._delivered(reply, True)
                return
            data = b""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._send(reply, data))

    async def _send(self, reply, data):
        sent = False
        try:
            if reply.delay:
                await asyncio.sleep(reply.delay)
            if reply.sender is not None:
                sent = await reply.sender(self, data)
            else:
                sent = await self.write(data)
        except asyncio.CancelledError:
            pass
        finally:
            self._task = None
            sent = reply.written or (sent and not self.closed)
            self._delivered(reply, sent)
        self._advance()

    async def write(self, data):
        """Write and wait until the kernel has it; false if the client left."""
        if not self.closed:
            self.transport.write(data)
            await self._drained.wait()
        return not self.closed

    def _delivered(self, reply, sent):
        if reply.done is not None:
            # it knows the reply: a circle, that would wait for the collector
            done, reply.done = reply.done, None
            done(sent)
        self._busy = False
        if reply.close:
            self.hang_up()
        elif not (self.closed or self._deaf or self._waiting):
            self.transport.resume_reading()

    # -- misbehaviour, used by faults

    def hang_up(self):
        """Close in the ordinary way."""
        self._deaf = True
        if self.transport is not None:
            self.transport.close()

    def reset(self):
        """Close so that the client sees ECONNRESET."""
        self._deaf = True
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                       struct.pack("ii", 1, 0))
        self.transport.abort()

    def go_deaf(self):
        """Read nothing more and say nothing."""
        self._deaf = True
        self.transport.pause_reading()


def http_date(offset=0.0):
    """The Date header's value, offset seconds from now."""
    return email.utils.formatdate(time.time() + offset, usegmt=True)
