"""The tally: what became of each committed record.

A first pass over the journal counts arrivals by key. Only if there are more
arrivals than commits does a second one look at the times of the surplus, to
tell a resend that had to be (no acknowledgement had gone out) from one that
had not.
"""

import array
import collections

from .journal import NEVER

ACCEPTED = (b"A", b"U")


class Result:
    """Counts, and examples of each kind of finding.

    lost            committed records that never arrived
    excused         of the missing ones, those that are elsewhere (the dead
                    letters, say)
    phantom         arrivals of what was never committed
    corrupt         arrivals of a committed key with other bytes
    resent_unacknowledged  surplus arrivals; none of an acknowledged record
    resent_acknowledged    surplus arrivals of a record that was acknowledged
                           before the request began
    unconfirmed     records that arrived but were never acknowledged
    disordered      first attempts that come after a later record's
    """

    KINDS = ("lost", "excused", "phantom", "corrupt",
             "resent_unacknowledged", "resent_acknowledged", "unconfirmed",
             "disordered")

    def __init__(self, examples):
        self.committed = 0
        self.requests = 0
        self.arrived = 0
        self.acknowledged = 0
        self.refused = 0
        self.counts = dict.fromkeys(self.KINDS, 0)
        self.examples = {kind: [] for kind in self.KINDS}
        self._room = examples

    def add(self, kind, example, count=1):
        self.counts[kind] += count
        if len(self.examples[kind]) < self._room:
            self.examples[kind].append(example)


class Tally:
    """Everything known of each key, by its number in committed order."""

    def __init__(self, keys, examples=5):
        self._keys = keys
        self._number = {}           # key -> number
        self._committed = array.array("l")
        self._elsewhere = array.array("l")
        self._arrived = array.array("l")
        self._acknowledged = array.array("l")
        self._hash = array.array("q")   # of the bytes, if known
        self._hash_known = bytearray()
        self.result = Result(examples)

    # -- what should be there

    def commit(self, records):
        """Take the committed records, in commit order."""
        for key, data, stream in records:
            number = self._number_of(
                self._keys.of_committed(key, data, stream))
            self._committed[number] += 1
            self.result.committed += 1
            if data is not None and not self._hash_known[number]:
                self._hash[number] = hash(data)
                self._hash_known[number] = 1

    def excuse(self, records):
        """Take records that may be missing, being elsewhere."""
        for key, data, stream in records:
            number = self._number.get(
                self._keys.of_committed(key, data, stream))
            if number is not None:
                self._elsewhere[number] += 1

    def _number_of(self, key):
        number = self._number.setdefault(key, len(self._number))
        if number == len(self._committed):
            for column in (self._committed, self._elsewhere, self._arrived,
                           self._acknowledged, self._hash):
                column.append(0)
            self._hash_known.append(0)
        return number

    # -- what is there

    def compare(self, journal, ordered=False):
        """Compare with a journal; return the result."""
        self.result.requests = len(journal.requests)
        self._count(journal, ordered)
        surplus = self._missing_and_surplus()
        if surplus:
            self._judge_resends(journal, surplus)
        return self.result

    def _count(self, journal, ordered):
        """First pass: count arrivals, check bytes and order."""
        result = self.result
        find = self._number.get
        of_arrived = self._keys.of_arrived
        check_bytes = self._keys.by_regex
        seen = bytearray(len(self._committed))
        latest = collections.defaultdict(int)
        last_seq = replied = None
        for seq, stream, state, payload in journal.records():
            if seq != last_seq:
                last_seq, replied = seq, journal.replied(seq)
            accepted = state in ACCEPTED
            acknowledged = state == b"A" and replied < NEVER
            for key, data in of_arrived(payload, stream):
                number = find(key)
                if ordered and number is not None and not seen[number]:
                    seen[number] = 1
                    if number < latest[stream]:
                        result.add("disordered", _show(data))
                    else:
                        latest[stream] = number
                if not accepted:
                    result.refused += 1
                    continue
                result.arrived += 1
                result.acknowledged += acknowledged
                if number is None:
                    result.add("phantom", _show(data))
                    continue
                self._arrived[number] += 1
                self._acknowledged[number] += acknowledged
                if check_bytes:
                    self._check_bytes(number, data)

    def _check_bytes(self, number, data):
        """The bytes are the committed ones, or at least always the same."""
        if not self._hash_known[number]:
            self._hash[number] = hash(data)
            self._hash_known[number] = 1
        elif self._hash[number] != hash(data):
            self.result.add("corrupt", _show(data))

    def _missing_and_surplus(self):
        """Count the lost; return {number: key} of those with too many."""
        result = self.result
        surplus = {}
        for key, number in self._number.items():
            missing = self._committed[number] - self._arrived[number]
            if missing < 0:
                surplus[number] = key
            elif missing:
                excused = min(missing, self._elsewhere[number])
                example = f"record {number + 1}: {_show(key)}"
                if excused:
                    result.add("excused", example, excused)
                if missing > excused:
                    result.add("lost", example, missing - excused)
            if self._arrived[number] and not self._acknowledged[number]:
                result.add("unconfirmed", _show(key))
        return surplus

    def _judge_resends(self, journal, surplus):
        """Second pass: were the surplus arrivals excusable?"""
        arrivals = collections.defaultdict(list)
        for seq, stream, state, payload in journal.records():
            if state not in ACCEPTED:
                continue
            for key, data in self._keys.of_arrived(payload, stream):
                number = self._number.get(key)
                if number in surplus:
                    replied = journal.replied(seq) if state == b"A" else NEVER
                    arrivals[number].append(
                        (journal.started(seq), replied, seq, data))
        for number, events in arrivals.items():
            due = self._committed[number]
            needless = 0
            for place, (started, _, seq, data) in enumerate(events):
                # An unfinished request tells no times: its place must do.
                rivals = events[:place] if started == NEVER else events
                earlier = sum(replied < started
                              for _, replied, _, _ in rivals)
                if earlier >= due:
                    needless += 1
                    self.result.add("resent_acknowledged",
                                    f"request {seq}: {_show(data)}")
            excusable = len(events) - due - needless
            if excusable:
                self.result.add(
                    "resent_unacknowledged",
                    f"{len(events)} times: {_show(events[0][3])}", excusable)


def _show(data, limit=100):
    """Data for a human, in one line."""
    text = ascii(data.decode("utf-8", "backslashreplace"))
    return text if len(text) <= limit else text[:limit] + "..."
