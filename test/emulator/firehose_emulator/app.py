"""Everything that the rooms share, and a site for each listener."""

import time

from .faults import RuleBook
from .firehose import Firehose
from .identity import Identity
from .quota import QuotaTable
from .router import Router, is_own
from .settings import Limits
from .sigv4 import Verifier
from .stats import Stats
from .store import Store
from .watch import Watch


class App:
    """The emulator's state.

    clock_offset  seconds that the emulator's idea of the time is ahead of ours
    streams       names of the streams that exist
    uplink        an Uplink for new connections, or None
    """

    def __init__(self, settings, directory, keys, streams):
        self.settings = settings
        self.first_keys = list(keys)
        self.first_streams = list(streams)
        self.limits = Limits()
        self.clock_offset = 0.0
        self.rules = RuleBook()
        self.quotas = QuotaTable()
        self.uplink = None
        self.stats = Stats()
        self.watch = Watch()
        self.store = Store(directory, settings)
        self.verifier = Verifier(settings.region, keys)
        self.streams = dict.fromkeys(self.store.known_streams())
        for name in streams:
            self.create_stream(name)
        self.connections = set()
        self._connection_number = 0
        self.firehose = Firehose(self)
        self.identity = Identity(self)
        self.router = Router(self.firehose.handle)

    def create_stream(self, name):
        self.streams[name] = None
        self.store.create_stream(name)

    def delete_stream(self, name):
        self.streams.pop(name, None)
        self.store.forget_stream(name)

    def reset(self):
        """Back to how it was started; streams and journal stay."""
        self.limits = Limits()
        self.clock_offset = 0.0
        self.rules.clear()
        self.quotas.clear()
        self.uplink = None
        self.verifier.set_keys(self.first_keys)
        self.stats.reset()
        self.watch.clear()

    def next_connection_number(self):
        self._connection_number += 1
        return self._connection_number


class Site:
    """What the connections of one listener call; see wire.py."""

    def __init__(self, app, tls=False):
        self._app = app
        self.tls = tls
        self._firehose = app.firehose
        self.on_first_byte = self._firehose.on_first_byte
        self.early_fault = self._firehose.early_fault
        self.on_broken = self._firehose.on_broken
        self.handle = app.router.handle

    def line(self):
        """The slow line of a new connection, or None."""
        uplink = self._app.uplink
        return None if uplink is None else uplink.line()

    def on_connect(self, connection):
        self._app.connections.add(connection)

    def on_head(self, request):
        """Count a connection once it is known to be Firehose's."""
        connection = request.connection
        if not (connection.counted or is_own(request)):
            connection.counted = True
            self._app.stats.connected()

    def on_disconnect(self, connection):
        self._app.connections.discard(connection)
        if connection.counted:
            self._app.stats.disconnected()

    def on_malformed(self, connection, error):
        self._app.stats.malformed += 1
        self._app.watch.refused(time.time(), None, 0, f"HTTP {error.status}",
                                str(error), None)


class IdentitySite(Site):
    """The same for the listener that hands out credentials (identity.py)."""

    def __init__(self, app):
        super().__init__(app)
        self.on_first_byte = lambda connection: False
        self.early_fault = lambda request, prefix: None
        self.on_broken = lambda request, have: None
        self.handle = app.identity.handle

    def on_head(self, request):
        """Its connections are none of Firehose's."""
