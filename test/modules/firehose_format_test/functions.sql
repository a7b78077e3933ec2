-- Included by regression tests; pg_regress --dlpath says where the module is.
\getenv libdir PG_LIBDIR
\set module :libdir '/firehose_format_test'

-- The record that a format makes of a change, in UTF-8.
CREATE FUNCTION format_event(
    new_row record,
    old_row record DEFAULT NULL,
    op text DEFAULT 'c',                    -- c u d r t m s
    input text DEFAULT 'datum',             -- or text: as pgoutput gives values
    key text[] DEFAULT '{}',                -- columns
    old_is_key boolean DEFAULT false,
    unchanged text[] DEFAULT '{}',          -- columns of new_row that the WAL left out
    identity text DEFAULT 'wal',            -- or trigger, none
    format text DEFAULT 'json',
    timestamps integer DEFAULT 0,           -- enum TimestampForm
    numerics integer DEFAULT 0,
    json_columns integer DEFAULT 0,
    part integer DEFAULT 0,
    metadata integer DEFAULT 0,             -- enum FormatMetadata
    omit_unchanged boolean DEFAULT false)
RETURNS bytea LANGUAGE C AS :'module';

-- The row alone.
CREATE FUNCTION format_row(
    new_row record,
    input text DEFAULT 'datum',
    timestamps integer DEFAULT 0,
    numerics integer DEFAULT 0,
    json_columns integer DEFAULT 0)
RETURNS bytea LANGUAGE C AS :'module';

-- A row must look the same from Datums and from text, and be JSON on one line: returns it, or an error.
CREATE FUNCTION checked_row(
    new_row anyelement,
    timestamps integer DEFAULT 0,
    numerics integer DEFAULT 0,
    json_columns integer DEFAULT 0)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a bytea := format_row(new_row, 'datum', timestamps, numerics, json_columns);
    b bytea := format_row(new_row, 'text', timestamps, numerics, json_columns);
BEGIN
    IF a <> b THEN
        RAISE 'datum and text differ' USING DETAIL = convert_from(a, 'UTF8') || E'\n' || convert_from(b, 'UTF8');
    END IF;
    IF position('\x0a'::bytea IN a) > 0 OR position('\x0d'::bytea IN a) > 0 THEN
        RAISE 'more than one line' USING DETAIL = convert_from(a, 'UTF8');
    END IF;
    PERFORM convert_from(a, 'UTF8')::json;
    RETURN convert_from(a, 'UTF8');
END $$;

-- What lies in the queue for a stream, oldest first, leaving it there.
CREATE FUNCTION queued_records(stream text, OUT id bigint, OUT data text)
RETURNS SETOF record LANGUAGE C AS :'module';
