"""Follows tables through DDL by the messages that t/lib/SchemaLog.pm has sent.

A table can be rebuilt from its changes unless its columns were altered when it
had rows: what ALTER TABLE makes of rows is in no change.  Then the rows of a copy
that was made afterwards take the place of what came before.  If there are none,
the table must be empty, which the comparison shows.  Of a table that has lost all
its columns its changes tell the number of rows, which is all that there is.
"""
import json
import re

from delivered import Members


class Table:
    def __init__(self, name, columns):
        self.name, self.columns = name, columns     # each: name, type, modifier, is dropped
        self.events = []
        self.intact = True
        self.copied = False

    def has_columns(self):
        return re.search(r' false(,|$)', self.columns or '') is not None

    def rebuilding(self):
        """The events that make the table what it is."""
        if self.intact or self.copied or not self.has_columns():
            return self.events
        return []


class SchemaLog:
    def __init__(self):
        self.by_oid = {}
        self.by_name = {}
        self.early = {}     # of tables that are told of after their first rows

    def tell(self, message):
        table = self.by_oid.get(message['oid'])
        if message['op'] == 'gone':
            if table is not None:
                del self.by_oid[message['oid']]
                if self.by_name.get(table.name) is table:
                    del self.by_name[table.name]
            return
        name, columns = message['name'], message['columns']
        if table is None:
            table = self.by_oid[message['oid']] = Table(name, columns)
            table.events = self.early.pop(name, [])
        elif table.columns != columns:
            table.intact = table.intact and not table.events
            table.copied = False
            table.columns = columns
        if self.by_name.get(table.name) is table:
            del self.by_name[table.name]
        table.name = name
        self.by_name[name] = table

    def change(self, event):
        name = '.'.join(event.table)
        table = self.by_name.get(name)
        events = self.early.setdefault(name, []) if table is None else table.events
        if event.op == 'r' and table is not None:
            if table.intact:
                return
            if not table.copied:
                events.clear()
            table.copied = True
        if event.op == 't':
            events.clear()
            if table is not None:
                table.intact = True
        else:
            events.append(event)


def select(events, prefix, left_out):
    """The changes that rebuild the tables, and the names of these."""
    log = SchemaLog()
    for event in events:
        if event.op != 'm':
            log.change(event)
            continue
        message = event.fields['message'].as_dict()
        if message['prefix'] == prefix:
            content = message['content']
            log.tell(dict(content) if isinstance(content, Members) else json.loads(content))
    chosen = []
    left = [table for table in log.by_oid.values() if table.name not in left_out]
    for table in left:
        for event in table.rebuilding():
            event.table = tuple(table.name.split('.', 1))
            chosen.append(event)
    copied = sum(table.copied for table in left)
    empty = sum(table.events != table.rebuilding() for table in left)
    print(f'{len(left)} tables, of which {copied} were copied after their columns were altered, '
          f'and {empty} have to be empty')
    return sorted(chosen, key=lambda event: event.id), {table.name for table in left}
