"""
A model of what a pipeline knows of its position and its ids.

One pipeline, the histories of its server's WAL, and everything that keeps state:
the WAL (flushed or not) with the epoch that each run of the server says in it, the
position record with the epochs that were read (in a table, so in the WAL), the
replication slot (a file of its own), shared memory, the records on their way.
Random operations: commits, decoding in parts, deliveries in any order, definition
changes, crashes, restarts, also without the library, copies of the storage that
are put back or go on as servers of their own, promotion of a standby that lags,
slots that are lost, made again, moved or stale, pg_upgrade, and sessions that
pretend to say an epoch.

After each run, what a consumer got is compared with what every history has:

  content   no id ever carries two contents, in all histories together
  loss      every change of the last history was delivered, unless the pipeline
            failed and named the gap
  gap       a pipeline fails only if its slot was really lost or made again
  stable    a change has one id, in all histories together, unless the WAL did
            not say the epoch of its run before it, or the pipeline began in an
            earlier run, of which it has not read the WAL
  agree     it has the epoch of the run, whenever the pipeline was made
  order     in one history, ids ascend with the WAL
  repeat    nothing that was recorded as delivered is delivered again

A rule that is broken on purpose (MUTATIONS) has to be found.
"""
import copy
import random
from dataclasses import dataclass, field

TABLES = 'abc'          # b is in every definition
NO_SYSTEM = 0           # the record is of no system: its epoch is to be drawn
SECOND = 1 << 16        # random numbers below the seconds of an epoch

MUTATIONS = {
    'part-not-bound': 'the place in a transaction survives a change of the definition',
    'number-what-is-sent': 'changes are numbered as the definition sends them',
    'no-gap-check': 'a slot ahead of the record is taken',
    'epoch-is-timeline': 'the high digits are the timeline, as of the reading',
    'epoch-not-stored': 'the position passes a start of the server unnoted',
    'epoch-from-record': 'the epoch is the time of the record at the start',
    'epoch-from-clock': 'an epoch is the clock, though that was set back',
    'epoch-not-renewed': 'a pipeline that jumps continues an old epoch',
    'epoch-by-reader': 'the decoder draws an epoch when it comes past a start',
    'epoch-from-anyone': 'what a session says in the WAL passes for an epoch',
    'commit-before-epoch': 'sessions commit before the run has said its epoch',
    'silent-run': 'a run that has not said its epoch has that of the run before',
    'lifted-anew': 'an epoch that is lifted above others is another one each time',
    'no-hold': 'a standby with synchronized slots may lack the epochs',
    'command-without-epoch': 'from_now leaves the epoch to be found by the decoder',
    'message-by-end': 'a message outside of transactions has the position of its end',
    'slot-before-record': 'the slot moves before the record is durable',
    'start-at-slot': 'a slot behind the record says where to start',
}


class Violation(Exception):
    pass


@dataclass
class Record:
    kind: str           # commit, message, start, epoch, table, other
    data: object = None


@dataclass
class Table:
    """What the table of positions says: part of the WAL, as the last such record."""
    position: int = None            # None: no row
    system: int = NO_SYSTEM
    epochs: tuple = ()              # (from, epoch)


@dataclass
class Slot:
    restart: int
    synced: bool = False


@dataclass
class Memory:
    """Shared memory: as long as the server runs."""
    run: tuple = None               # (position in the WAL, epoch) that this run has said
    queued: int = 0
    part: tuple = None              # (position of a commit, number, definition)
    outstanding: list = field(default_factory=list)     # [upto, records]
    finished: int = 0
    emitted: set = field(default_factory=set)   # of the judge


class Server:
    def __init__(self):
        self.system = 1
        self.timeline = 1
        self.wal = []
        self.flushed = 0
        self.slot = None
        self.slot_file = None       # as on disk
        self.slot_made = False      # the catalog says that it existed
        self.failed = None
        self.gaps = []              # (from, to) that were named
        self.really_lost = False    # the slot was lost or made again
        self.begin = None           # where the pipeline began
        self.oldest = 0             # no standby is behind the first record, or an upgrade
        self.memory = Memory()
        self.decoder = None
        self.definition = ('abc', 0)
        self.clean = False
        self.loaded = True          # the library
        self.held = 0               # standbys with synchronized slots have all before
        self.sent = {}              # content: ids, in this history
        self.last = None            # (position, epoch) of what was read last
        self.remade = 0             # where others made the slot again
        self.commanded = None       # where the last command had it go on, if that is to matter

    def table(self, upto=None):
        for record in reversed(self.wal[:upto]):
            if record.kind == 'table':
                return record.data
        return Table()

    def write(self, kind, data=None, flush=False):
        self.wal.append(Record(kind, data))
        if flush:
            self.flushed = len(self.wal)

    def fork(self):
        other = copy.copy(self)
        other.wal = list(self.wal)
        other.gaps = list(self.gaps)
        other.sent = {content: set(names) for content, names in self.sent.items()}
        other.slot = copy.copy(self.slot)
        other.slot_file = copy.copy(self.slot_file)
        other.memory = copy.deepcopy(self.memory)
        other.decoder = None
        return other


@dataclass
class Decoder:
    at: int             # next record of the WAL to read
    start: int          # commits before it are skipped
    recorded: int
    slot_next: int      # where the slot may move at the next record
    batch: list = field(default_factory=list)
    upto: int = 0


class World:
    def __init__(self, seed, mutation=None):
        self.random = random.Random(seed)
        self.mutation = mutation
        self.clock = 1000 * SECOND
        self.servers = [Server()]
        self.server = self.servers[0]
        self.contents = {}      # id: content
        self.ids = {}           # content: ids
        self.unsaid = set()     # contents whose epoch the WAL did not say before
        self.serial = 0
        self.copies = []

    # what is broken on purpose
    def broken(self, name):
        return self.mutation == name

    # ---- the server ------------------------------------------------------
    def start_server(self, s, recovery):
        """After a crash, a promotion or an archive recovery the WAL says where it begins."""
        s.memory = Memory()
        s.decoder = None
        s.failed = None             # it tries again
        s.loaded = self.random.random() < 0.9
        self.clock += self.random.randint(1, 3 * SECOND)
        if recovery:
            s.wal = s.wal[:s.flushed]
            if s.last and s.last[0] >= s.flushed:
                s.last = None
            s.write('start', self.clock, flush=True)
        s.slot = copy.copy(s.slot_file)

    def stop_clean(self, s):
        self.leave(s)
        s.write('start', self.clock, flush=True)     # the shutdown checkpoint
        s.slot_file = copy.copy(s.slot)

    def say_epoch(self, s):
        """Once in a run: before the first commit, and before a decoder runs."""
        if s.memory.run is None:
            s.memory.run = (len(s.wal), self.clock // SECOND * SECOND + self.random.randrange(SECOND))
            s.write('epoch', (s.memory.run[1], True))

    # ---- the decoder -----------------------------------------------------
    def is_epoch(self, record):
        """Sessions cannot write such a record: it is of no database."""
        return record.kind == 'epoch' and (record.data[1] or self.broken('epoch-from-anyone'))

    def epoch_in_wal(self, s, start, position):
        """The epoch of a position, as the WAL from `start` on says it; whether it is exact."""
        if s.memory.run and position >= s.memory.run[0]:
            return s.memory.run[1], True
        epoch = None
        exact = False
        for at in range(start, s.flushed):
            record = s.wal[at]
            if at > position and epoch is not None:
                break
            if record.kind == 'start':
                if self.broken('silent-run'):
                    continue
                epoch = None
                exact |= at <= position
            elif self.is_epoch(record) and epoch is None:
                epoch = record.data[0]
                exact |= at <= position
        return epoch, exact

    def has_said(self, s, start):
        end = next((at for at in range(start + 1, len(s.wal)) if s.wal[at].kind == 'start'), len(s.wal))
        return any(self.is_epoch(r) for r in s.wal[start:end])

    def lift(self, epochs, epoch):
        """Above those before, if the clock was set back; the same one each time."""
        if not epochs or self.broken('epoch-from-clock'):
            return epoch
        last = epochs[-1][1]
        if epoch > last:
            return epoch
        if last % SECOND == epoch % SECOND and not (self.broken('lifted-anew') and last != epoch):
            return last
        return (last // SECOND + 1) * SECOND + epoch % SECOND

    def new_epoch(self, s, at, epochs, epoch):
        epoch = self.lift(epochs, epoch)
        if epochs and epochs[-1][1] == epoch:
            return epochs
        return epochs + ((at, epoch),)

    def jump(self, s, position, epochs):
        """The epoch where a pipeline begins or has left something out."""
        if epochs and epochs[-1][0] == position:
            return epochs
        epoch, exact = self.epoch_in_wal(s, s.slot.restart, position)
        if not exact and not (self.broken('command-without-epoch') and s.commanded == position):
            self.guess(s, position)
        return self.new_epoch(s, position, epochs, epoch)

    def guess(self, s, position):
        for record in s.wal[position:]:
            if record.kind == 'start':
                break
            self.unsaid.update(self.contents_of(record))

    def contents_of(self, record):
        if record.kind == 'message':
            return [record.data]
        return [content for _, content in record.data] if record.kind == 'commit' else []

    def fail(self, s, why):
        s.failed = why
        s.decoder = None
        if not s.really_lost:
            raise Violation(f'gap: failed for nothing ({why})')

    def start_decoder(self, s):
        if s.decoder or s.failed or not s.loaded:
            return
        self.say_epoch(s)
        s.flushed = max(s.flushed, s.memory.run[0] + 1)
        t = s.table()
        if s.slot is None:
            if s.slot_made:
                return self.fail(s, 'slot is gone')
            s.write('other', flush=True)
            s.slot = Slot(len(s.wal))
            s.slot_file = copy.copy(s.slot)
            s.slot_made = True
            s.remade = s.slot.restart
            if s.gaps and s.gaps[-1][1] is None:
                s.gaps[-1] = (s.gaps[-1][0], s.slot.restart)
        position = t.position
        fresh = position is None or t.system not in (NO_SYSTEM, s.system)
        if not fresh and s.slot.restart > position:
            if s.slot.synced:
                position = s.slot.restart
            elif not self.broken('no-gap-check'):
                return self.fail(s, f'slot at {s.slot.restart}, record at {position}')
            else:
                position = s.slot.restart
        if fresh or t.system == NO_SYSTEM:
            position = s.slot.restart if fresh else position
            if s.begin is None:
                s.begin = position
            epochs = t.epochs
            if not (self.broken('epoch-not-renewed') and epochs):
                epochs = self.jump(s, position, epochs)
            self.store(s, Table(position, s.system, epochs), flush=True)
            s.oldest = len(s.wal)       # as good as made here
        if self.broken('start-at-slot') and not fresh:
            position = s.slot.restart
        start = max(position, s.memory.queued)
        s.decoder = Decoder(s.slot.restart, start, max(position, t.position or 0) if not fresh else position,
                            position, upto=start)

    def store(self, s, table, flush):
        s.write('table', table, flush)

    def epoch_at(self, s, position):
        epochs = s.table().epochs
        if self.broken('epoch-is-timeline'):
            return s.timeline
        return [e for e in epochs if e[0] <= position][-1][1]

    def decode(self, s):
        """One record of the WAL."""
        d = s.decoder
        if d is None or d.at >= s.flushed:
            return False
        at, record = d.at, s.wal[d.at]
        if record.kind == 'start':
            self.meet_start(s, at, record)
        elif record.kind == 'message' and at >= d.start:
            position = at + 1 if self.broken('message-by-end') else at
            self.emit(s, (self.epoch_at(s, at), position, 1), record.data)
            d.upto = at + 1
        elif record.kind == 'commit' and at >= d.start:
            if not self.decode_commit(s, at, record):
                return True             # handed over in part, the decoder ended
            d.upto = at + 1
        d.at = at + 1
        if len(d.batch) > self.random.randrange(6):
            self.hand_over(s)
        elif not d.batch:
            s.memory.queued = max(s.memory.queued, d.upto)
        return True

    def meet_start(self, s, at, record):
        t = s.table()
        if not t.epochs or at <= t.epochs[-1][0] or self.broken('epoch-is-timeline'):
            return
        if self.broken('epoch-not-stored') and self.random.random() < 0.5:
            return
        if self.broken('silent-run') and not self.has_said(s, at):
            return
        epoch, _ = self.epoch_in_wal(s, at, at)
        if self.broken('epoch-by-reader'):
            epoch = self.clock // SECOND * SECOND + self.random.randrange(SECOND)
        if self.broken('epoch-from-record'):
            epoch = record.data
        epochs = self.new_epoch(s, at, t.epochs, epoch)
        if epochs == t.epochs:
            return
        s.write('table', Table(t.position, t.system, epochs), flush=True)
        s.held = len(s.wal)

    def decode_commit(self, s, at, record):
        d, tables = s.decoder, s.definition[0]
        part = s.memory.part
        done = 0
        if part and part[0] == at and (part[2] == s.definition or self.broken('part-not-bound')):
            done = part[1]
        number = sent = 0
        for table, content in record.data:
            number += 1
            if table not in tables:
                continue
            sent += 1
            seq = sent if self.broken('number-what-is-sent') else number
            if seq <= done:
                continue
            self.emit(s, (self.epoch_at(s, at), at, seq), content)
            if self.random.random() < 0.2:
                self.hand_over(s, (at, seq, s.definition))
                if self.random.random() < 0.3:
                    s.decoder = None    # an error, an exit: another one will come
                    return False
        s.memory.part = None
        if any(table in tables and content not in s.memory.emitted and content not in self.ids
               for table, content in record.data):
            raise Violation(f'loss: the commit at {at} is handed over, a part of it was not')
        return True

    def emit(self, s, name, content):
        if name[1] < s.decoder.recorded:
            raise Violation(f'repeat: {name} was recorded as delivered')
        said = [r.data[0] for r in s.wal if r.kind == 'epoch' and r.data[1]]
        if said == sorted(said) and content not in self.unsaid and name[0] != self.oracle(s, name[1]) \
                and not self.mutation:
            raise Violation(f'agree: {name} is of the epoch {self.oracle(s, name[1])}')
        if s.last and content not in self.unsaid:
            low, high = sorted((s.last[0], name[1]))
            if s.last[1] != name[0] and not any(r.kind == 'start' for r in s.wal[low:high]):
                raise Violation(f'agree: {name} and the epoch {s.last[1]} in one run')
        s.last = (name[1], name[0]) if content not in self.unsaid else None
        s.decoder.batch.append((name, content))
        s.memory.emitted.add(content)

    def oracle(self, s, position):
        start = max([at for at in range(position) if s.wal[at].kind == 'start'], default=0)
        return next((r.data[0] for r in s.wal[start:] if r.kind == 'epoch' and r.data[1]), None)

    def hand_over(self, s, part=None):
        d = s.decoder
        if d.batch:
            s.memory.outstanding.append([d.upto, d.batch])
        d.batch = []
        s.memory.queued = max(s.memory.queued, d.upto)
        if part:
            s.memory.part = part

    def deliver(self, s):
        """An entry of the ring, any: what Firehose accepts a consumer reads."""
        waiting = [e for e in s.memory.outstanding if e[1]]
        if not waiting:
            return False
        entry = self.random.choice(waiting)
        n = self.random.randint(1, len(entry[1]))
        for name, content in entry[1][:n]:
            self.consume(s, name, content)
        del entry[1][:n]
        self.advance(s)
        return True

    def advance(self, s):
        while s.memory.outstanding and not s.memory.outstanding[0][1]:
            s.memory.finished = max(s.memory.finished, s.memory.outstanding.pop(0)[0])

    def consume(self, s, name, content):
        if self.contents.setdefault(name, content) != content:
            raise Violation(f'content: {name} is {self.contents[name]} and {content}')
        ids = self.ids.setdefault(content, set())
        ids.add(name)
        s.sent.setdefault(content, set()).add(name)
        if len(ids) > 1 and content not in self.unsaid:
            raise Violation(f'stable: {content} is {ids}')

    def record(self, s):
        """Note durably how far all is delivered, then let the slot go, one record behind."""
        d = s.decoder
        if d is None:
            return
        upto = s.memory.finished
        if not s.memory.outstanding and not d.batch:
            upto = max(upto, d.at)
        if upto <= d.recorded:
            return
        t = s.table()
        if self.broken('slot-before-record'):
            s.slot.restart = max(s.slot.restart, upto)
            s.slot_file = copy.copy(s.slot)
            if self.random.random() < 0.5:
                return
        s.write('table', Table(upto, t.system, t.epochs), flush=True)
        if d.slot_next > s.slot.restart:
            # it keeps what running transactions need
            s.slot.restart = self.random.randint(s.slot.restart, d.slot_next)
            s.slot_file = copy.copy(s.slot)
        d.recorded = d.slot_next = upto

    def leave(self, s):
        if s.decoder:
            self.hand_over(s)
            self.record(s)
        s.decoder = None

    # ---- operations ------------------------------------------------------
    def op_commit(self, s):
        changes = []
        if s.loaded and not self.broken('commit-before-epoch'):
            self.say_epoch(s)
        for _ in range(self.random.randint(1, 5)):
            self.serial += 1
            changes.append((self.random.choice(TABLES), self.serial))
            if not s.loaded:
                self.unsaid.add(self.serial)
        s.write('commit', changes, flush=self.random.random() < 0.8)

    def op_many(self, s):
        """Commits that are decoded later, so that records lie far behind what they tell of."""
        for _ in range(self.random.randint(2, 6)):
            self.op_commit(s)
        self.op_flush(s)

    def op_message(self, s):
        self.serial += 1
        s.write('message', self.serial)
        if s.memory.run is None:
            self.unsaid.add(self.serial)

    def op_pretend(self, s):
        """A session writes what looks like an epoch, of its own making or seen before."""
        seen = [r.data[0] for server in self.servers for r in server.wal if r.kind == 'epoch']
        s.write('epoch', (self.random.choice(seen + [self.clock]), False))

    def op_flush(self, s):
        s.flushed = len(s.wal)

    def op_other(self, s):
        s.write('other')

    def op_decode(self, s):
        self.start_decoder(s)
        for _ in range(self.random.randint(1, 6)):
            if not self.decode(s):
                break

    def op_deliver(self, s):
        for _ in range(self.random.randint(1, 4)):
            self.deliver(s)

    def op_record(self, s):
        self.record(s)

    def op_restart_decoder(self, s):
        self.leave(s)

    def op_kill_decoder(self, s):
        s.decoder = None

    def op_alter(self, s):
        if s.decoder:
            self.leave(s)
        s.definition = (''.join(t for t in TABLES if t == 'b' or self.random.random() < 0.5),
                        self.random.randrange(2))

    def op_crash(self, s):
        self.start_server(s, recovery=True)

    def op_restart(self, s):
        self.stop_clean(s)
        self.start_server(s, recovery=False)

    def op_copy(self, s):
        """Of the storage, as it is or after a clean stop."""
        if self.random.random() < 0.5:
            self.stop_clean(s)
            self.start_server(s, recovery=False)
            other = s.fork()
            other.wal = other.wal[:other.flushed]
            other.clean = True
        else:
            other = s.fork()
            other.clean = False
        self.copies.append(other)

    def op_put_back(self, s):
        """A copy goes on, beside the original or in its place."""
        if not self.copies:
            return
        other = self.random.choice(self.copies).fork()
        self.start_server(other, recovery=not other.clean)
        self.servers.append(other)
        if self.random.random() < 0.7:
            self.servers.remove(s)
        self.server = other

    def op_promote(self, s):
        """A standby that has a part of what was flushed; its slot is a synced, stale or no copy."""
        position = s.table().position
        if s.slot and position is not None and s.slot.restart > position:
            return          # a slot that was made again a moment ago: cannot be known
        other = s.fork()
        lag = 0 if self.random.random() < 0.5 else self.random.randint(0, 8)
        low = s.slot.restart if s.slot else 0
        other.flushed = max(s.flushed - lag, s.begin or 0, low, s.oldest)
        other.timeline += 1
        kind = self.random.random()
        if other.slot_file and other.slot_file.restart > other.flushed:
            return
        if kind < 0.5 and other.slot_file:
            if not self.broken('no-hold'):
                other.flushed = max(other.flushed, s.held)
            else:
                other.flushed = max(min(other.flushed, s.held - 1), s.begin or 0, low, s.oldest)
            if (other.table(other.flushed).position or 0) < s.remade:
                return          # likewise: it was made again, and the standby has no record of it
            other.slot_file = copy.copy(s.slot)
            other.slot_file.synced = True
        elif kind < 0.8 and other.slot_file:
            other.slot_file = copy.copy(s.slot)
            # kept from earlier
            other.slot_file.restart = max((s.begin or 0),
                                          other.slot_file.restart - self.random.randint(0, 5))
            position = other.table(other.flushed).position
            if position is not None and other.slot_file.restart > position:
                return
        else:
            other.slot_file = None
            other.really_lost = True
        self.start_server(other, recovery=True)
        self.servers.append(other)
        if self.random.random() < 0.8:
            self.servers.remove(s)
        self.server = other

    def op_slot_again(self, s):
        """An administrator drops the slot and creates one of its name."""
        if s.slot is None or s.decoder:
            return
        if s.table().position is not None and s.table().system != s.system:
            return          # before it ever ran after an upgrade: cannot be known
        s.write('other', flush=True)
        s.slot = Slot(len(s.wal))
        s.slot_file = copy.copy(s.slot)
        s.really_lost = True
        s.remade = s.slot.restart

    def op_slot_gone(self, s):
        if s.slot is None or s.decoder:
            return
        s.slot = s.slot_file = None
        s.really_lost = True

    def op_upgrade(self, s):
        """To another system, drained, whose slots are made again at its first position."""
        if s.slot is None or s.failed or s.really_lost or not s.loaded:
            return
        self.drain(s)
        if s.failed:
            return
        self.stop_clean(s)
        s.system += 1
        s.write('other', flush=True)
        s.slot_file = Slot(len(s.wal))
        s.oldest = len(s.wal)
        self.start_server(s, recovery=False)

    def op_clock(self, s):
        # back by more than any epoch is apart
        self.clock = max(10 * SECOND, self.clock - self.random.randint(0, 40 * SECOND))

    def op_from_now(self, s):
        """The way out of a failure: the gap is named, the record forgotten."""
        if not s.failed:
            return
        t = s.table()
        to = s.slot.restart if s.slot else None     # None: where the new slot begins
        s.slot_made = s.slot is not None
        s.gaps.append((t.position if t.position is not None else 0, to))
        epochs = t.epochs
        if s.memory.run and to is not None and to >= s.memory.run[0] and \
                not self.broken('command-without-epoch'):
            epochs = self.new_epoch(s, to, epochs, s.memory.run[1])
            epochs = epochs[:-1] + ((to, epochs[-1][1]),)
        elif to is not None and self.broken('command-without-epoch'):
            s.commanded = to
        s.write('table', Table(to, NO_SYSTEM, epochs), flush=True)
        # what is in the queue is delivered all the same
        s.failed = None
        s.really_lost = False

    OPERATIONS = (['commit'] * 8 + ['many'] * 3 + ['message', 'message'] + ['flush'] * 3 + ['other'] * 2 +
                  ['decode'] * 10 + ['deliver'] * 8 + ['record'] * 4 +
                  ['pretend', 'restart_decoder', 'kill_decoder', 'alter', 'alter', 'crash', 'restart',
                   'copy', 'put_back', 'promote', 'slot_again', 'slot_gone', 'upgrade',
                   'clock', 'from_now', 'from_now'])

    # ---- judgement -------------------------------------------------------
    def drain(self, s):
        self.op_flush(s)
        for _ in range(10000):
            self.start_decoder(s)
            if s.failed:
                return
            moved = self.decode(s)
            if not moved and s.decoder:
                self.hand_over(s)
            moved |= self.deliver(s)
            if not moved:
                break
        self.record(s)

    def judge(self, s):
        while not s.loaded:
            self.op_restart(s)
        self.drain(s)
        if s.failed:
            self.op_from_now(s)
            self.drain(s)
        if s.begin is None:
            return
        ordered = []
        for at, record in enumerate(s.wal):
            if at < s.begin or any(low <= at < high for low, high in s.gaps):
                continue
            wanted = []
            if record.kind == 'message':
                wanted = [('b', record.data)]
            elif record.kind == 'commit':
                wanted = record.data
            for table, content in wanted:
                if table == 'b' and content not in self.ids:
                    raise Violation(f'loss: {content} at {at} of the history was never delivered')
                names = s.sent.get(content, ())
                if len(names) == 1 or content not in self.unsaid:
                    ordered += sorted(names)
        if ordered != sorted(ordered):
            raise Violation('order: ids do not ascend with the WAL')

    def play(self, steps):
        for _ in range(steps):
            self.clock += self.random.randint(0, SECOND // 4)
            s = self.server = self.random.choice(self.servers)
            getattr(self, 'op_' + self.random.choice(self.OPERATIONS))(s)
        for s in list(self.servers):
            self.judge(s)


def run(seed, mutation=None, steps=120):
    """None, or what was violated."""
    world = World(seed, mutation)
    try:
        world.play(steps)
    except Violation as violation:
        return str(violation)
    return None
