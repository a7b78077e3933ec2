"""A database by psql, and what of its catalogs a replay needs."""
import json
import os
import subprocess

TYPES = """
SELECT t.oid, format_type(t.oid, NULL) AS name, t.typname, t.typnamespace::regnamespace::text AS schema,
    t.typtype, t.typelem, t.typdelim,
    t.typsubscript = 'array_subscript_handler'::regproc AND t.typname NOT IN ('int2vector', 'oidvector') AS is_array,
    t.typbasetype, t.typrelid,
    EXISTS (SELECT FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod
        WHERE a.amname = 'btree' AND o.opcdefault AND o.opcintype = t.oid) AS has_equality
FROM pg_type t
"""

ATTRIBUTES = """
SELECT attrelid, attname AS name, atttypid AS type, format_type(atttypid, atttypmod) AS type_name, attgenerated <> '' AS generated
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'c')
    AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
ORDER BY attrelid, attnum
"""

TABLES = """
SELECT c.oid, nspname AS schema, relname AS name, relkind AS kind, relpersistence AS persistence
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2, 3
"""


def identifier(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class Table:
    def __init__(self, row, columns):
        self.schema, self.name, self.kind = row['schema'], row['name'], row['kind']
        self.permanent = row['persistence'] == 'p'
        self.columns = columns
        self.types = {column['name']: column['type'] for column in columns}
        self.quoted = identifier(self.schema) + '.' + identifier(self.name)


class Database:
    def __init__(self, conninfo):
        self.conninfo = conninfo
        self._tables = self._types = None

    def psql(self, script):
        """Run a script; returns what it prints, as bytes."""
        environment = dict(os.environ, PGCLIENTENCODING='UTF8',
                           PGOPTIONS='-c standard_conforming_strings=on -c timezone=UTC '
                           '-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 '
                           '-c lc_monetary=C -c bytea_output=hex -c xmloption=content '
                           '-c statement_timeout=0')
        done = subprocess.run(
            ['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', self.conninfo, '-f', '-'],
            input=script.encode() if isinstance(script, str) else script,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors='replace')[:4000])
        return done.stdout

    def rows(self, query):
        out = self.psql(f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) q;")
        return json.loads(out)

    def types(self):
        if self._types is None:
            self._types = {row['oid']: row for row in self.rows(TYPES)}
            for row in self._types.values():
                row['fields'] = []
            attributes = {}
            for row in self.rows(ATTRIBUTES):
                attributes.setdefault(row['attrelid'], []).append(row)
            for row in self._types.values():
                row['fields'] = attributes.get(row['typrelid'], [])
            self._attributes = attributes
        return self._types

    def tables(self):
        """Tables by (schema, name)."""
        if self._tables is None:
            self.types()
            self._tables = {
                (row['schema'], row['name']):
                Table(row, [a for a in self._attributes.get(row['oid'], []) if not a['generated']])
                for row in self.rows(TABLES)}
        return self._tables

    def published(self):
        """The names of all tables that a publication FOR ALL TABLES has."""
        return {'.'.join(key) for key, table in self.tables().items() if table.permanent}
