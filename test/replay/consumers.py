"""
Two consumers of a stream beside which tables are copied: one applies what comes
by arrival, one by id, each id once.  Their tables are to be those of the server.

    consumers.py EMULATOR STREAM EXPECTED [--by-id-only] [--table NAME ...] [--key COLUMN]

EMULATOR is the emulator's directory, the stream's format is json.  EXPECTED has
a line of JSON for each row: {"table": ..., "key": ..., "row": ...}.  Tables that
are not named by --table, if there is one, are left out.

There may be millions of events, so they are read by several processes, sorted in
files beside EXPECTED, and large values are kept as their hash.
"""
import argparse
import base64
import collections
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys

LARGE = 40      # characters of a value's JSON that are kept as they are
HOLE = 'HOLE'
PARTS = 4       # of a file, each read by a process
LEAST_PART = 1 << 20

to_json = json.JSONEncoder(separators=(',', ':')).encode
quote = json.encoder.encode_basestring_ascii


def shorten(text, start):
    return f'{start[:8]}...{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}'


def compact(value):
    if isinstance(value, str) and len(value) > LARGE:
        return shorten(value, value)
    text = to_json(value)
    return text if len(text) <= LARGE else shorten(text, text)


def text_of(columns):
    """Of the values of columns that are compact."""
    return '{' + ','.join([f'{quote(name)}:{quote(value)}'
                           for name, value in sorted(columns.items())]) + '}'


def row_of(columns):
    return text_of({name: compact(value) for name, value in columns.items()})


def key_of(columns):
    return quote(','.join([f'{name}={compact(value)}' for name, value in sorted(columns.items())]))


def part_lines(path, part, parts):
    """The lines of a file that begin in this part of it."""
    size = os.path.getsize(path)
    at, end = size * part // parts, size * (part + 1) // parts
    with open(path, 'rb') as file:
        if at > 0:
            file.seek(at - 1)
            at += len(file.readline()) - 1
        while at < end:
            line = file.readline()
            at += len(line)
            yield line


def arrivals(args, part, parts):
    """(number, data) of what was stored."""
    name = args.stream.encode()
    for line in part_lines(os.path.join(args.emulator, 'records.tsv'), part, parts):
        seq, stream, index, state, _, data = line.rstrip(b'\n').split(b'\t', 5)
        if stream == name and state != b'R':
            yield f'{int(seq):012}{int(index):06}', base64.b64decode(data)


def write_events(args, part, parts, path):
    counts = collections.Counter()
    with open(path, 'w', encoding='utf-8') as file:
        for number, data in arrivals(args, part, parts):
            event = json.loads(data)
            op = event['op']
            if op in 'sm' or (args.table and event['table'] not in args.table):
                continue
            counts[op] += 1
            key, old = event.get('key'), event.get('before')
            if args.key:
                key, old = {args.key: event['after'][args.key]}, None
            old = key_of({name: old[name] for name in key}) if old and key else ''
            unchanged = event.get('unchanged')
            file.write('\t'.join((
                event['id'], number, hashlib.blake2b(data, digest_size=8).hexdigest(), op,
                quote(event['table']), key_of(key) if key else '', old,
                to_json(unchanged) if unchanged else '', row_of(event.get('after') or {}))) + '\n')
    return counts


def write_wanted(args, part, parts, path):
    with open(path, 'w', encoding='utf-8') as file:
        for line in part_lines(args.expected, part, parts):
            item = json.loads(line)
            file.write(f'{quote(item["table"])}\t{key_of(item["key"])}\t{row_of(item["row"])}\n')


def call(task):
    return task[0](*task[1:])


def read_all(args, events, wanted):
    """Write both, part by part; returns the files' names and how many events of each kind."""
    size = os.path.getsize(os.path.join(args.emulator, 'records.tsv'))
    parts = min(PARTS, 1 + size // LEAST_PART)
    paths = [[f'{path}.{part}' for part in range(parts)] for path in (events, wanted)]
    tasks = [(work, args, part, parts, path)
             for work, names in zip((write_events, write_wanted), paths)
             for part, path in enumerate(names)]
    if parts == 1:
        results = list(map(call, tasks))
    else:
        with multiprocessing.Pool(parts) as pool:
            results = pool.map(call, tasks, 1)
    return *paths, sum(results[:parts], collections.Counter())


def sort(paths, path, key):
    subprocess.run(['sort', '-t', '\t', f'-k{key},{key}', '-k2,2', '-S', '256M',
                    '-T', os.path.dirname(path), '-o', path, *paths],
                   check=True, env={'LC_ALL': 'C', 'PATH': os.environ['PATH']})


def lines(*paths):
    for path in paths:
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


def apply(path):
    """Tables, as {name: {key: text of the row}}."""
    tables = collections.defaultdict(dict)
    for _, _, fields in lines(path):
        _, op, name, key, old, unchanged, row = fields.split('\t')
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
            row = text_of({**json.loads(row), **{column: before.get(column, HOLE)
                                                 for column in json.loads(unchanged)}})
        if old and old != key:
            table.pop(old, None)
        table[key] = row
    return tables


def compare(name, tables, wanted_paths):
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

    for table, key, row in lines(*wanted_paths):
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
    events, once, wanted = [f'{args.expected}.{name}' for name in ('events', 'once', 'wanted')]
    parts, wanted_parts = [], []
    try:
        parts, wanted_parts, counts = read_all(args, events, wanted)
        print(dict(counts))
        sort(parts, events, 1)
        keep_once(events, once)
        equal = compare('by id', apply(once), wanted_parts)
        if not args.by_id_only:
            sort([once], once, 2)
            equal &= compare('by arrival', apply(once), wanted_parts)
    finally:
        for path in events, once, *parts, *wanted_parts:
            if os.path.exists(path):
                os.unlink(path)
    sys.exit(0 if equal else 1)


if __name__ == '__main__':
    main()
