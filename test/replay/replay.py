"""
Applies events to a copy of the schema, one table after the other: their order
matters within a table only, because constraints between tables do not act.
"""
from collections import Counter, defaultdict

from database import identifier, literal
from json_values import to_text

ROWS_PER_INSERT = 200
STATEMENTS_PER_QUERY = 100


class Script:
    """SQL for psql: inserts of one table become one statement, statements one query."""

    def __init__(self):
        self.parts = ['SET session_replication_role = replica;\n']
        self.query = []
        self.head, self.rows = None, []

    def insert(self, head, row):
        if head != self.head or len(self.rows) == ROWS_PER_INSERT:
            self._end_insert()
            self.head = head
        self.rows.append(row)

    def statement(self, text):
        self._end_insert()
        self._add(text)

    def text(self):
        self._end_insert()
        self._end_query()
        return ''.join(self.parts)

    def _add(self, text):
        self.query.append(text)
        if len(self.query) == STATEMENTS_PER_QUERY:
            self._end_query()

    def _end_insert(self):
        if self.rows:
            self._add(self.head + ','.join(self.rows))
        self.head, self.rows = None, []

    def _end_query(self):
        if self.query:
            self.parts.append(' \\;\n'.join(self.query) + ';\n')
        self.query = []


class Replay:
    def __init__(self, database):
        self.types = database.types()
        self.tables = database.tables()
        self.counts = Counter()
        self.script = None

    def apply(self, event):
        op = event.op
        self.counts[op] += 1
        if op == 'm':
            return
        table = self.tables.get(event.table)
        if table is None:
            raise ValueError(f'the copy has no table {".".join(event.table)}')
        if not table.columns:
            self.count(table, op)
            return
        {'c': self.insert, 'r': self.insert, 'u': self.update,
         'd': self.delete, 't': self.truncate}[op](table, event.fields)

    def count(self, table, op):
        """Of a table without columns: one row is like another."""
        if op in 'cr':
            self.script.statement(f'INSERT INTO {table.quoted} DEFAULT VALUES')
        elif op in 'dt':
            one = f' WHERE ctid = (SELECT ctid FROM {table.quoted} LIMIT 1)' if op == 'd' else ''
            self.script.statement(f'DELETE FROM ONLY {table.quoted}{one}')

    def sql(self, table, column, value):
        text = to_text(self.types, table.types[column], value)
        return 'NULL' if text is None else literal(text)

    def insert(self, table, fields):
        row = fields['after'].as_dict()
        names = ', '.join(map(identifier, row))
        self.script.insert(
            f'INSERT INTO {table.quoted} ({names}) OVERRIDING SYSTEM VALUE VALUES ',
            '(' + ', '.join(self.sql(table, c, v) for c, v in row.items()) + ')')

    def update(self, table, fields):
        row = fields['after'].as_dict()
        if not row:
            return
        for column in fields.get('unchanged', []):
            if column in row:
                raise ValueError(f'unchanged, and in the image as well: {column}')
        assignments = ', '.join(f'{identifier(c)} = {self.sql(table, c, v)}'
                                for c, v in row.items())
        self.script.statement(f'UPDATE {table.quoted} SET {assignments} '
                              f'WHERE {self.which(table, fields)}')

    def delete(self, table, fields):
        self.script.statement(f'DELETE FROM {table.quoted} WHERE {self.which(table, fields)}')

    def truncate(self, table, fields):
        # one event for each table: foreign keys between them are no obstacle to DELETE
        only = '' if table.kind == 'p' else 'ONLY '
        self.script.statement(f'DELETE FROM {only}{table.quoted}')

    def which(self, table, fields):
        """The row by its former key; of several that are the same any one."""
        key = fields['key'].as_dict()
        before = fields['before'].as_dict() if 'before' in fields else {}
        conditions = ' AND '.join(self.equals(table, c, before.get(c, v))
                                  for c, v in key.items())
        if len(key) < len(table.columns):
            return conditions
        return (f'ctid = (SELECT ctid FROM {table.quoted} WHERE {conditions} LIMIT 1)')

    def equals(self, table, column, value):
        name, oid = identifier(column), table.types[column]
        text = to_text(self.types, oid, value)
        if text is None:
            return f'{name} IS NULL'
        type_row = self.types[oid]
        if type_row['has_equality']:
            return f'{name} = {literal(text)}'
        if type_row['typname'] == 'json':
            return f'{name}::jsonb::text = {literal(text)}::jsonb::text'
        type_name = next(c['type_name'] for c in table.columns if c['name'] == column)
        return f'{name}::text = {literal(text)}::{type_name}::text'


def apply(database, events, findings):
    """Returns how many events of each op there were."""
    replay = Replay(database)
    of_table = defaultdict(list)
    for event in events:
        of_table[event.table].append(event)
    for table, its_events in of_table.items():
        replay.script = Script()
        try:
            for event in its_events:
                replay.apply(event)
            database.psql(replay.script.text())
        except (ValueError, KeyError, AttributeError, RuntimeError) as error:
            findings.append(f'{".".join(table)}: cannot be rebuilt: {error!r}'[:1000])
    return replay.counts
