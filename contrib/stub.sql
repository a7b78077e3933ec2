-- firehose without its library: what programs call, for a development or test
-- database whose server cannot load firehose, such as a stock image.
--
--     psql -d app -f contrib/stub.sql
--
-- The functions have the names, arguments, results, checks and errors of the
-- extension's, and write to the table firehose_stub_records. Nothing is sent: what is
-- committed counts as accepted. Needs a superuser, and is for PostgreSQL 15
-- and later.
--
-- It differs in this:
-- - Options of streams are not checked, and but for delimiter and enabled have no effect.
-- - What is put with transactional => false is rolled back with the transaction.
-- - The queue is never full.
-- - firehose_put_batch takes no array of rows: put them one by one.
-- - Nothing can be inserted into a foreign table.
-- - There are no pipelines, durable puts, dead letters and statistics.
--
-- t/074_stub.pl compares it with the extension.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;

CREATE FOREIGN DATA WRAPPER firehose;
CREATE TABLE firehose_stub_records (
	id bigint PRIMARY KEY,
	stream text NOT NULL,
	data bytea NOT NULL,
	put_in xid8,	-- null: not transactional
	put_at timestamptz NOT NULL DEFAULT clock_timestamp());
-- ids as long as real ones
CREATE SEQUENCE firehose_stub_id START 849000000000000;
GRANT SELECT, INSERT ON firehose_stub_records TO PUBLIC;
GRANT USAGE ON SEQUENCE firehose_stub_id TO PUBLIC;

CREATE VIEW firehose_status AS
	SELECT id, stream, NULL::text AS pipeline, 'accepted' AS status, 'stub-' || id AS record_id,
		   false AS encrypted, NULL::text AS error_code, NULL::text AS error_message, 1 AS attempts,
		   length(data) AS bytes, NULL::pg_lsn AS lsn, put_at AS queued_at, put_at AS completed_at
	FROM firehose_stub_records;
GRANT SELECT ON firehose_status TO PUBLIC;

--
-- JSON
--

-- A value that to_json made, of this type, as triggers write it.
CREATE FUNCTION firehose_stub_value(value json, type oid, bigint_string boolean) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	t pg_type;
BEGIN
	SELECT * INTO t FROM pg_type WHERE oid = type;
	WHILE t.typtype = 'd' LOOP
		SELECT * INTO t FROM pg_type WHERE oid = t.typbasetype;
	END LOOP;
	IF t.oid IN ('json'::regtype, 'jsonb'::regtype) THEN
		RETURN coalesce(translate(value::text, E'\n\r', '  '), 'null');
	ELSIF value IS NULL OR json_typeof(value) = 'null' THEN
		RETURN 'null';
	ELSIF t.oid = 'numeric'::regtype OR (t.oid = 'bigint'::regtype AND bigint_string) THEN
		RETURN to_json(value #>> '{}');
	ELSIF t.oid = 'timestamptz'::regtype THEN
		RETURN replace(value::text, '+00:00"', 'Z"');
	ELSIF t.oid = 'bytea'::regtype THEN
		RETURN to_json(translate(encode(decode(substr(value #>> '{}', 3), 'hex'), 'base64'), E'\n', ''));
	ELSIF t.typsubscript = 'array_subscript_handler'::regproc AND json_typeof(value) = 'array' THEN
		RETURN (SELECT '[' || coalesce(string_agg(firehose_stub_value(e,
					CASE WHEN json_typeof(e) = 'array' AND t.typelem NOT IN ('json'::regtype, 'jsonb'::regtype)
						 THEN t.oid ELSE t.typelem END, bigint_string), ',' ORDER BY n), '') || ']'
				FROM json_array_elements(value) WITH ORDINALITY v(e, n));
	ELSIF t.typtype = 'c' THEN
		RETURN (SELECT '{' || coalesce(string_agg(to_json(k) || ':' ||
					firehose_stub_value(e, a.atttypid, bigint_string), ',' ORDER BY n), '') || '}'
				FROM json_each(value) WITH ORDINALITY v(k, e, n)
				JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attname = k);
	END IF;
	RETURN value::text;
END $$;

-- The types of a row's columns, of which only its binary form tells.
CREATE FUNCTION firehose_stub_types("row" record) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	bytes bytea := record_send("row");
	types oid[] := '{}';
	at int := 5;
	size int;
BEGIN
	WHILE at < length(bytes) LOOP
		types := types || ('x' || encode(substr(bytes, at, 4), 'hex'))::bit(32)::int::oid;
		size := ('x' || encode(substr(bytes, at + 4, 4), 'hex'))::bit(32)::int;
		at := at + 8 + greatest(size, 0);
	END LOOP;
	RETURN types;
END $$;

-- A row, as triggers write it. The settings are those that to_json reads.
CREATE FUNCTION firehose_stub_row("row" record, bigint_string boolean DEFAULT false) RETURNS json
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET extra_float_digits = 3 SET bytea_output = 'hex' AS $$
DECLARE
	types oid[] := firehose_stub_types("row");
BEGIN
	RETURN (SELECT '{' || coalesce(string_agg(to_json(k) || ':' ||
				firehose_stub_value(e, types[n], bigint_string), ',' ORDER BY n), '') || '}'
			FROM json_each(to_json("row")) WITH ORDINALITY v(k, e, n));
END $$;

CREATE FUNCTION firehose_row_json("row" record, bigints text DEFAULT 'number') RETURNS json
LANGUAGE plpgsql STRICT STABLE PARALLEL RESTRICTED AS $$
BEGIN
	IF bigints NOT IN ('number', 'string') THEN
		RAISE invalid_parameter_value USING MESSAGE = format('invalid value for bigints: "%s"', bigints),
			HINT = 'Valid values are: "number", "string".';
	END IF;
	RETURN firehose_stub_row("row", bigints = 'string');
END $$;

--
-- Puts
--

-- Error unless there is such a stream that this role may use; its option delimiter.
CREATE FUNCTION firehose_stub_stream(function text, stream text, transactional boolean, role name DEFAULT current_user)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	options text[];
BEGIN
	IF stream IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('stream of %s() must not be null', function);
	ELSIF transactional IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('transactional of %s() must not be null', function);
	END IF;
	SELECT srvoptions INTO options FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
		WHERE srvname = stream AND fdwname = 'firehose';
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('stream "%s" does not exist', stream),
			HINT = format('Create it with: CREATE SERVER %I FOREIGN DATA WRAPPER firehose;', stream);
	ELSIF NOT has_server_privilege(role, stream, 'USAGE') THEN
		RAISE insufficient_privilege USING MESSAGE = format('permission denied for stream "%s"', stream),
			HINT = format('Its owner may allow it with: GRANT USAGE ON FOREIGN SERVER %I TO %I;', stream, role);
	ELSIF options && '{enabled=false,enabled=off,enabled=no,enabled=0}' THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('stream "%s" is disabled', stream),
			HINT = format('Enable it with: ALTER SERVER %I OPTIONS (SET enabled ''true'');', stream);
	END IF;
	RETURN coalesce((SELECT substr(o, 11) FROM unnest(options) o WHERE o LIKE 'delimiter=%'), 'default');
END $$;

-- Put a record that is no null; `kind` is bytes, or whatever a newline follows.
CREATE FUNCTION firehose_stub_put(stream text, data bytea, delimiter text, kind text, transactional boolean DEFAULT true,
	record_id bigint DEFAULT nextval('firehose_stub_id')) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
	IF (delimiter = 'newline' OR (delimiter = 'default' AND kind <> 'bytes')) AND
	   (data = '' OR get_byte(data, length(data) - 1) <> 10) THEN
		data := data || '\x0a'::bytea;
	END IF;
	IF length(data) > 1024000 THEN
		RAISE program_limit_exceeded USING
			MESSAGE = format('record for stream "%s" is too large: %s bytes', stream, length(data)),
			DETAIL = 'A record has at most 1024000 bytes, its delimiter included.',
			HINT = 'Split it, or send a reference to data that is kept elsewhere.';
	END IF;
	INSERT INTO firehose_stub_records (id, stream, data, put_in)
		VALUES (record_id, stream, data, CASE WHEN transactional THEN pg_current_xact_id() END);
	RETURN record_id;
END $$;

-- The bytes of a record that is text: kind json has to be JSON, on one line.
CREATE FUNCTION firehose_stub_bytes(data text, kind text, delimiter text) RETURNS bytea
LANGUAGE plpgsql AS $$
BEGIN
	IF kind = 'json' THEN
		PERFORM data::json;
		IF delimiter <> 'none' THEN
			data := translate(data, E'\n\r', '  ');
		END IF;
	END IF;
	RETURN convert_to(data, 'UTF8');
END $$;

CREATE FUNCTION firehose_stub_one(function text, stream text, data text, transactional boolean, kind text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	delimiter text := firehose_stub_stream(function, stream, transactional);
BEGIN
	IF data IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('data of %s() must not be null', function);
	END IF;
	RETURN firehose_stub_put(stream, CASE WHEN kind = 'bytes' THEN data::bytea
										  ELSE firehose_stub_bytes(data, kind, delimiter) END, delimiter, kind, transactional);
END $$;

CREATE FUNCTION firehose_stub_list(function text, stream text, data text[], transactional boolean, kind text) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
	delimiter text := firehose_stub_stream(function, stream, transactional);
	ids bigint[] := '{}';
	element text;
	number int := 0;
BEGIN
	IF array_ndims(data) > 1 THEN
		RAISE array_subscript_error USING MESSAGE = format('data of %s() must be a one-dimensional array', function),
			DETAIL = format('It has %s dimensions.', array_ndims(data));
	ELSIF array_position(data, NULL) IS NOT NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('data of %s() must not contain nulls', function),
			DETAIL = format('Element %s is null.', array_position(data, NULL));
	END IF;
	FOREACH element IN ARRAY coalesce(data, '{}') LOOP
		number := number + 1;
		ids := ids || firehose_stub_one(function, stream, element, transactional, kind);
	END LOOP;
	RETURN ids;
END $$;

CREATE FUNCTION firehose_stub_json_list(stream text, data jsonb, transactional boolean) RETURNS bigint[]
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM firehose_stub_stream('firehose_put_jsons', stream, transactional);
	IF jsonb_typeof(data) <> 'array' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'data of firehose_put_jsons() must be a JSON array',
			HINT = 'Give it a JSON array, or an array of json: ARRAY[...]::json[]. One record is put by firehose_put_json.';
	END IF;
	RETURN firehose_stub_list('firehose_put_jsons', stream,
		ARRAY(SELECT e::text FROM jsonb_array_elements(data) WITH ORDINALITY v(e, n) ORDER BY n), transactional, 'json');
END $$;

CREATE FUNCTION firehose_put_record(stream text, data text, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_record', $1, $2, $3, 'text')$$;
CREATE FUNCTION firehose_put_record(stream text, data bytea, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_record', $1, '\x' || encode($2, 'hex'), $3, 'bytes')$$;
CREATE FUNCTION firehose_put_record(stream text, data json, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_record', $1, $2::text, $3, 'json')$$;
CREATE FUNCTION firehose_put_record(stream text, data jsonb, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_record', $1, $2::text, $3, 'json')$$;
CREATE FUNCTION firehose_put_record(stream text, data record, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$BEGIN RETURN firehose_stub_one('firehose_put_record', stream, firehose_row_json(data)::text, transactional, 'row'); END$$;

CREATE FUNCTION firehose_put_text(stream text, data text, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_text', $1, $2, $3, 'text')$$;
CREATE FUNCTION firehose_put_bytes(stream text, data bytea, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_bytes', $1, '\x' || encode($2, 'hex'), $3, 'bytes')$$;
CREATE FUNCTION firehose_put_json(stream text, data text, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_json', $1, $2, $3, 'json')$$;
CREATE FUNCTION firehose_put_json(stream text, data json, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_json', $1, $2::text, $3, 'json')$$;
CREATE FUNCTION firehose_put_json(stream text, data jsonb, transactional boolean DEFAULT true) RETURNS bigint
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_one('firehose_put_json', $1, $2::text, $3, 'json')$$;

CREATE PROCEDURE firehose_send(stream text, data text, transactional boolean DEFAULT true)
LANGUAGE sql AS $$SELECT firehose_stub_one('firehose_send', $1, $2, $3, 'json')$$;
CREATE PROCEDURE firehose_send(stream text, data json, transactional boolean DEFAULT true)
LANGUAGE sql AS $$SELECT firehose_stub_one('firehose_send', $1, $2::text, $3, 'json')$$;
CREATE PROCEDURE firehose_send(stream text, data jsonb, transactional boolean DEFAULT true)
LANGUAGE sql AS $$SELECT firehose_stub_one('firehose_send', $1, $2::text, $3, 'json')$$;

CREATE FUNCTION firehose_put_batch(stream text, data text[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_batch', $1, $2, $3, 'text')$$;
CREATE FUNCTION firehose_put_batch(stream text, data bytea[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE SET bytea_output = 'hex' AS $$SELECT firehose_stub_list('firehose_put_batch', $1, $2::text[], $3, 'bytes')$$;
CREATE FUNCTION firehose_put_batch(stream text, data json[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_batch', $1, $2::text[], $3, 'json')$$;
CREATE FUNCTION firehose_put_batch(stream text, data jsonb[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_batch', $1, $2::text[], $3, 'json')$$;
CREATE FUNCTION firehose_put_batch(stream text, data text, transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	elements text[];
	wrong int;
BEGIN
	PERFORM firehose_stub_stream('firehose_put_batch', stream, transactional);
	IF data !~ '^\s*[{[]' THEN
		RAISE invalid_text_representation USING MESSAGE = 'data of firehose_put_batch() is not an array',
			HINT = 'Put one record with firehose_put_text, firehose_put_json or firehose_put_bytes, several with firehose_put_texts, firehose_put_jsons or firehose_put_bytes_array.';
	ELSIF data ~ '^\s*\[[^=]*$' THEN
		RAISE invalid_text_representation USING MESSAGE = 'data of firehose_put_batch() is not an array',
			HINT = 'Put the elements of a JSON array with firehose_put_jsons.';
	END IF;
	elements := data::text[];
	SELECT min(n) INTO wrong FROM unnest(elements) WITH ORDINALITY v(e, n) WHERE e ~ '^\\x([0-9a-fA-F]{2})*$';
	IF wrong IS NOT NULL THEN
		RAISE ambiguous_function USING MESSAGE = 'data of firehose_put_batch() may be an array of bytea or of text',
			DETAIL = format('The parameter has no type, and record %s begins with \x.', wrong),
			HINT = 'Use firehose_put_bytes_array or firehose_put_texts.';
	END IF;
	RETURN firehose_stub_list('firehose_put_batch', stream, elements, transactional, 'text');
END $$;

CREATE FUNCTION firehose_put_texts(stream text, data text[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_texts', $1, $2, $3, 'text')$$;
CREATE FUNCTION firehose_put_bytes_array(stream text, data bytea[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE SET bytea_output = 'hex' AS $$SELECT firehose_stub_list('firehose_put_bytes_array', $1, $2::text[], $3, 'bytes')$$;
CREATE FUNCTION firehose_put_jsons(stream text, data text, transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_json_list($1, $2::jsonb, $3)$$;
CREATE FUNCTION firehose_put_jsons(stream text, data json, transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_json_list($1, $2::jsonb, $3)$$;
CREATE FUNCTION firehose_put_jsons(stream text, data jsonb, transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_json_list($1, $2, $3)$$;
CREATE FUNCTION firehose_put_jsons(stream text, data text[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_jsons', $1, $2, $3, 'json')$$;
CREATE FUNCTION firehose_put_jsons(stream text, data json[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_jsons', $1, $2::text[], $3, 'json')$$;
CREATE FUNCTION firehose_put_jsons(stream text, data jsonb[], transactional boolean DEFAULT true) RETURNS bigint[]
LANGUAGE sql VOLATILE AS $$SELECT firehose_stub_list('firehose_put_jsons', $1, $2::text[], $3, 'json')$$;

--
-- Triggers
--

-- The names of the columns that are the key of a record.
CREATE FUNCTION firehose_stub_key(relation regclass) RETURNS name[]
LANGUAGE sql STABLE AS $$
	SELECT array_agg(a.attname) FROM pg_attribute a
	WHERE a.attrelid = $1 AND a.attnum = ANY
		((SELECT indkey FROM pg_index WHERE indrelid = $1 AND (indisreplident OR indisprimary)
		  ORDER BY indisreplident DESC LIMIT 1)::int2[])
$$;

-- Put a change.
CREATE FUNCTION firehose_stub_change(stream text, delimiter text, op text, old_row json, new_row json,
	relation regclass, row_only boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	key name[] := firehose_stub_key(relation);
	id bigint := nextval('firehose_stub_id');
	event text;
BEGIN
	event := (SELECT format('{"v":1,"op":"%s","source":%s,"db":%s,"schema":%s,"table":%s,"id":"%s","xid":%s,"ts":"%s"',
				op, to_json('stub'::text), to_json(current_database()), to_json(n.nspname), to_json(c.relname),
				lpad(id::text, 16, '0'), pg_current_xact_id()::xid,
				to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation) ||
		CASE WHEN key IS NULL OR op = 't' THEN '' ELSE
			(SELECT ',"key":{' || string_agg(to_json(k) || ':' || v, ',' ORDER BY o) || '}'
			 FROM json_each(coalesce(new_row, old_row)) WITH ORDINALITY e(k, v, o) WHERE k = ANY (key)) END ||
		coalesce(',"after":' || new_row, '') || coalesce(',"before":' || old_row, '') || '}';
	IF row_only THEN
		event := coalesce(new_row, old_row);
	END IF;
	PERFORM firehose_stub_put(stream, convert_to(event, 'UTF8'), delimiter, 'json', true, id);
END $$;

CREATE FUNCTION firehose_trigger() RETURNS trigger
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	words text[] := TG_ARGV[1:];
	row_only boolean := 'row' = ANY (TG_ARGV[1:]);
	strings boolean := 'bigint_string' = ANY (TG_ARGV[1:]);
	relation regclass := TG_RELID;
	op text := CASE TG_OP WHEN 'INSERT' THEN 'c' WHEN 'UPDATE' THEN 'u' WHEN 'DELETE' THEN 'd' ELSE 't' END;
	delimiter text;
	tables pg_trigger;
	rows text;
	change record;
BEGIN
	IF TG_NARGS < 1 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'firehose_trigger() needs the name of a stream as its first argument',
			HINT = 'Use firehose_trigger(''stream'') or firehose_trigger(''stream'', ''row'').';
	ELSIF TG_WHEN <> 'AFTER' THEN
		RAISE trigger_protocol_violated USING MESSAGE = format('firehose_trigger() must be fired AFTER, not %s', TG_WHEN),
			DETAIL = 'The row is final only after the event.',
			HINT = format('Create trigger "%s" with AFTER.', TG_NAME);
	ELSIF NOT words <@ '{row,root,bigint_string,json,wal2json,debezium,dms}' THEN
		RAISE invalid_parameter_value USING MESSAGE = format('invalid argument of firehose_trigger(): "%s"',
				(SELECT w FROM unnest(words) w WHERE w <> ALL ('{row,root,bigint_string,json,wal2json,debezium,dms}') LIMIT 1)),
			HINT = 'Valid arguments after the stream are ''row'', ''root'', ''bigint_string'', and a format: ''json'', ''wal2json'', ''debezium'' or ''dms''.';
	END IF;
	delimiter := firehose_stub_stream('firehose_trigger', TG_ARGV[0], true,
		(SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID));
	IF 'root' = ANY (words) THEN
		relation := coalesce(pg_partition_root(TG_RELID), relation);
	END IF;

	IF TG_LEVEL = 'ROW' THEN
		PERFORM firehose_stub_change(TG_ARGV[0], delimiter, op,
			CASE WHEN TG_OP <> 'INSERT' THEN firehose_stub_row(OLD, strings) END,
			CASE WHEN TG_OP <> 'DELETE' THEN firehose_stub_row(NEW, strings) END, relation, row_only);
		RETURN NULL;
	ELSIF TG_OP = 'TRUNCATE' THEN
		IF NOT row_only THEN
			PERFORM firehose_stub_change(TG_ARGV[0], delimiter, op, NULL, NULL, relation, false);
		END IF;
		RETURN NULL;
	END IF;

	SELECT * INTO tables FROM pg_trigger WHERE tgrelid = TG_RELID AND tgname = TG_NAME;
	IF (TG_OP = 'DELETE' AND tables.tgoldtable IS NULL) OR (TG_OP <> 'DELETE' AND tables.tgnewtable IS NULL) THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = format('statement trigger "%s" has no %s transition table',
			TG_NAME, CASE TG_OP WHEN 'DELETE' THEN 'OLD' ELSE 'NEW' END),
			HINT = CASE TG_OP
				WHEN 'INSERT' THEN 'Create one trigger for INSERT alone with REFERENCING NEW TABLE AS new_rows, or a trigger FOR EACH ROW.'
				WHEN 'UPDATE' THEN 'Create one trigger for UPDATE alone with REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows, or a trigger FOR EACH ROW.'
				ELSE 'Create one trigger for DELETE alone with REFERENCING OLD TABLE AS old_rows, or a trigger FOR EACH ROW.' END;
	END IF;
	-- both tables have the images of a row at the same place
	rows := 'SELECT row_number() OVER () AS n, firehose_stub_row(t, $1) AS image FROM %I t';
	FOR change IN EXECUTE format('SELECT o.image AS old_row, w.image AS new_row FROM (%s) o FULL JOIN (%s) w USING (n) ORDER BY n',
			CASE WHEN tables.tgoldtable IS NULL THEN 'SELECT 0::bigint AS n, NULL::json AS image WHERE false'
				 ELSE format(rows, tables.tgoldtable) END,
			CASE WHEN tables.tgnewtable IS NULL THEN 'SELECT 0::bigint AS n, NULL::json AS image WHERE false'
				 ELSE format(rows, tables.tgnewtable) END) USING strings
	LOOP
		PERFORM firehose_stub_change(TG_ARGV[0], delimiter, op, change.old_row, change.new_row, relation, row_only);
	END LOOP;
	RETURN NULL;
END $$;

-- The triggers of a table that send to a stream, null: to any.
CREATE FUNCTION firehose_stub_triggers(relation regclass, stream text) RETURNS SETOF pg_trigger
LANGUAGE sql STABLE AS $$
	SELECT t.* FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND p.proname = 'firehose_trigger'
	  AND ($2 IS NULL OR split_part(encode(t.tgargs, 'escape'), '\000', 1) = $2)
	ORDER BY t.tgname COLLATE "C"
$$;

CREATE FUNCTION firehose_stub_name(relation regclass) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT format('%I.%I', n.nspname, c.relname)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
$$;

CREATE FUNCTION firehose_attach(
	relation regclass,
	stream text,
	level text DEFAULT 'row',
	content text DEFAULT 'change',
	names text DEFAULT 'leaf',
	bigints text DEFAULT 'number',
	always boolean DEFAULT false)
RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	choice record;
	arguments text := quote_literal(stream);
	name text := firehose_stub_name(relation);
	made text[] := '{}';
	t record;
	-- formats of other tools are known, but records have that of changes
	other text := CASE WHEN content IN ('json', 'wal2json', 'debezium', 'dms') THEN content ELSE 'row' END;
BEGIN
	IF relation IS NULL OR stream IS NULL OR level IS NULL OR content IS NULL OR names IS NULL OR bigints IS NULL
		OR always IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'arguments of firehose_attach() must not be null';
	END IF;
	FOR choice IN SELECT * FROM (VALUES ('level', level, 'row', 'statement', NULL), ('content', content, 'change', other, other),
			('names', names, 'leaf', 'root', 'root'), ('bigints', bigints, 'number', 'string', 'bigint_string'))
			v(argument, value, plain, other, word) LOOP
		IF choice.value NOT IN (choice.plain, choice.other) THEN
			RAISE invalid_parameter_value USING MESSAGE = format('invalid value for %s: "%s"', choice.argument, choice.value),
				HINT = format('Valid values are: "%s", "%s"%s.', choice.plain, choice.other,
					CASE choice.argument WHEN 'content' THEN ', "json", "wal2json", "debezium", "dms"' END);
		ELSIF choice.value = choice.other AND choice.word IS NOT NULL THEN
			arguments := arguments || ', ' || quote_literal(choice.word);
		END IF;
	END LOOP;
	IF always AND level = 'statement' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'always => true requires triggers of level row',
			DETAIL = 'A subscription that applies changes fires no statement triggers for them.',
			HINT = 'Leave out level => ''statement''.';
	END IF;
	PERFORM firehose_stub_stream('firehose_attach', stream, true,
		(SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = relation));
	IF EXISTS (SELECT FROM firehose_stub_triggers(relation, stream)) THEN
		RAISE duplicate_object USING MESSAGE = format('table %s is attached to stream "%s" already', name, stream),
			HINT = format('To attach it in another way, detach it first: SELECT firehose_detach(%L, %L);', name, stream);
	END IF;
	FOR t IN SELECT * FROM (VALUES (NULL, 'INSERT OR UPDATE OR DELETE', '', 'ROW'),
			('insert', 'INSERT', 'REFERENCING NEW TABLE AS new_rows', 'STATEMENT'),
			('update', 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', 'STATEMENT'),
			('delete', 'DELETE', 'REFERENCING OLD TABLE AS old_rows', 'STATEMENT'),
			('truncate', 'TRUNCATE', '', 'STATEMENT')) v(suffix, event, transition, per)
		WHERE (suffix = 'truncate' AND content <> 'row') OR (suffix IS DISTINCT FROM 'truncate' AND lower(per) = level)
	LOOP
		made := made || left(concat_ws('_', 'firehose', stream, t.suffix), 63);
		EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s EXECUTE FUNCTION firehose_trigger(%s)',
			made[cardinality(made)], t.event, relation, t.transition, t.per, arguments);
		IF always THEN
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', relation, made[cardinality(made)]);
		END IF;
	END LOOP;
	RETURN made;
END $$;

CREATE FUNCTION firehose_detach(relation regclass, stream text DEFAULT NULL) RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	dropped text[] := ARRAY(SELECT tgname FROM firehose_stub_triggers(relation, stream) WHERE tgparentid = 0);
	name text;
BEGIN
	IF dropped = '{}' THEN
		RAISE undefined_object USING MESSAGE = CASE WHEN stream IS NULL
			THEN format('table %s is not attached to any stream', firehose_stub_name(relation))
			ELSE format('table %s is not attached to stream "%s"', firehose_stub_name(relation), stream) END,
			HINT = 'In psql, \d shows the triggers of a table.';
	END IF;
	FOREACH name IN ARRAY dropped LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', name, relation);
	END LOOP;
	RETURN dropped;
END $$;

--
-- Waiting
--

CREATE FUNCTION firehose_wait(id bigint, timeout interval DEFAULT '30 seconds', seconds double precision DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	wanted bigint := id;
	own boolean;
BEGIN
	IF id IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'id of firehose_wait() must not be null',
			HINT = 'A put returns null if its stream discards what the queue has no room for.';
	ELSIF timeout < '0' OR seconds < 0 OR seconds = 'NaN' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'timeout must not be negative',
			HINT = 'Use NULL to wait without a limit.';
	END IF;
	SELECT r.put_in = pg_current_xact_id_if_assigned() INTO own FROM firehose_stub_records r WHERE r.id = wanted;
	IF NOT FOUND THEN
		RETURN 'unknown';
	ELSIF own THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('cannot wait for record %s, which is sent when this transaction commits', id),
			HINT = 'Commit first, or put the record with transactional => false.';
	END IF;
	RETURN 'accepted';
END $$;

CREATE FUNCTION firehose_wait_all(
	ids bigint[],
	timeout interval DEFAULT '30 seconds',
	seconds double precision DEFAULT NULL,
	OUT id bigint,
	OUT status text,
	OUT record_id text,
	OUT error_code text,
	OUT error_message text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF array_position(ids, NULL) IS NOT NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'ids of firehose_wait_all() must not contain nulls';
	END IF;
	RETURN QUERY SELECT w.i, firehose_wait(w.i, timeout, seconds), s.record_id, s.error_code, s.error_message
		FROM unnest(ids) WITH ORDINALITY w(i, n) LEFT JOIN firehose_status s ON s.id = w.i ORDER BY w.n;
END $$;

CREATE FUNCTION firehose_pending(OUT id bigint, OUT stream text, OUT data bytea) RETURNS SETOF record
LANGUAGE sql VOLATILE AS $$
	SELECT id, stream, data FROM firehose_stub_records
	WHERE put_in = pg_current_xact_id_if_assigned() ORDER BY min(id) OVER (PARTITION BY stream), id
$$;

CREATE FUNCTION firehose_flush(stream text DEFAULT NULL, timeout interval DEFAULT '30 seconds', seconds double precision DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF stream IS NOT NULL THEN
		PERFORM firehose_stub_stream('firehose_flush', stream, true);
	END IF;
	IF EXISTS (SELECT FROM firehose_pending() p WHERE p.stream = coalesce(firehose_flush.stream, p.stream)) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'firehose_flush() cannot wait for records that are sent when this transaction commits',
			HINT = 'Commit first; firehose_pending() shows them.';
	END IF;
	RETURN true;
END $$;

CREATE FUNCTION firehose_last(stream text) RETURNS SETOF firehose_status
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1 AS
'SELECT s.* FROM firehose_status s WHERE s.stream = $1 ORDER BY s.completed_at DESC, s.id DESC LIMIT 1';

COMMIT;
