"""Compares two databases table by table."""
import re

from database import identifier

SHOWN = 3

# of an array as text; JSON does not have them
LOWER_BOUNDS = re.compile(rb'^(\[-?\d+:-?\d+\])+=(?={)')


def without_bounds(line, arrays):
    fields = line.split(b'\t')
    for n in arrays:
        fields[n] = LOWER_BOUNDS.sub(b'', fields[n])
    return b'\t'.join(fields)


def lines_of(database, table):
    columns = ', '.join(identifier(c['name']) + ('::jsonb' if c['type_name'] == 'json' else
                        '::jsonb[]' if c['type_name'] == 'json[]' else '') for c in table.columns)
    arrays = [n for n, c in enumerate(table.columns) if c['type_name'].endswith('[]')]
    lines = database.psql(f'COPY (SELECT {columns} FROM ONLY {table.quoted}) TO STDOUT;').splitlines()
    return sorted(without_bounds(line, arrays) for line in lines)


def compare_table(name, one, other, findings):
    if one == other:
        return
    findings.append(f'{name}: {len(one)} rows in the source, {len(other)} in the copy')
    ones, others = set(one), set(other)
    for which, rows in (('source', [r for r in one if r not in others]),
                        ('copy', [r for r in other if r not in ones])):
        for row in rows[:SHOWN]:
            findings.append(f'{name}: only in the {which} ({len(rows)} rows): '
                            + row.decode(errors='replace')[:1000])


def compare(source, copy, only, findings):
    """Returns how many tables and rows were compared."""
    tables = rows = 0
    for key, table in source.tables().items():
        name = '.'.join(key)
        if table.kind == 'p' or (only and name not in only):
            continue
        if key not in copy.tables():
            findings.append(f'{name}: not in the copy')
            continue
        one = lines_of(source, table)
        compare_table(name, one, lines_of(copy, table), findings)
        tables += 1
        rows += len(one)
    if tables == 0:
        findings.append('no tables to compare')
    return tables, rows
