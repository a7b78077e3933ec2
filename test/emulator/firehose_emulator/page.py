"""The page at /: what arrives, what is refused, and faults to switch on.

The page's files are in the folder page/, and nothing else is loaded; what
happens comes as server-sent events.  It switches faults by /_control/.
Records are bytes from anywhere: the page shows them as text and never as
markup, and its policy forbids whatever is not one of its own files.
"""

import asyncio
import json
import os
import time

from .watch import plain
from .wire import Reply

PREFIX = "/_page/"
WATCHERS = 8        # event streams at a time
STREAMS = 30        # of which a state tells
RULES = 50
BEAT = 0.25         # seconds between looks for something new
BEATS_A_STATE = 4

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page")
_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; "
           "connect-src 'self'; img-src data:; base-uri 'none'; "
           "form-action 'none'; frame-ancestors 'none'")
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin"}


class Page:
    def __init__(self, app):
        self._app = app
        self._watchers = 0

    def handle(self, request):
        """Answer a request for the page, its files or its events."""
        request.connection.last_call = None
        path = request.path.split("?")[0]
        if request.method != "GET":
            return _text(405, "GET only")
        if path == "/":
            return _file("index.html", "text/html; charset=utf-8")
        name = path[len(PREFIX):]
        if name in _FILES:
            return _file(name, _FILES[name] + "; charset=utf-8")
        if name == "events":
            return self._events()
        return _text(404, "not found")

    def _events(self):
        """A reply that goes on until the client leaves."""
        if self._watchers >= WATCHERS:
            return _text(503, f"{WATCHERS} pages watch already")
        reply = Reply(200, b"", {**_HEADERS, "Content-Length": None},
                      "text/event-stream")
        reply.close = True

        async def send(connection, head):
            self._watchers += 1
            try:
                if await connection.write(head):
                    await self._tell(connection)
            finally:
                self._watchers -= 1
            return False
        reply.sender = send
        return reply

    async def _tell(self, connection):
        """Send what is new, as fast as it is read and no faster."""
        watch = self._app.watch
        seen, cleared, beat = 0, watch.cleared, 0
        while not connection.closed:
            events = []
            if cleared != watch.cleared:
                cleared, seen, beat = watch.cleared, 0, 0
                events.append(_event("cleared", {}))
            upto = watch.number
            if upto > seen:
                events.append(_event("records", watch.records_after(seen)))
                events.append(_event("refusals", watch.refusals_after(seen)))
                seen = upto
            if beat % BEATS_A_STATE == 0:
                events.append(_event("state", self._state()))
            beat += 1
            if events and not await connection.write(b"".join(events)):
                return
            await asyncio.sleep(BEAT)

    def _state(self):
        app = self._app
        rates = app.watch.rates(time.time())
        names = sorted(app.streams, key=lambda name: name not in rates)
        streams = []
        for name in sorted(names[:STREAMS]):
            stats = app.stats.streams.get(name)
            accepted, refused = rates.get(name, ((), ()))
            streams.append({
                "name": plain(name),
                "requests": stats.requests if stats else 0,
                "accepted": stats.accepted if stats else 0,
                "refused": stats.refused if stats else 0,
                "bytes": stats.bytes if stats else 0,
                "in_flight": stats.in_flight if stats else 0,
                "accepted_by_second": accepted,
                "refused_by_second": refused})
        rules = app.rules.list()
        return {"streams": streams,
                "more_streams": max(0, len(names) - STREAMS),
                "rules": rules[:RULES], "more_rules": len(rules[RULES:]),
                "requests": app.stats.requests,
                "connections": app.stats.open_connections,
                "clock": app.clock_offset}


def _event(name, document):
    """One event; JSON in ASCII has no line ends of its own."""
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def _file(name, content_type):
    with open(os.path.join(_FOLDER, name), "rb") as file:
        return Reply(200, file.read(), _HEADERS, content_type)


def _text(status, text):
    return Reply(status, text.encode(), _HEADERS, "text/plain")
