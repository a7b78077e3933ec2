"""/_control/: what a test uses to script faults and to look inside.

Requests and replies are JSON; an error is {"error": "..."} with status 400 or
404.  The README lists the calls.
"""

import asyncio
import dataclasses
import json
import os

from .actions import ACTIONS
from .requests import STREAM_NAME
from .settings import Limits
from .sigv4 import Key
from .uplink import Uplink
from .wire import Reply

PREFIX = "/_control/"


class ControlError(Exception):
    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


class Control:
    """Answers control requests.

    stop       called to end the emulator
    listeners  where more listeners can be opened
    """

    def __init__(self, app, listeners, stop):
        self._app = app
        self._listeners = listeners
        self._stop = stop
        self._calls = {
            ("GET", "health"): self._health,
            ("GET", "actions"): self._actions,
            ("GET", "stats"): self._stats,
            ("DELETE", "stats"): self._reset_stats,
            ("POST", "reset"): self._reset,
            ("POST", "flush"): self._flush,
            ("GET", "rules"): self._list_rules,
            ("POST", "rules"): self._add_rules,
            ("DELETE", "rules"): self._delete_rules,
            ("GET", "streams"): self._list_streams,
            ("POST", "streams"): self._create_stream,
            ("DELETE", "streams"): self._delete_stream,
            ("GET", "clock"): self._show_clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "limits"): self._show_limits,
            ("POST", "limits"): self._set_limits,
            ("GET", "quota"): self._show_quota,
            ("POST", "quota"): self._set_quota,
            ("DELETE", "quota"): self._clear_quota,
            ("POST", "uplink"): self._set_uplink,
            ("DELETE", "uplink"): self._clear_uplink,
            ("POST", "credentials"): self._set_credentials,
            ("POST", "identity"): self._change_identity,
            ("POST", "settings"): self._set_settings,
            ("POST", "connections"): self._drop_connections,
            ("POST", "listeners"): self._open_listener,
            ("POST", "shutdown"): self._shutdown,
        }

    def handle(self, request):
        """Answer a control request."""
        request.connection.last_call = None
        path = request.path[len(PREFIX):].split("?")[0]
        what, _, name = path.partition("/")
        try:
            call = self._calls.get((request.method, what))
            if call is None:
                raise ControlError("no such call", 404)
            text = str(request.body, "utf-8")
            answer = call(name, json.loads(text) if text else {})
        except ControlError as error:
            return _json({"error": str(error)}, error.status)
        except KeyError as error:
            return _json({"error": f"not found or missing: {error}"}, 404)
        except (ValueError, TypeError, AttributeError) as error:
            return _json({"error": str(error)}, 400)
        return answer if isinstance(answer, Reply) else _json(answer)

    # -- the whole

    def _health(self, _name, _body):
        return {"pid": os.getpid(), "ports": self._listeners.ports,
                "ca_file": self._listeners.ca_file,
                "dir": os.path.abspath(self._app.store.directory)}

    def _actions(self, _name, _body):
        return {name: {"phase": action.phase, "parameters": action.defaults}
                for name, action in sorted(ACTIONS.items())}

    def _stats(self, _name, _body):
        return self._app.stats.report()

    def _reset_stats(self, _name, _body):
        self._app.stats.reset()
        return {}

    def _reset(self, _name, body):
        self._app.reset()
        self._drop({"which": "stuck"})
        if body.get("journal"):
            self._app.store.truncate()
        return {}

    def _flush(self, _name, body):
        """A barrier: what was answered before is journaled after.

        Nothing is buffered, but a client may read a reply a moment before
        its line is written, never before this call is answered.
        """
        if body.get("sync"):
            self._app.store.sync()
        return {}

    def _shutdown(self, _name, _body):
        asyncio.get_running_loop().call_later(0.05, self._stop)
        return {}

    # -- rules

    def _list_rules(self, _name, _body):
        return {"rules": self._app.rules.list()}

    def _add_rules(self, _name, body):
        documents = body if isinstance(body, list) else [body]
        return {"ids": [self._app.rules.add(document)
                        for document in documents]}

    def _delete_rules(self, name, _body):
        if name:
            self._app.rules.remove(int(name))
        else:
            self._app.rules.clear()
        return {}

    # -- streams, clock, limits, quotas, keys

    def _list_streams(self, _name, _body):
        return {"streams": sorted(self._app.streams)}

    def _create_stream(self, name, _body):
        if not STREAM_NAME.match(name):
            raise ControlError("no valid stream name")
        self._app.create_stream(name)
        return {}

    def _delete_stream(self, name, _body):
        if name not in self._app.streams:
            raise ControlError("no such stream", 404)
        self._app.delete_stream(name)
        return {}

    def _show_clock(self, _name, _body):
        return {"offset": self._app.clock_offset}

    def _set_clock(self, _name, body):
        self._app.clock_offset = float(body["offset"])
        return {}

    def _show_limits(self, _name, _body):
        return dataclasses.asdict(self._app.limits)

    def _set_limits(self, _name, body):
        now = dataclasses.asdict(self._app.limits)
        self._app.limits = Limits(**{**now, **body})
        return dataclasses.asdict(self._app.limits)

    def _show_quota(self, _name, _body):
        return self._app.quotas.list()

    def _set_quota(self, _name, body):
        options = dict(body)
        self._app.quotas.set(options.pop("stream", "*"), options)
        return {}

    def _clear_quota(self, _name, _body):
        self._app.quotas.clear()
        return {}

    def _set_uplink(self, _name, body):
        """Have the connections to come upload slowly; end those that are."""
        self._app.uplink = Uplink(**body)
        self._drop({"which": "idle"})
        return {}

    def _clear_uplink(self, _name, _body):
        self._app.uplink = None
        self._drop({"which": "idle"})
        return {}

    def _set_credentials(self, _name, body):
        """Replace the keys: one object or a list of them."""
        entries = body if isinstance(body, list) else [body]
        self._app.verifier.set_keys([Key(**entry) for entry in entries])
        return {}

    def _change_identity(self, _name, body):
        """Change who hands out credentials to whom; tell what was asked."""
        return self._app.identity.change(body)

    def _set_settings(self, _name, body):
        """Change encrypted, strict_streams, short_record_ids, ..."""
        known = {field.name for field
                 in dataclasses.fields(self._app.settings)}
        if set(body) - known:
            raise ControlError(f"unknown setting {set(body) - known}")
        for name, value in body.items():
            setattr(self._app.settings, name, value)
        return dataclasses.asdict(self._app.settings)

    # -- connections

    def _drop_connections(self, _name, body):
        return {"dropped": self._drop(body)}

    def _drop(self, body):
        """Close connections: which is idle, stuck or all."""
        which = body.get("which", "all")
        tests = {"all": lambda connection: True,
                 "idle": lambda connection: connection.idle,
                 "stuck": lambda connection: connection.stuck}
        if which not in tests:
            raise ControlError("which is idle, stuck or all")
        dropped = 0
        for connection in list(self._app.connections):
            if connection.counted and tests[which](connection):
                dropped += 1
                if body.get("reset"):
                    connection.reset()
                else:
                    connection.hang_up()
        return dropped

    def _open_listener(self, _name, body):
        """Open a listener; the reply waits until it is open."""
        reply = _json({})

        async def send(connection, _data):
            try:
                port = await self._listeners.open(body["mode"],
                                                  body.get("port", 0))
                answer = _json({"mode": body["mode"], "port": port,
                                "ca_file": self._listeners.ca_file})
            except (KeyError, OSError, ValueError, RuntimeError) as error:
                answer = _json({"error": str(error)}, 400)
            return await connection.write(answer.encode())
        reply.sender = send
        return reply


def _json(document, status=200):
    return Reply(status, json.dumps(document).encode(),
                 content_type="application/json")
