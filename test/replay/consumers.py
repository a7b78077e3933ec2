"""
Two consumers of a stream beside which tables are copied: one applies what comes
by arrival, one by id, each id once.  Their tables are to be those of the server.

    consumers.py EMULATOR STREAM EXPECTED [--by-id-only] [--table NAME ...] [--key COLUMN]

EMULATOR is the emulator's directory, the stream's format is json.  EXPECTED has
a line of JSON for each row: {"table": ..., "key": ..., "row": ...}.  Tables that
are not named by --table, if there is one, are left out.

There may be millions of events, so they are sorted in files beside EXPECTED, and
large values are kept as their hash.
"""
import argparse
import base64
import collections
import hashlib
import json
import os
import subprocess
import sys

LARGE = 40      # characters of a value's JSON that are kept as they are
HOLE = 'HOLE'

to_json = json.JSONEncoder(separators=(',', ':'), sort_keys=True).encode


def compact(value):
    if isinstance(value, str) and len(value) > LARGE:
        return f'{value[:8]}...{hashlib.blake2b(value.encode(), digest_size=12).hexdigest()}'
    text = to_json(value)
    if len(text) > LARGE:
        text = f'{text[:8]}...{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}'
    return text


def row_of(columns):
    return {name: compact(value) for name, value in columns.items()}


def key_of(columns):
    return ','.join(f'{name}={compact(value)}' for name, value in sorted(columns.items()))


def arrivals(directory, stream):
    """(number, data) of what was stored, in the order of the requests."""
    with open(os.path.join(directory, 'records.tsv'), 'rb') as file:
        for line in file:
            seq, name, index, state, _, data = line.rstrip(b'\n').split(b'\t', 5)
            if name.decode() == stream and state != b'R':
                yield f'{int(seq):012}{int(index):06}', base64.b64decode(data)


def write_events(path, args, counts):
    with open(path, 'w', encoding='utf-8') as file:
        for number, data in arrivals(args.emulator, args.stream):
            event = json.loads(data)
            op = event['op']
            if op in 'sm' or (args.table and event['table'] not in args.table):
                continue
            counts[op] += 1
            key, old = event.get('key'), event.get('before')
            if args.key:
                key, old = {args.key: event['after'][args.key]}, None
            fields = [op, event['table'], key and key_of(key), old and key and key_of(
                {name: old[name] for name in key}), row_of(event.get('after') or {}),
                event.get('unchanged', []), hashlib.blake2b(data, digest_size=8).hexdigest()]
            file.write(f'{event["id"]}\t{number}\t{to_json(fields)}\n')


def sort(path, key):
    subprocess.run(['sort', '-t', '\t', f'-k{key},{key}', '-k2,2', '-S', '256M',
                    '-T', os.path.dirname(path), '-o', path, path],
                   check=True, env={'LC_ALL': 'C', 'PATH': os.environ['PATH']})


def lines(path):
    with open(path, encoding='utf-8') as file:
        for line in file:
            yield line.rstrip('\n').split('\t', 2)


def keep_once(path, once):
    """The first arrival of each id, of events that are in the order of ids."""
    last = content = None
    with open(once, 'w', encoding='utf-8') as file:
        for name, number, fields in lines(path):
            if name != last:
                file.write(f'{name}\t{number}\t{fields}\n')
                last, content = name, fields
            elif fields != content:
                sys.exit(f'id {name} has two contents:\n{content}\n{fields}')


def apply(events):
    """Tables, as {name: {key: text of the row}}."""
    tables = collections.defaultdict(dict)
    for _, _, fields in events:
        op, name, key, old, row, unchanged, _ = json.loads(fields)
        table = tables[name]
        if op == 't':
            table.clear()
            continue
        if op == 'd':
            table.pop(key, None)
            continue
        if unchanged:
            # a row of the new key that is there already is newer than this change
            before = json.loads(table.get(key) or table.get(old or key) or '{}')
            for column in unchanged:
                row[column] = before.get(column, HOLE)
        if old is not None and old != key:
            table.pop(old, None)
        table[key] = to_json(row)
    return tables


def compare(name, tables, expected):
    """Takes the rows out of the tables."""
    wanted = different = 0
    found = sum(map(len, tables.values()))
    wrong = collections.Counter()

    def differs(table, key, row, there):
        nonlocal different
        different += 1
        wrong[table] += 1
        if different <= 5:
            print(f'{name}: {table} {key} is {row}, not {there}')

    with open(expected, encoding='utf-8') as file:
        for line in file:
            item = json.loads(line)
            table, key, row = item['table'], key_of(item['key']), to_json(row_of(item['row']))
            wanted += 1
            there = tables[table].pop(key, None)
            if there != row:
                differs(table, key, there, row)
    for table, rows in tables.items():
        for key, row in rows.items():
            differs(table, key, row, None)
    print(f'{name}: {found} rows, {different} of {wanted} differ'
          + ''.join(f', {n} in {table}' for table, n in sorted(wrong.items())))
    return not different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('emulator')
    parser.add_argument('stream')
    parser.add_argument('expected')
    parser.add_argument('--by-id-only', action='store_true')
    parser.add_argument('--key')
    parser.add_argument('--table', action='append', default=[])
    args = parser.parse_args()
    events, once = args.expected + '.events', args.expected + '.once'
    counts = collections.Counter()
    try:
        write_events(events, args, counts)
        print(dict(counts))
        sort(events, 1)
        keep_once(events, once)
        os.unlink(events)
        equal = compare('by id', apply(lines(once)), args.expected)
        if not args.by_id_only:
            sort(once, 2)
            equal &= compare('by arrival', apply(lines(once)), args.expected)
    finally:
        for path in events, once:
            if os.path.exists(path):
                os.unlink(path)
    sys.exit(0 if equal else 1)


if __name__ == '__main__':
    main()
