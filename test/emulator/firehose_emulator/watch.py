"""What the page shows: rates, the last records, and what was refused.

Only the last of everything is kept, and little of each record, so that this
stays small whatever arrives; the journal (store.py) keeps all.
"""

import collections

SECONDS = 120       # of a stream's rates
STREAMS = 100       # those that were heard of last
RECORDS = 100
REFUSALS = 100
PER_CALL = 25       # records that one call adds at most
DATA = 300          # bytes of a record
TEXT = 300          # characters of a message

ACCEPTED = "A"      # as in store.py
UNSAID = "U"


class Rates:
    """Records of a stream, by second."""

    def __init__(self):
        self._seconds = [0] * SECONDS       # that a place is about
        self._counts = [(0, 0)] * SECONDS   # accepted, refused

    def add(self, second, accepted, refused):
        place = second % SECONDS
        if self._seconds[place] == second:
            before = self._counts[place]
            accepted += before[0]
            refused += before[1]
        self._seconds[place] = second
        self._counts[place] = (accepted, refused)

    def report(self, now):
        """Two lists, accepted and refused, the last whole second last."""
        pairs = []
        for second in range(now - SECONDS, now):
            place = second % SECONDS
            pairs.append(self._counts[place]
                         if self._seconds[place] == second else (0, 0))
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class Watch:
    """The last of what happened, numbered in order of arrival.

    cleared  how often everything was forgotten
    """

    def __init__(self):
        self.cleared = 0
        self.number = 0
        self._rates = collections.OrderedDict()
        self._records = collections.deque(maxlen=RECORDS)
        self._refusals = collections.deque(maxlen=REFUSALS)

    def clear(self):
        self.cleared += 1
        self._rates.clear()
        self._records.clear()
        self._refusals.clear()

    # -- called by the rooms where it happens

    def stored(self, now, stream, states, words, raws):
        """A call's records: a letter and a record id or an error each."""
        first = max(0, len(raws) - PER_CALL)
        for state, word, raw in zip(states[first:], words[first:],
                                    raws[first:]):
            self.number += 1
            self._records.append((
                self.number, now, stream, state,
                None if state in (ACCEPTED, UNSAID) else word, len(raw),
                bytes(raw[:DATA])))

    def finished(self, now, stream, accepted, refused):
        """Count a call's records."""
        rates = self._rates.get(stream)
        if rates is None:
            rates = self._rates[stream] = Rates()
            if len(self._rates) > STREAMS:
                self._rates.popitem(last=False)
        self._rates.move_to_end(stream)
        rates.add(int(now), accepted, refused)

    def refused(self, now, stream, records, reason, message, fault):
        """Something was refused, or its reply never came whole."""
        self.number += 1
        self._refusals.append((self.number, now, stream, records, reason,
                               message, fault))

    # -- called by the page

    def records_after(self, number):
        return [{"number": entry[0], "time": entry[1],
                 "stream": plain(entry[2]), "state": entry[3],
                 "error": plain(entry[4]), "bytes": entry[5],
                 "data": plain(entry[6].decode("utf-8", "backslashreplace"),
                               DATA),
                 "cut": entry[5] > DATA}
                for entry in self._records if entry[0] > number]

    def refusals_after(self, number):
        return [{"number": entry[0], "time": entry[1],
                 "stream": plain(entry[2]), "records": entry[3],
                 "reason": plain(entry[4]), "message": plain(entry[5]),
                 "fault": plain(entry[6])}
                for entry in self._refusals if entry[0] > number]

    def rates(self, now):
        """Rates by stream, those heard of last first."""
        return {name: rates.report(int(now))
                for name, rates in reversed(self._rates.items())}


def plain(text, length=TEXT):
    """A text without characters that are not what they seem, and not long.

    Control characters and those that turn the direction of what follows are
    written as escapes.
    """
    if text is None:
        return None
    text = str(text)[:length]
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable()
        else character.encode("unicode_escape", "replace").decode()
        for character in text)
