"""What an emulator stored of a pipeline's records, and what is wrong with it."""
import base64
import bisect
import json
import os
import re

ID = re.compile(r'^([0-9A-F]{12})-([0-9A-F]{16})-([0-9A-Fa-f]{8})$')


class Number(str):
    """A JSON number as it was written."""


class Members(list):
    """A JSON object as a list of (key, value), duplicates and order kept."""

    def as_dict(self):
        return dict(self)


def parse(text):
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number,
                      object_pairs_hook=Members)


def lsn_number(text):
    high, low = text.split('/')
    return (int(high, 16) << 32) + int(low, 16)


class Delivery:
    """One arrival of a record."""

    def __init__(self, request, state, data, end):
        self.request = request
        self.state = state      # as records.tsv has it: A, U or R
        self.data = data
        self.end = end          # offset in records.tsv behind its line


class Event:
    """An event, of which only what orders it is kept parsed: there may be a million."""
    __slots__ = ('data', 'id', 'source', 'op', 'table', 'lsn', 'seq', 'places', 'well_formed')

    def __init__(self, data):
        self.data = data
        fields = self.fields
        self.id, self.source, self.op = fields['id'], fields['source'], fields['op']
        self.table = (fields.get('schema'), fields.get('table'))
        self.places = 2 if self.op == 'u' and 'before' in fields else 1
        match = ID.match(self.id)
        self.lsn = lsn_number(fields['lsn'])
        self.seq = int(fields['seq'])
        self.well_formed = bool(match) and int(match[2], 16) == self.lsn and \
            int(match[3], 16) == self.seq


    @property
    def fields(self):
        return parse(self.data.decode()).as_dict()


class Log:
    def __init__(self, deliveries, replied):
        self.deliveries = deliveries
        self.replied = replied      # requests whose reply left
        self.duplicates = 0
        self.acknowledged = {}      # id: offset of the first acknowledged arrival

    def events(self, findings):
        """Distinct events by id, ordered."""
        first = {}
        for delivery in self.deliveries:
            if delivery.state == 'R':
                continue
            try:
                event = Event(delivery.data)
            except (ValueError, KeyError, AttributeError) as error:
                findings.append(f'not an event ({error}): {delivery.data[:200]!r}')
                continue
            if not event.well_formed:
                findings.append(f'id does not match lsn and seq: {delivery.data[:200]!r}')
            key = (event.source, event.id)
            if key in first:
                self.duplicates += 1
                if first[key].data != delivery.data:
                    findings.append(f'duplicates differ: {first[key].data[:300]!r} '
                                    f'and {delivery.data[:300]!r}')
            else:
                first[key] = event
            if delivery.state == 'A' and delivery.request in self.replied:
                self.acknowledged.setdefault(event.id, delivery.end)
        sources = {source for source, _ in first}
        if len(sources) > 1:
            findings.append(f'events of several sources: {sorted(sources)}')
        self.sorted_events = sorted(first.values(), key=lambda event: event.id)
        return self.sorted_events

    def check_order(self, findings):
        """First attempts, stored or not, come in the order of the ids."""
        seen = set()
        highest = ''
        for delivery in self.deliveries:
            event_id = Event(delivery.data).id
            if event_id in seen:
                continue
            seen.add(event_id)
            if event_id < highest:
                findings.append(f'{event_id} came after {highest}')
            highest = max(highest, event_id)

    def check_positions(self, path, findings):
        """
        A position that was confirmed when records.tsv had a certain size: all
        records of commits before it were acknowledged within that size.
        """
        lsns = []
        offsets = []                # the furthest of all up to here
        furthest = 0
        for event in sorted(self.sorted_events, key=lambda event: event.lsn):
            furthest = max(furthest, self.acknowledged.get(event.id, float('inf')))
            lsns.append(event.lsn)
            offsets.append(furthest)
        seen = 0
        with open(path, encoding='ascii') as file:
            for line in file:
                fields = line.split()
                if len(fields) != 2:
                    continue        # cut short by a crash
                seen += 1
                position, size = lsn_number(fields[0]), int(fields[1])
                n = bisect.bisect_left(lsns, position)
                if n > 0 and offsets[n - 1] > size:
                    findings.append(f'{fields[0]} was confirmed when records.tsv had {size} '
                                    f'bytes; an earlier record was acknowledged at {offsets[n - 1]}')
        return seen


def check_transactions(events, findings):
    """
    Every transaction that arrived is whole: its events are numbered from 1, where
    an update with its old row takes two numbers.
    """
    last, count = None, 0
    for event in events:
        transaction = event.id[:29]
        count = count + 1 if transaction == last else 1
        last = transaction
        if event.seq != count:
            findings.append(f'{event.id} comes where number {count} of its transaction should be')
            count = event.seq
        count += event.places - 1


def read(directory, streams):
    deliveries = []
    offset = 0
    with open(os.path.join(directory, 'records.tsv'), 'rb') as file:
        for line in file:
            offset += len(line)
            fields = line.rstrip(b'\n').split(b'\t', 5)
            if fields[1].decode() in streams:
                deliveries.append(Delivery(int(fields[0]), fields[3].decode(),
                                           base64.b64decode(fields[5]), offset))
    replied = set()
    with open(os.path.join(directory, 'journal.ndjson'), 'rb') as file:
        for line in file:
            request = json.loads(line)
            if request['reply_sent']:
                replied.add(request['seq'])
    return Log(deliveries, replied)
