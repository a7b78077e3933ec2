"""Sends a request to the room that answers its path.

Further rooms (endpoints that hand out credentials, say) add their prefix here
and need nothing else: a room is a function of a Request that returns a Reply.
"""

import ipaddress
import urllib.parse

from .wire import Reply

OWN = ("/_control/", "/_page/")     # no part of what Firehose serves


def is_own(request):
    """True if a request is for the emulator itself and not for Firehose."""
    return (request.path.startswith(OWN)
            or (request.path == "/" and request.method == "GET"))


class Router:
    """Rooms by prefix, a room for GET /, and one for all else."""

    def __init__(self, default):
        self._default = default
        self._rooms = []
        self.home = default

    def add(self, prefix, room):
        """Let a room answer every path that begins with prefix."""
        self._rooms.append((prefix, room))
        self._rooms.sort(key=lambda entry: -len(entry[0]))

    def handle(self, request):
        if is_own(request) and _is_foreign(request):
            request.connection.last_call = None
            return Reply(403, b"refused: this is a page of another site\n",
                         content_type="text/plain")
        for prefix, room in self._rooms:
            if request.path.startswith(prefix):
                return room(request)
        if request.path == "/" and request.method == "GET":
            return self.home(request)
        return self._default(request)


def _is_foreign(request):
    """True if another site's page has a browser ask.

    A browser tells with Origin which page asks.  A site whose name was made to
    mean this machine (DNS rebinding) is told by its name: what asks as a page
    of ours has come to an address or to localhost.  Programs send no Origin,
    and may call by any name what the page itself does not serve.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
        return True
    browser = origin is not None or "sec-fetch-site" in request.headers
    page = not request.path.startswith(OWN[0])
    return (browser or page) and not _is_address(host)


def _is_address(host):
    try:
        name = urllib.parse.urlsplit("//" + host).hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
