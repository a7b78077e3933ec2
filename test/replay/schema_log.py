"""Follows tables through DDL by the messages that t/lib/SchemaLog.pm has sent.

A table can be rebuilt from its changes unless its columns were altered when it
had rows: what ALTER TABLE makes of rows is in no change.
"""
import json

from delivered import Members


class Table:
    def __init__(self, name, columns):
        self.name, self.columns = name, columns
        self.events = []
        self.intact = True


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
            table.columns = columns
        if self.by_name.get(table.name) is table:
            del self.by_name[table.name]
        table.name = name
        self.by_name[name] = table

    def change(self, event):
        name = '.'.join(event.table)
        table = self.by_name.get(name)
        events = self.early.setdefault(name, []) if table is None else table.events
        if event.op == 't':
            events.clear()
            if table is not None:
                table.intact = True
        else:
            events.append(event)


def select(events, prefix, left_out):
    """The changes that rebuild intact tables, and the names of those tables."""
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
    intact = [table for table in log.by_oid.values() if table.intact and table.name not in left_out]
    for table in intact:
        for event in table.events:
            event.table = tuple(table.name.split('.', 1))
            chosen.append(event)
    altered = len(log.by_oid) - len(intact)
    print(f'{len(intact)} tables can be rebuilt, {altered} not: they had rows when their columns were altered, '
          'or changes that are dead letters')
    return sorted(chosen, key=lambda event: event.id), {table.name for table in intact}
