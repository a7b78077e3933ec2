"""
Two consumers of a stream beside which a table is copied: one applies what comes
by arrival, one by id, each id once.  Their tables are to be that of the server.

    consumers.py RECORDS EXPECTED [--by-id-only]

RECORDS has a record of format json a line, in the order of arrival; EXPECTED
a line of JSON for each row: {"key": ..., "row": ...}.  All of one table.
"""
import json
import sys


def key_of(columns):
    return json.dumps(columns, sort_keys=True)


def apply(events):
    table = {}
    for event in events:
        op = event['op']
        if op == 't':
            table = {}
            continue
        key = key_of(event['key'])
        if op == 'd':
            table.pop(key, None)
            continue
        old = key_of(event['before']) if event.get('before') else key
        # a row of the new key that is there already is newer than this change
        before = table.get(key) or table.get(old) or {}
        if old != key:
            table.pop(old, None)
        row = dict(event['after'])
        for column in event.get('unchanged', []):
            row[column] = before.get(column, 'HOLE')
        table[key] = row
    return table


def once(events):
    seen = {}
    for event in events:
        first = seen.setdefault(event['id'], event)
        if first != event:
            sys.exit(f'id {event["id"]} has two contents:\n{first}\n{event}')
    return list(seen.values())


def compare(name, table, expected):
    different = [k for k in table.keys() | expected.keys() if table.get(k) != expected.get(k)]
    for key in different[:5]:
        print(f'{name}: {key} is {str(table.get(key))[:300]}, not {str(expected.get(key))[:300]}')
    print(f'{name}: {len(table)} rows, {len(different)} of {len(expected)} differ')
    return not different


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        events = once([json.loads(line) for line in file])
    with open(sys.argv[2], encoding='utf-8') as file:
        expected = {key_of(r['key']): r['row'] for r in map(json.loads, file)}
    counts = {}
    for event in events:
        counts[event['op']] = counts.get(event['op'], 0) + 1
    print(counts)
    equal = compare('by id', apply(sorted(events, key=lambda e: e['id'])), expected)
    if '--by-id-only' not in sys.argv:
        equal &= compare('by arrival', apply(events), expected)
    sys.exit(0 if equal else 1)


if __name__ == '__main__':
    main()
