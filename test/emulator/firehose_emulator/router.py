"""Sends a request to the room that answers its path.

Further rooms (endpoints that hand out credentials, say) add their prefix here
and need nothing else: a room is a function of a Request that returns a Reply.
"""


class Router:
    def __init__(self, default):
        self._default = default
        self._rooms = []

    def add(self, prefix, room):
        """Let a room answer every path that begins with prefix."""
        self._rooms.append((prefix, room))
        self._rooms.sort(key=lambda entry: -len(entry[0]))

    def handle(self, request):
        for prefix, room in self._rooms:
            if request.path.startswith(prefix):
                return room(request)
        return self._default(request)
