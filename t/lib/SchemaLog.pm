# Event triggers that tell, by logical messages in the stream of the changes,
# what becomes of tables: test/replay then knows which of them can be rebuilt
# from their changes alone.
#
# A message of prefix "schema" is JSON: {"oid", "op": "is" | "gone", "name",
# "columns"}; what a table *is* comes after each statement that made or altered
# it.  The view schema_log.altered has the OIDs of tables whose columns may have
# been altered.
package SchemaLog;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';

our @EXPORT = qw(install_schema_log remove_schema_log);

# Install it in a database.  Tables without a key get REPLICA IDENTITY FULL when
# they are made, or an UPDATE of them would be refused where a publication has
# all tables.
sub install_schema_log
{
    my ($node, $dbname) = @_;
    $node->safe_psql($dbname, <<'SQL');
CREATE SCHEMA schema_log;
GRANT USAGE ON SCHEMA schema_log TO PUBLIC;
CREATE UNLOGGED TABLE schema_log.alterations (oid oid);
CREATE VIEW schema_log.altered AS
    SELECT c.oid FROM pg_class c WHERE relkind = 'r' AND relpersistence = 'p' AND relnamespace <> 'pg_catalog'::regnamespace
        AND (EXISTS (SELECT FROM schema_log.alterations a WHERE a.oid = c.oid)
            -- or those of a composite type that it has
            OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type u ON u.oid = a.atttypid
                JOIN pg_type t ON t.oid IN (u.oid, u.typelem, u.typbasetype)
                WHERE a.attrelid = c.oid AND t.typrelid <> 0));

CREATE FUNCTION schema_log.tell_table(relid oid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_logical_emit_message(true, 'schema', json_build_object('op', 'is', 'oid', c.oid::int8,
        'name', n.nspname || '.' || c.relname, 'columns',
        -- its own, and those of the composite types that they have
        (WITH RECURSIVE parts AS (SELECT c.oid AS relid UNION
            SELECT t.typrelid FROM parts JOIN pg_attribute a ON a.attrelid = relid AND a.attnum > 0
                JOIN pg_type u ON u.oid = a.atttypid
                JOIN pg_type t ON t.oid IN (u.oid, u.typelem, u.typbasetype) AND t.typrelid <> 0)
         SELECT string_agg(a.attname || ' ' || a.atttypid || ' ' || a.atttypmod || ' ' || a.attisdropped, ','
                ORDER BY a.attrelid <> c.oid, a.attrelid, attnum)
         FROM parts JOIN pg_attribute a ON a.attrelid = relid AND a.attnum > 0))::text)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = relid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
$$;

CREATE FUNCTION schema_log.tell_altered(relid oid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO schema_log.alterations VALUES (relid);
    SELECT schema_log.tell_table(relid)
$$;

CREATE FUNCTION schema_log.tell_change() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command record;
BEGIN
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF command.command_tag = 'ALTER TYPE' THEN
            -- any table may have it, somewhere
            PERFORM schema_log.tell_table(oid) FROM pg_class
            WHERE oid >= 16384 AND relkind IN ('r', 'p') AND relpersistence = 'p';
        ELSIF command.classid = 'pg_class'::regclass THEN
            IF command.command_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') THEN
                UPDATE pg_class c SET relreplident = 'f'
                WHERE oid = command.objid AND relkind = 'r' AND relpersistence = 'p' AND relreplident = 'd'
                    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary);
            END IF;
            -- and of those that inherit from it
            PERFORM CASE WHEN command.command_tag LIKE 'ALTER%' THEN schema_log.tell_altered(oid)
                ELSE schema_log.tell_table(oid) END FROM (
                WITH RECURSIVE heirs AS (SELECT command.objid AS oid UNION
                    SELECT i.inhrelid FROM heirs h JOIN pg_inherits i ON i.inhparent = h.oid)
                SELECT oid FROM heirs) h;
        ELSIF command.classid = 'pg_namespace'::regclass THEN
            PERFORM schema_log.tell_table(oid) FROM pg_class WHERE relnamespace = command.objid;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION schema_log.tell_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_logical_emit_message(true, 'schema', json_build_object('op', 'gone', 'oid', objid::int8)::text)
    FROM pg_event_trigger_dropped_objects()
    WHERE classid = 'pg_class'::regclass AND objsubid = 0 AND object_type = 'table' AND NOT is_temporary;
    PERFORM schema_log.tell_altered(objid) FROM pg_event_trigger_dropped_objects()
    WHERE classid = 'pg_class'::regclass AND objsubid > 0 AND object_type = 'table column';
END $$;

CREATE EVENT TRIGGER schema_log_change ON ddl_command_end EXECUTE FUNCTION schema_log.tell_change();
CREATE EVENT TRIGGER schema_log_drop ON sql_drop EXECUTE FUNCTION schema_log.tell_drop();
SQL
    return;
}

sub remove_schema_log
{
    my ($node, $dbname) = @_;
    $node->safe_psql($dbname, q{
        DROP EVENT TRIGGER schema_log_change;
        DROP EVENT TRIGGER schema_log_drop;
        DROP SCHEMA schema_log CASCADE});
    return;
}

1;
