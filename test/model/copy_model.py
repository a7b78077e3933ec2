"""
A model of the copy of a table that is made beside the stream of its changes.

A server whose transactions write their commit record first and become visible
later; a decoder that reads the WAL and, between two transactions, chunks of the
table; entries that are delivered and confirmed; crashes, after which it goes on
from what was confirmed; and ends of the decoder alone, which leave what it has
handed over to the queue, and how far that is, to the next one.  Rows have a value, a large value that an update may
leave alone and the WAL then leaves out, a key that may change, and a place that
any update may change.  Some transactions change rows while the table has another
key, and do not tell the decoder which of them they move.

Two consumers apply what arrives, each id once: one in the order of arrival (if
the stream keeps that), one in the order of ids.  At the end both have the table,
and no row lacks its large value.

A rule that is broken on purpose (MUTATIONS) has to be found.
"""
import random
from dataclasses import dataclass, field

KEYS = range(12)
BLOCKS = 6
CHUNK = 3
INFINITE = float('inf')
HOLE = 'hole'

MUTATIONS = {
    'no-wait': 'a chunk does not wait for what has its commit record and is not visible',
    'decoded-past': 'a chunk goes on though the stream has passed its position meanwhile',
    'block-order': 'a table with a key is read in the order of its blocks',
    'flag-left-set': 'VACUUM passes over the process that reads a chunk',
    'id-after-snapshot': 'the position of a chunk is taken after its snapshot',
    'moved-not-read': 'rows whose key changes without their large value are not read again',
    'moved-not-held': 'the slot passes such a change before its row was read again',
    'chain-not-followed': 'once all is read, a row that waits to be read again may move on unnoted',
    'reread-forgotten': 'the same of a row that was read again by a snapshot that saw it move on',
    'ended-early': 'the copy has ended before the stream has come to its last chunk',
    'progress-at-reading': 'progress is noted when a chunk is read, not when it is delivered',
    'restart-after-moved': 'the next decoder does not begin before what has moved rows unread',
    'restart-confirms-moved': 'it confirms such changes before it comes past them again',
    'restart-forgets-flight': 'it forgets which moved rows are in chunks that are under way',
    'restart-counts-unqueued': 'it goes on after a chunk that was never handed over',
    'other-key-ignored': 'changes under another key that leave values out do not matter',
    'anew-not-held': 'the slot passes them before it is noted that the table is read anew',
    'anew-counts-flight': 'a chunk of the reading that was given up counts for the new one',
    'deferred-overtaken': 'the stream passes the position of a chunk that waits to be handed over',
    'deferred-counts-later': 'rows that were moved while a chunk waits count as read by it',
    'stale-ignored': 'moves before the first chunk of a reading do not matter, since it sees them',
}


@dataclass
class Row:
    value: int
    large: int
    block: int


@dataclass
class Entry:
    """Of the commit ring: what is to be noted when it is the oldest and done."""
    events: list
    upto: int
    cursor: int = None
    moved: tuple = ()


@dataclass
class Chunk:
    position: float             # below it all commits are visible to the snapshot
    waits: set
    snapshot: dict = None
    mark: int = 0               # written after the snapshot
    moved: int = 0              # how many moved rows it has read


@dataclass
class Copy:
    cursor: int = -1            # keys, or blocks, up to this are read
    read: bool = False          # all of them are
    end: int = 0                # commits before this may have moved rows unread
    done: bool = False
    moved: list = field(default_factory=list)   # [(position of the first change, key)]
    reread: list = field(default_factory=list)  # the same, with where it was read first
    given_up: list = field(default_factory=list)    # moved rows of a reading before this one
    lost: bool = False          # not all is noted: the table is to be read anew
    begun: float = 0            # all chunks of the reading see the commits before this
    chunk: Chunk = None


class World:
    def __init__(self, seed, mutation=None):
        self.random = random.Random(seed)
        self.mutation = mutation
        self.strict = self.random.random() < 0.5
        self.serial = 0
        self.wal = []           # (transaction, changes); or None: written by a chunk
        self.table = {}         # as new snapshots see it
        self.limbo = {}         # transaction: changes; committed and not visible
        self.locked = set()
        self.clients = []       # transactions whose changes are made, not committed
        self.arrived = []       # (id, event)
        self.confirmed = 0
        self.noted = -1, False, 0       # progress, durably
        self.copied = False
        for key in KEYS:
            if self.random.random() < 0.6:
                self.table[key] = self.new_row()
        self.start_decoder()

    def broken(self, mutation):
        return self.mutation == mutation

    def new_row(self):
        self.serial += 1
        return Row(self.serial, self.serial, self.random.randrange(BLOCKS))

    # ---- clients ---------------------------------------------------------
    def op_change(self):
        """A transaction makes its changes, on rows that no other one holds."""
        changes, table, held = [], dict(self.table), set()
        other_key = self.random.random() < 0.04
        for _ in range(self.random.randint(1, 3)):
            change = self.make_change(table, held, other_key)
            if change:
                changes.append(change)
        if changes:
            self.locked |= held
            self.clients.append((changes, held))

    def make_change(self, table, held, other_key):
        free = [k for k in KEYS if k not in self.locked]
        present = [k for k in free if k in table]
        absent = [k for k in free if k not in table]
        kind = self.random.choice('iuuumd')
        self.serial += 1
        if kind == 'i' and absent:
            key = self.random.choice(absent)
            table[key] = self.new_row()
            held.add(key)
            return ('c', key, key, table[key].value, table[key].large)
        if kind in 'um' and present:
            old = self.random.choice(present)
            key = self.random.choice(absent) if kind == 'm' and absent else old
            row = table.pop(old)
            large = self.serial if self.random.random() < 0.2 else row.large
            block = row.block if self.random.random() < 0.5 else self.random.randrange(BLOCKS)
            table[key] = Row(self.serial, large, block)
            held |= {old, key}
            return ('u', old, key, self.serial, None if large == row.large else large, table[key],
                    other_key)
        if kind == 'd' and present:
            key = self.random.choice(present)
            del table[key]
            held.add(key)
            return ('d', key, key, None, None)
        return None

    def op_commit(self):
        """The commit record; the transaction is not visible yet."""
        if self.clients:
            changes, held = self.clients.pop(self.random.randrange(len(self.clients)))
            self.wal.append(changes)
            self.limbo[len(self.wal) - 1] = changes, held

    def op_appear(self):
        if self.limbo:
            self.appear(self.random.choice(list(self.limbo)))

    def appear(self, commit):
        changes, held = self.limbo.pop(commit)
        for op, old, key, value, large, *row in changes:
            if op == 'd':
                del self.table[key]
            elif op == 'c':
                self.table[key] = Row(value, large, self.random.randrange(BLOCKS))
            else:
                self.table.pop(old)
                self.table[key] = row[0]
        self.locked -= held

    # ---- decoder ---------------------------------------------------------
    def start_decoder(self):
        self.at = self.queued = self.confirmed
        self.ring = []
        self.begin(*self.noted)
        self.left_hold, self.begin_at, self.unnoted = [], 0, False

    def begin(self, cursor, read, end):
        self.copy = Copy(cursor, read, end, self.copied)
        if cursor == -1 and not read:
            self.copy.begun = INFINITE

    def moved_hold(self):
        """What the next decoder has to come past again."""
        hold = [at for at, _ in self.copy.moved] + [at for _, at, _ in self.copy.reread]
        if not self.broken('anew-not-held'):
            hold += self.copy.given_up
        if self.at < self.begin_at and not self.broken('restart-confirms-moved'):
            hold += self.left_hold
        return hold

    def op_restart(self):
        """The decoder ends, and another one goes on after what was handed over."""
        copy, hold = self.copy, self.moved_hold()
        under_way = [e for e in self.ring if e.cursor is not None]
        cursor, read, end = under_way[-1].cursor if under_way else self.noted
        if self.broken('restart-counts-unqueued') and copy.chunk and copy.chunk.snapshot:
            self.read_next(copy, copy.chunk.snapshot)
            cursor = copy.cursor
        if self.broken('restart-forgets-flight'):
            for entry in self.ring:
                entry.moved = ()
        if not self.broken('restart-after-moved'):
            self.queued = min([self.queued] + hold)
        self.at = self.queued
        self.begin(cursor, read, end)
        self.left_hold, self.begin_at, self.unnoted = hold, len(self.wal), False

    def op_crash(self):
        """Of the decoder and all that it had handed over."""
        self.start_decoder()

    def op_decode(self):
        chunk = self.copy.chunk
        for _ in range(self.random.choice((1, 2, 3, len(self.wal)))):
            if self.at == len(self.wal):
                return
            if chunk and chunk.snapshot is not None and self.at >= chunk.position and \
                    not self.broken('deferred-overtaken'):
                return
            events = []
            for seq, change in enumerate(self.wal[self.at] or []):
                events.append(((self.at, seq), change[:5]))
                self.note_moved(change)
            self.at += 1
            self.copy.reread = [r for r in self.copy.reread if r[0] > self.at]
            self.hand_over(Entry(events, self.at))

    def note_moved(self, change):
        op, old, key, _, large, *rest = change
        copy = self.copy
        if op != 'u' or large is not None or copy.done or copy.lost or \
                self.broken('moved-not-read') or \
                (self.broken('stale-ignored') and self.at < copy.begun):
            return
        if rest[1]:
            if not self.broken('other-key-ignored'):
                copy.given_up = self.moved_hold() + [self.at]
                copy.moved, copy.reread, copy.lost = [], [], True
            return
        if old == key:
            return
        first = self.at
        if copy.read and self.at >= copy.end:
            # only rows that wait themselves; or it would not end under any traffic
            before = [f for f, k in copy.moved if k == old] + [f for _, f, k in copy.reread if k == old]
            if not before or self.broken('chain-not-followed'):
                return
            first = before[0]
        if key not in [k for _, k in copy.moved]:   # else the note that is there will do
            copy.moved.append((first, key))

    def read_anew(self):
        """Rows may have been moved that are not noted: from the beginning."""
        copy = self.copy
        copy.given_up = self.moved_hold() + [self.at] + [at for e in self.ring for at, _ in e.moved]
        for entry in self.ring:
            entry.moved = ()
            if not self.broken('anew-counts-flight'):
                entry.cursor = None
        copy.cursor, copy.read, copy.end = -1, False, 0
        copy.lost, copy.begun = False, INFINITE
        self.unnoted = True

    def op_note(self):
        """That the table is read anew is noted durably."""
        if self.unnoted:
            self.noted = -1, False, 0
            self.copy.given_up, self.unnoted = [], False

    def hand_over(self, entry):
        self.queued = self.at
        self.ring.append(entry)

    def op_chunk(self):
        copy = self.copy
        if copy.done or self.at < self.begin_at:
            return
        if copy.lost:
            copy.chunk = None
            self.read_anew()
        if copy.read and not copy.moved and copy.chunk is None:
            if (self.at >= copy.end or self.broken('ended-early')) and not self.ring and not copy.reread:
                copy.done = self.copied = True
            return
        if copy.chunk is None:
            self.wal.append(None)
            copy.chunk = Chunk(len(self.wal) - 1, set(self.limbo))
            if self.random.random() < 0.5:
                return
        if copy.chunk.snapshot is None:
            if self.at > copy.chunk.position + 1 and not self.broken('decoded-past'):
                copy.chunk = None       # what was decoded may not be visible: anew
                return
            if copy.chunk.waits & set(self.limbo) and not self.broken('no-wait'):
                return
            copy.chunk.snapshot = dict(self.table)
            copy.chunk.moved = len(copy.moved)
            self.wal.append(None)
            copy.chunk.mark = len(self.wal)
            if self.random.random() < 0.5:
                return
        self.read_chunk(copy)

    def read_chunk(self, copy):
        chunk, copy.chunk = copy.chunk, None
        if self.broken('id-after-snapshot'):
            chunk.position = chunk.mark - 1
        if copy.begun == INFINITE:
            copy.begun = chunk.position
        rows = {k: r for k, r in chunk.snapshot.items()
                if not self.broken('flag-left-set') or self.table.get(k) is r or
                self.random.random() < 0.5}
        n = len(copy.moved) if self.broken('deferred-counts-later') else chunk.moved
        moved, copy.moved = tuple(copy.moved[:n]), copy.moved[n:]
        if not self.broken('reread-forgotten'):
            copy.reread += [(chunk.mark, first, key) for first, key in moved]
        wanted = [k for k in sorted({k for _, k in moved[:chunk.moved]}) if k in rows]
        if not copy.read:
            wanted += self.read_next(copy, rows)
            if copy.read:
                copy.end = chunk.mark
        events = [((chunk.position, seq), ('r', k, k, rows[k].value, rows[k].large))
                  for seq, k in enumerate(wanted)]
        self.hand_over(Entry(events, self.at, (copy.cursor, copy.read, copy.end), moved))
        if self.broken('progress-at-reading'):
            self.noted = self.ring[-1].cursor

    def read_next(self, copy, rows):
        if self.broken('block-order'):
            copy.cursor += 1
            copy.read = copy.cursor >= BLOCKS - 1
            return [k for k, r in rows.items() if r.block == copy.cursor]
        wanted = sorted(k for k in rows if k > copy.cursor)
        copy.read = len(wanted) <= CHUNK
        wanted = wanted[:CHUNK]
        copy.cursor = wanted[-1] if wanted else copy.cursor
        return wanted

    def op_deliver(self):
        waiting = [e for e in self.ring if e.events]
        if waiting:
            entry = waiting[0] if self.strict else self.random.choice(waiting)
            n = self.random.randint(1, len(entry.events))
            self.arrived += entry.events[:n]
            del entry.events[:n]

    def op_confirm(self):
        while self.ring and not self.ring[0].events:
            entry = self.ring.pop(0)
            self.confirm(entry)

    def confirm(self, entry):
        held = self.moved_hold() + [at for e in self.ring for at, _ in e.moved]
        upto = entry.upto
        if not self.broken('moved-not-held'):
            upto = min([upto] + held)
        self.confirmed = max(self.confirmed, upto)
        if entry.cursor is not None:
            self.noted = entry.cursor
            if not self.copy.lost:
                self.copy.given_up, self.unnoted = [], False

    OPERATIONS = (['change'] * 8 + ['commit'] * 8 + ['appear'] * 7 + ['decode'] * 8 +
                  ['chunk'] * 8 + ['deliver'] * 10 + ['confirm'] * 6 + ['note', 'crash', 'restart'])

    # ---- judgement -------------------------------------------------------
    def finish(self):
        while self.clients:
            self.op_commit()
        for commit in list(self.limbo):
            self.appear(commit)
        for _ in range(1000):
            self.op_decode()
            self.op_chunk()
            while any(e.events for e in self.ring):
                self.op_deliver()
            self.op_confirm()
            self.op_note()
            if self.copy.done and self.at == len(self.wal) and not self.ring:
                return
        raise AssertionError('the copy does not end')

    def judge(self):
        wanted = {k: (r.value, r.large) for k, r in self.table.items()}
        once = list(dict(self.arrived).items())
        if len(once) != len({e for e, _ in self.arrived}) or \
                any(dict(once)[e] != c for e, c in self.arrived):
            return 'an id has two contents'
        if apply(sorted(once)) != wanted:
            return f'by id: {apply(sorted(once))} is not {wanted}'
        if self.strict and apply(first_of(self.arrived)) != wanted:
            return f'by arrival: {apply(first_of(self.arrived))} is not {wanted}'
        return None

    def play(self, steps):
        for _ in range(steps):
            getattr(self, 'op_' + self.random.choice(self.OPERATIONS))()
        self.finish()
        return self.judge()


def first_of(arrived):
    """Each id once, as it came first."""
    seen = {}
    for name, change in arrived:
        seen.setdefault(name, change)
    return list(seen.items())


def apply(events):
    """What a consumer has in the end."""
    table = {}
    for _, (op, old, key, value, large) in events:
        if op in 'cr':
            table[key] = value, large
        elif op == 'd':
            table.pop(key, None)
        else:
            # a row of the new key that is there already is newer than this change
            before = table.get(key) or table.get(old) or (None, HOLE)
            if key != old:
                table.pop(old, None)
            table[key] = value, before[1] if large is None else large
    return table


def run(seed, mutation=None, steps=150):
    """None, or what is wrong."""
    try:
        return World(seed, mutation).play(steps)
    except AssertionError as error:
        return str(error)
