"""Compares two databases table by table."""
from database import identifier

SHOWN = 3


def lines_of(database, table):
    columns = ', '.join(identifier(c['name']) + ('::jsonb' if c['type_name'] == 'json' else
                        '::jsonb[]' if c['type_name'] == 'json[]' else '') for c in table.columns)
    return sorted(database.psql(
        f'COPY (SELECT {columns} FROM ONLY {table.quoted}) TO STDOUT;').splitlines())


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
