/* firehose--1.0.sql */

-- Whoever may create objects in the extension's schema could have this script,
-- and the views that it creates, run overloads of PostgreSQL's functions and
-- operators.  So all of them are qualified, literals given to them have a type,
-- and every object has a name of our choice.  t/062 holds it to that.

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION firehose" to load this file. \quit

--
-- Streams: foreign servers of the wrapper "firehose"
--

CREATE FUNCTION firehose_fdw_validator(text[], oid)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_fdw_check_options'
LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION firehose_fdw_validator(text[], oid) IS
'validates the options of streams (foreign servers of the wrapper firehose) and of their foreign tables';

CREATE FUNCTION firehose_fdw_handler()
RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'firehose_fdw_handler'
LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION firehose_fdw_handler() IS
'sends the rows that are inserted into foreign tables of streams';

CREATE FOREIGN DATA WRAPPER firehose HANDLER firehose_fdw_handler VALIDATOR firehose_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER firehose IS
'Amazon Data Firehose: every foreign server of this wrapper is a stream';

CREATE FUNCTION firehose_stream_options(
	OUT option text,
	OUT type text,
	OUT unit text,
	OUT min_value text,
	OUT max_value text,
	OUT default_setting text,
	OUT default_value text,
	OUT description text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_stream_options'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stream_options() IS
'options that a stream may have';

CREATE VIEW firehose_stream_options AS
	SELECT option, type, unit, min_value, max_value,
		   default_setting, default_value, description
	FROM firehose_stream_options();
COMMENT ON VIEW firehose_stream_options IS
'options that a stream may have (CREATE SERVER ... OPTIONS), with their bounds and the settings that give their defaults';
COMMENT ON COLUMN firehose_stream_options.option IS 'name, as in CREATE SERVER ... OPTIONS';
COMMENT ON COLUMN firehose_stream_options.type IS 'string, integer, boolean, or enum with its values';
COMMENT ON COLUMN firehose_stream_options.unit IS 'unit of a number without one';
COMMENT ON COLUMN firehose_stream_options.min_value IS 'smallest value';
COMMENT ON COLUMN firehose_stream_options.max_value IS 'largest value';
COMMENT ON COLUMN firehose_stream_options.default_setting IS 'setting that streams without the option follow';
COMMENT ON COLUMN firehose_stream_options.default_value IS 'present value of that setting, or the built-in default';
COMMENT ON COLUMN firehose_stream_options.description IS 'what the option does';

--
-- Puts
--
-- Not strict: a NULL stream or record is an error that says so, and a NULL
-- batch an empty one.  An untyped literal is text, the preferred type of its
-- category; firehose_put_batch takes it for an array of text.
--

CREATE FUNCTION firehose_put_record(stream text, data text, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_record_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_record(text, text, boolean) IS
'sends a record to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_record(stream text, data bytea, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_record_bytea'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_record(text, bytea, boolean) IS
'sends a record to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_record(stream text, data json, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_record_json'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_record(text, json, boolean) IS
'sends a record to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_record(stream text, data jsonb, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_record_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_record(text, jsonb, boolean) IS
'sends a record to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_batch(stream text, data text[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, text[], boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_batch(stream text, data bytea[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_bytea'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, bytea[], boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_batch(stream text, data json[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_json'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, json[], boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_batch(stream text, data jsonb[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, jsonb[], boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_record(stream text, data record, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_record_row'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_record(text, record, boolean) IS
'sends a record to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_batch(stream text, data record[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_row'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, record[], boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_batch(stream text, data text, transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_batch_unknown'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_batch(text, text, boolean) IS
'sends the elements as records to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

--
-- The same under names that leave no choice: for drivers, which often do not
-- tell the type of a parameter.  Of each name's overloads the one for text is
-- taken then, and means the same.
--

CREATE FUNCTION firehose_put_text(stream text, data text, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_text(text, text, boolean) IS
'sends a record of text to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_bytes(stream text, data bytea, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_bytes'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_bytes(text, bytea, boolean) IS
'sends a record of bytes to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_json(stream text, data text, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_json_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_json(text, text, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_json(stream text, data json, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_json_json'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_json(text, json, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_json(stream text, data jsonb, transactional boolean DEFAULT true)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_put_json_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_json(text, jsonb, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional) and returns its id';

CREATE FUNCTION firehose_put_texts(stream text, data text[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_texts'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_texts(text, text[], boolean) IS
'sends the elements as records of text to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_bytes_array(stream text, data bytea[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_bytes_array'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_bytes_array(text, bytea[], boolean) IS
'sends the elements as records of bytes to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data text, transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, text, boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data json, transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_json'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, json, boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data jsonb, transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, jsonb, boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data text[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_texts'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, text[], boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data json[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_jsons'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, json[], boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE FUNCTION firehose_put_jsons(stream text, data jsonb[], transactional boolean DEFAULT true)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'firehose_put_jsons_jsonbs'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_put_jsons(text, jsonb[], boolean) IS
'sends the elements as records of JSON to a stream when the transaction commits (at once if not transactional) and returns their ids in order';

CREATE PROCEDURE firehose_send(stream text, data text, transactional boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'firehose_send_text'
LANGUAGE C;
COMMENT ON PROCEDURE firehose_send(text, text, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional); has no result, for what calls procedures';

CREATE PROCEDURE firehose_send(stream text, data json, transactional boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'firehose_send_json'
LANGUAGE C;
COMMENT ON PROCEDURE firehose_send(text, json, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional); has no result, for what calls procedures';

CREATE PROCEDURE firehose_send(stream text, data jsonb, transactional boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'firehose_send_jsonb'
LANGUAGE C;
COMMENT ON PROCEDURE firehose_send(text, jsonb, boolean) IS
'sends a record of JSON to a stream when the transaction commits (at once if not transactional); has no result, for what calls procedures';

CREATE FUNCTION firehose_row_json("row" record, bigints text DEFAULT 'number')
RETURNS json
AS 'MODULE_PATHNAME', 'firehose_row_json'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_row_json(record, text) IS
'a row as the JSON that triggers and firehose_put_record make of it, which no setting changes';

CREATE FUNCTION firehose_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'firehose_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_trigger() IS
'trigger that sends changed rows as JSON to the stream named by its first argument';

CREATE FUNCTION firehose_attach(
	relation regclass,
	stream text,
	level text DEFAULT 'row',
	content text DEFAULT 'change',
	names text DEFAULT 'leaf',
	bigints text DEFAULT 'number',
	always boolean DEFAULT false)
RETURNS text[]
AS 'MODULE_PATHNAME', 'firehose_attach'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_attach(regclass, text, text, text, text, text, boolean) IS
'creates the triggers that send the changes of a table to a stream, and returns their names';

CREATE FUNCTION firehose_detach(relation regclass, stream text DEFAULT NULL)
RETURNS text[]
AS 'MODULE_PATHNAME', 'firehose_detach'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_detach(regclass, text) IS
'drops the triggers that send the changes of a table to a stream, or to any, and returns their names';

--
-- Waiting
--

-- A number of seconds is an argument of its own, and a list of ids a function
-- of another name: overloads would make calls ambiguous whose parameters have no
-- type.
CREATE FUNCTION firehose_wait(id bigint, timeout interval DEFAULT '30 seconds', seconds double precision DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'firehose_wait'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_wait(bigint, interval, double precision) IS
'waits for a record''s outcome: accepted or failed; pending when the timeout is over, unknown for an id that is neither queued nor recent nor in firehose_status';

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
AS 'MODULE_PATHNAME', 'firehose_wait_all'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_wait_all(bigint[], interval, double precision) IS
'waits for the outcomes of records, at most until one timeout for all is over: a row for each, in the order of the array, with status as of firehose_wait and what firehose_status tells besides';

CREATE FUNCTION firehose_pending(OUT id bigint, OUT stream text, OUT data bytea)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_pending'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_pending() IS
'records that the current transaction has put and that are sent when it commits, as they will be sent; data is null of durable puts';

CREATE FUNCTION firehose_flush(stream text DEFAULT NULL, timeout interval DEFAULT '30 seconds', seconds double precision DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'firehose_flush'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_flush(text, interval, double precision) IS
'waits until all that was committed before the call, to one stream or to all of this database, was accepted or has failed; false when the timeout is over, an error in a transaction that has put';

CREATE FUNCTION firehose_drain(timeout interval DEFAULT '30 seconds')
RETURNS boolean
AS 'MODULE_PATHNAME', 'firehose_drain'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_drain(interval) IS
'waits until the whole server''s queue is empty, as before a switchover, pg_upgrade or copy of the data directory; false when the timeout is over';

REVOKE ALL ON FUNCTION firehose_drain(interval) FROM PUBLIC;

CREATE FUNCTION firehose_load_saved_queue(
	file text,
	from_database oid DEFAULT NULL,
	OUT database oid,
	OUT stream name,
	OUT records bigint,
	OUT loaded bigint,
	OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_load_saved_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_load_saved_queue(text, oid) IS
'puts the records of a saved queue that was set aside into the streams of this database, at once and even if the transaction is rolled back; what is loaded is gone from the file, and the file once it is empty';

REVOKE ALL ON FUNCTION firehose_load_saved_queue(text, oid) FROM PUBLIC;

--
-- Statistics
--
-- The functions show every stream to members of pg_read_all_stats (pg_monitor
-- is one), and to others the streams of this database that they own; of those
-- that they have USAGE on why they take nothing, but no counters.
--

CREATE FUNCTION firehose_stat_stream(
	OUT stream name,
	OUT state text,
	OUT reason text,
	OUT datname name,
	OUT queued bigint,
	OUT queued_bytes bigint,
	OUT in_flight bigint,
	OUT accepted bigint,
	OUT failed bigint,
	OUT discarded bigint,
	OUT resent bigint,
	OUT throttled bigint,
	OUT requests bigint,
	OUT bytes bigint,
	OUT billed_bytes bigint,
	OUT oldest_queued_at timestamptz,
	OUT last_accepted_at timestamptz,
	OUT last_error_code text,
	OUT last_error_message text,
	OUT last_error_at timestamptz,
	OUT latency_count bigint,
	OUT latency_sum double precision,
	OUT stats_reset timestamptz,
	OUT mismatches bigint,
	OUT dropped boolean,
	OUT table_error text,
	OUT firehose_records bigint,
	OUT sent_bytes bigint,
	OUT last_response_at timestamptz,
	OUT unreachable_since timestamptz,
	OUT clock_offset bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_stat_stream'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stat_stream() IS 'statistics of streams';

CREATE VIEW firehose_stat_stream AS
	SELECT stream, state, reason, datname, queued, queued_bytes, in_flight,
		   accepted, failed, discarded, resent, throttled, requests, bytes,
		   billed_bytes, oldest_queued_at, last_accepted_at, last_error_code,
		   last_error_message, last_error_at, latency_count, latency_sum,
		   stats_reset, mismatches, dropped, table_error, firehose_records,
		   sent_bytes, last_response_at, unreachable_since, clock_offset
	FROM firehose_stat_stream();
COMMENT ON VIEW firehose_stat_stream IS
'one row per stream used since the server started: its state and counters; queued + in_flight = 0 means that nothing is pending';
COMMENT ON COLUMN firehose_stat_stream.stream IS 'name of the foreign server';
COMMENT ON COLUMN firehose_stat_stream.state IS 'active, authenticating (waits for its first credentials), waiting (the sender has no memory or connection left for it now), throttled (the service asks for less), retrying (requests fail), parked (cannot be sent to, probed slowly), paused, disabled, or stopped (no sender runs in the database)';
COMMENT ON COLUMN firehose_stat_stream.reason IS 'why the stream is not active';
COMMENT ON COLUMN firehose_stat_stream.datname IS 'database of the stream';
COMMENT ON COLUMN firehose_stat_stream.queued IS 'committed records that are waiting to be sent';
COMMENT ON COLUMN firehose_stat_stream.queued_bytes IS 'bytes of the records that are waiting or in flight';
COMMENT ON COLUMN firehose_stat_stream.in_flight IS 'records in requests that are under way';
COMMENT ON COLUMN firehose_stat_stream.accepted IS 'records that Firehose took (they have a record id)';
COMMENT ON COLUMN firehose_stat_stream.failed IS 'records that went to the dead letters';
COMMENT ON COLUMN firehose_stat_stream.discarded IS 'records refused by a full queue under on_full = discard';
COMMENT ON COLUMN firehose_stat_stream.resent IS 'records sent once more';
COMMENT ON COLUMN firehose_stat_stream.throttled IS 'throttling responses, of requests and of single records';
COMMENT ON COLUMN firehose_stat_stream.requests IS 'requests sent';
COMMENT ON COLUMN firehose_stat_stream.bytes IS 'bytes of accepted records';
COMMENT ON COLUMN firehose_stat_stream.billed_bytes IS 'bytes of Firehose records accepted, each rounded up to 5 KiB, as Direct PUT is billed';
COMMENT ON COLUMN firehose_stat_stream.oldest_queued_at IS 'when the oldest pending record was put';
COMMENT ON COLUMN firehose_stat_stream.last_accepted_at IS 'when Firehose last took a record';
COMMENT ON COLUMN firehose_stat_stream.last_error_code IS 'code of the last error';
COMMENT ON COLUMN firehose_stat_stream.last_error_message IS 'text of the last error';
COMMENT ON COLUMN firehose_stat_stream.last_error_at IS 'time of the last error';
COMMENT ON COLUMN firehose_stat_stream.latency_count IS 'records in latency_sum';
COMMENT ON COLUMN firehose_stat_stream.latency_sum IS 'time from put to acknowledgement, summed over these records, in milliseconds';
COMMENT ON COLUMN firehose_stat_stream.stats_reset IS 'when the counters were last reset';
COMMENT ON COLUMN firehose_stat_stream.mismatches IS 'responses that contradicted themselves';
COMMENT ON COLUMN firehose_stat_stream.dropped IS 'the server was dropped; what it still had goes to the dead letters';
COMMENT ON COLUMN firehose_stat_stream.table_error IS 'why the sender cannot write status rows or dead letters at present; delivery goes on meanwhile';
COMMENT ON COLUMN firehose_stat_stream.firehose_records IS 'Firehose records that the accepted records were in: fewer with the option pack';
COMMENT ON COLUMN firehose_stat_stream.sent_bytes IS 'bytes of these Firehose records: fewer with the option compression';
COMMENT ON COLUMN firehose_stat_stream.last_response_at IS 'when the endpoint last responded as Firehose does, be it with an error';
COMMENT ON COLUMN firehose_stat_stream.unreachable_since IS 'time of the first request since then that had no such response; null if the last one had';
COMMENT ON COLUMN firehose_stat_stream.clock_offset IS 'seconds that the endpoint''s clock was ahead of this machine''s in its last response; negative if behind';

CREATE FUNCTION firehose_stat_identity(
	OUT datname name,
	OUT role_arn text,
	OUT state text,
	OUT source text,
	OUT principal text,
	OUT expires_at timestamptz,
	OUT fetched_at timestamptz,
	OUT fetches bigint,
	OUT failures bigint,
	OUT last_error text,
	OUT last_error_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_stat_identity'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stat_identity() IS 'identities of the senders towards AWS';
REVOKE ALL ON FUNCTION firehose_stat_identity() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION firehose_stat_identity() TO pg_monitor, pg_read_all_data;

CREATE VIEW firehose_stat_identity AS
	SELECT datname, role_arn, state, source, principal, expires_at,
		   fetched_at, fetches, failures, last_error, last_error_at
	FROM firehose_stat_identity();
COMMENT ON VIEW firehose_stat_identity IS
'one row per identity that a database''s sender acts under towards AWS: where its credentials come from, and how long they live';
COMMENT ON COLUMN firehose_stat_identity.datname IS 'database of the sender';
COMMENT ON COLUMN firehose_stat_identity.role_arn IS 'role that streams name in their option role_arn; null for the server''s own identity';
COMMENT ON COLUMN firehose_stat_identity.state IS 'fetching (for the first time), ready or failed (there are no credentials)';
COMMENT ON COLUMN firehose_stat_identity.source IS 'provider that the credentials come from';
COMMENT ON COLUMN firehose_stat_identity.principal IS 'whose credentials they are, if the provider tells';
COMMENT ON COLUMN firehose_stat_identity.expires_at IS 'when they expire; null if that is not known';
COMMENT ON COLUMN firehose_stat_identity.fetched_at IS 'when they last changed';
COMMENT ON COLUMN firehose_stat_identity.fetches IS 'how often they were found or fetched';
COMMENT ON COLUMN firehose_stat_identity.failures IS 'how often that failed';
COMMENT ON COLUMN firehose_stat_identity.last_error IS 'text of the last failure; superusers only, because it names files and profiles of the server';
COMMENT ON COLUMN firehose_stat_identity.last_error_at IS 'time of the last failure';
GRANT SELECT ON firehose_stat_identity TO pg_monitor;

CREATE FUNCTION firehose_stat_queue(
	OUT queue_size bigint,
	OUT page_size integer,
	OUT pages bigint,
	OUT pages_free bigint,
	OUT pages_promised bigint,
	OUT used double precision,
	OUT lowest_free bigint,
	OUT waiters integer,
	OUT streams integer,
	OUT max_streams integer,
	OUT largest_transaction bigint,
	OUT next_id bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'firehose_stat_queue'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stat_queue() IS 'state of the server''s queue';

CREATE VIEW firehose_stat_queue AS
	SELECT queue_size, page_size, pages, pages_free, pages_promised, used,
		   lowest_free, waiters, streams, max_streams, largest_transaction,
		   next_id
	FROM firehose_stat_queue();
COMMENT ON VIEW firehose_stat_queue IS
'one row: how full the server''s queue is, and how many puts wait for space in it';
COMMENT ON COLUMN firehose_stat_queue.queue_size IS 'size of all pages in bytes';
COMMENT ON COLUMN firehose_stat_queue.page_size IS 'size of a page in bytes';
COMMENT ON COLUMN firehose_stat_queue.pages IS 'number of pages';
COMMENT ON COLUMN firehose_stat_queue.pages_free IS 'pages that hold no records';
COMMENT ON COLUMN firehose_stat_queue.pages_promised IS 'free pages that open transactions have reserved';
COMMENT ON COLUMN firehose_stat_queue.used IS 'fraction of pages that hold records or are reserved, 0 to 1';
COMMENT ON COLUMN firehose_stat_queue.lowest_free IS 'fewest free pages since the last reset';
COMMENT ON COLUMN firehose_stat_queue.waiters IS 'puts that wait for room';
COMMENT ON COLUMN firehose_stat_queue.streams IS 'streams in use, over all databases';
COMMENT ON COLUMN firehose_stat_queue.max_streams IS 'firehose.max_streams';
COMMENT ON COLUMN firehose_stat_queue.largest_transaction IS 'bytes that one transaction may put at most';
COMMENT ON COLUMN firehose_stat_queue.next_id IS 'id of the next record';

GRANT SELECT ON firehose_stat_stream, firehose_stream_options TO PUBLIC;
REVOKE ALL ON FUNCTION firehose_stat_queue() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION firehose_stat_queue() TO pg_monitor, pg_read_all_data;
GRANT SELECT ON firehose_stat_queue TO pg_monitor;

CREATE FUNCTION firehose_stat_reset(stream text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_stat_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_stat_reset(text) IS
'sets to zero the counters of one stream of this database, or of all streams of the server and the queue';

REVOKE ALL ON FUNCTION firehose_stat_reset(text) FROM PUBLIC;

--
-- Tables
--
-- Backends and workers write them below triggers.  No other role does but the
-- owner: pg_write_all_data alone shall not plant a pipeline or a dead letter
-- that is then obeyed with the rights of others.
--

CREATE FUNCTION firehose_guard_table()
RETURNS trigger
AS 'MODULE_PATHNAME', 'firehose_guard_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_guard_table() IS
'trigger that lets only the owner of the extension write to its tables';

--
-- Status: one row per finished record
--
-- A ring of unlogged tables, guarded as all tables are, that the sender fills in turn and truncates when
-- their turn comes again.  They are not partitions of a partitioned table,
-- since that would be published by FOR ALL TABLES, and carry no unique key,
-- since a redelivery repeats an id.  Columns are ordered for size.  There is
-- nothing to vacuum; statistics make the planner use the BRIN index.
--

CREATE UNLOGGED TABLE firehose_status_0 (
	id bigint NOT NULL,
	queued_at timestamptz NOT NULL,
	completed_at timestamptz NOT NULL,
	lsn pg_lsn,
	serverid oid NOT NULL,
	attempts integer NOT NULL,
	bytes integer NOT NULL,
	accepted boolean NOT NULL,
	encrypted boolean NOT NULL,
	stream text NOT NULL,
	pipeline text,
	record_id text,
	error_code text,
	error_message text
) USING heap WITH (
	autovacuum_vacuum_threshold = 2147483647, autovacuum_vacuum_insert_threshold = -1,
	autovacuum_analyze_threshold = 10000, autovacuum_analyze_scale_factor = 1,
	toast.autovacuum_enabled = off);
ALTER TABLE firehose_status_0
	ALTER id SET STATISTICS 10,
	ALTER queued_at SET STATISTICS 10,
	ALTER completed_at SET STATISTICS 10,
	ALTER lsn SET STATISTICS 0,
	ALTER serverid SET STATISTICS 10,
	ALTER attempts SET STATISTICS 0,
	ALTER bytes SET STATISTICS 0,
	ALTER accepted SET STATISTICS 10,
	ALTER encrypted SET STATISTICS 0,
	ALTER stream SET STATISTICS 10,
	ALTER pipeline SET STATISTICS 0,
	ALTER record_id SET STATISTICS 0,
	ALTER error_code SET STATISTICS 10,
	ALTER error_message SET STATISTICS 0;
COMMENT ON TABLE firehose_status_0 IS 'finished records, table 0 of a ring of 8: see firehose_status';
CREATE INDEX firehose_status_0_brin ON firehose_status_0
	USING brin (id, queued_at, completed_at) WITH (pages_per_range = 64);
COMMENT ON INDEX firehose_status_0_brin IS 'finds records by id and time in table 0 of the ring';
CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_status_0
	FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
ALTER TABLE firehose_status_0 ENABLE ALWAYS TRIGGER firehose_guard;

DO $$
BEGIN
	FOR i IN 1 .. 7 LOOP
		EXECUTE pg_catalog.format('
			CREATE UNLOGGED TABLE firehose_status_%1$s (LIKE firehose_status_0 INCLUDING STATISTICS)
				USING heap WITH (
				autovacuum_vacuum_threshold = 2147483647, autovacuum_vacuum_insert_threshold = -1,
				autovacuum_analyze_threshold = 10000, autovacuum_analyze_scale_factor = 1,
				toast.autovacuum_enabled = off);
			COMMENT ON TABLE firehose_status_%1$s IS ''finished records, table %1$s of a ring of 8: see firehose_status'';
			CREATE INDEX firehose_status_%1$s_brin ON firehose_status_%1$s
				USING brin (id, queued_at, completed_at) WITH (pages_per_range = 64);
			COMMENT ON INDEX firehose_status_%1$s_brin IS ''finds records by id and time in table %1$s of the ring'';
			CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_status_%1$s
				FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
			ALTER TABLE firehose_status_%1$s ENABLE ALWAYS TRIGGER firehose_guard',
			i);
	END LOOP;
END
$$;

-- A row belongs to a server if OID and name agree: the OID alone may mean
-- another server after pg_upgrade, the name alone after DROP and CREATE.
CREATE VIEW firehose_status WITH (security_barrier) AS
	SELECT r.id, r.stream, r.pipeline,
		   CASE WHEN r.accepted THEN 'accepted' ELSE 'failed' END AS status,
		   r.record_id, r.encrypted, r.error_code, r.error_message,
		   r.attempts, r.bytes, r.lsn, r.queued_at, r.completed_at
	FROM (SELECT * FROM firehose_status_0
		  UNION ALL SELECT * FROM firehose_status_1
		  UNION ALL SELECT * FROM firehose_status_2
		  UNION ALL SELECT * FROM firehose_status_3
		  UNION ALL SELECT * FROM firehose_status_4
		  UNION ALL SELECT * FROM firehose_status_5
		  UNION ALL SELECT * FROM firehose_status_6
		  UNION ALL SELECT * FROM firehose_status_7) r
	WHERE (SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE'::pg_catalog.text))
	   OR (r.serverid, r.stream) OPERATOR(pg_catalog.=) ANY
		  (SELECT s.oid, s.srvname::pg_catalog.text
		   FROM pg_catalog.pg_foreign_server s
		   WHERE pg_catalog.has_server_privilege(s.oid, 'USAGE'::pg_catalog.text)
			  OR pg_catalog.pg_has_role(s.srvowner, 'USAGE'::pg_catalog.text));
COMMENT ON VIEW firehose_status IS
'one row per finished record, kept as firehose.status_retention and firehose.status_max_size say; shows what the reader has USAGE on, everything to pg_monitor';
COMMENT ON COLUMN firehose_status.id IS 'id that firehose_put_record returned';
COMMENT ON COLUMN firehose_status.stream IS 'name of the foreign server, as it was then';
COMMENT ON COLUMN firehose_status.pipeline IS 'name of the pipeline, null for puts';
COMMENT ON COLUMN firehose_status.status IS 'accepted or failed';
COMMENT ON COLUMN firehose_status.record_id IS 'RecordId that Firehose gave';
COMMENT ON COLUMN firehose_status.encrypted IS 'Firehose says that it encrypts the record at rest';
COMMENT ON COLUMN firehose_status.error_code IS 'code of the error that failed it';
COMMENT ON COLUMN firehose_status.error_message IS 'text of the error that failed it';
COMMENT ON COLUMN firehose_status.attempts IS 'requests that carried it';
COMMENT ON COLUMN firehose_status.bytes IS 'size as sent, delimiter included, before base64';
COMMENT ON COLUMN firehose_status.lsn IS 'position of its commit in the WAL, null for puts that did not go through the WAL';
COMMENT ON COLUMN firehose_status.queued_at IS 'time of the put';
COMMENT ON COLUMN firehose_status.completed_at IS 'time of the response that settled it';

GRANT SELECT ON firehose_status TO PUBLIC;

-- Times are ascending, so each step reads little, and only if the one before
-- it has found nothing.
CREATE FUNCTION firehose_last(stream text)
RETURNS SETOF firehose_status
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	(SELECT s.* FROM firehose_status s
	 WHERE s.stream OPERATOR(pg_catalog.=) $1
	   AND s.completed_at OPERATOR(pg_catalog.>=)
		   (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.-) interval '10 seconds')
	 ORDER BY s.completed_at USING OPERATOR(pg_catalog.>), s.id USING OPERATOR(pg_catalog.>) LIMIT 1)
	UNION ALL
	(SELECT s.* FROM firehose_status s
	 WHERE s.stream OPERATOR(pg_catalog.=) $1
	   AND s.completed_at OPERATOR(pg_catalog.>=)
		   (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.-) interval '10 minutes')
	 ORDER BY s.completed_at USING OPERATOR(pg_catalog.>), s.id USING OPERATOR(pg_catalog.>) LIMIT 1)
	UNION ALL
	(SELECT s.* FROM firehose_status s
	 WHERE s.stream OPERATOR(pg_catalog.=) $1
	 ORDER BY s.completed_at USING OPERATOR(pg_catalog.>), s.id USING OPERATOR(pg_catalog.>) LIMIT 1)
	LIMIT 1;
END;
COMMENT ON FUNCTION firehose_last(text) IS
'the row of firehose_status of the record of a stream that was finished last; quick however many rows there are';

--
-- Dead letters: records that cannot be delivered
--
-- Logged, but not for the ears of a FOR ALL TABLES publication: the sender
-- inserts without logical information, and deletes carry none for want of a
-- replica identity, so that no subscriber meets a table that it does not have.
-- A redelivery of a letter repeats id and queued_at and is skipped; an id that
-- came from another server with a dump does not stand in the way of ours.
--

CREATE TABLE firehose_dead_letters (
	id bigint NOT NULL,
	queued_at timestamptz NOT NULL,
	failed_at timestamptz NOT NULL,
	lsn pg_lsn,
	serverid oid NOT NULL,
	attempts integer NOT NULL,
	stream text NOT NULL,
	pipeline text,
	error_code text,
	error_message text,
	data bytea,
	CONSTRAINT firehose_dead_letters_pkey PRIMARY KEY (id, queued_at)
) USING heap;
ALTER TABLE firehose_dead_letters REPLICA IDENTITY NOTHING;
CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_dead_letters
	FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
ALTER TABLE firehose_dead_letters ENABLE ALWAYS TRIGGER firehose_guard;
COMMENT ON INDEX firehose_dead_letters_pkey IS 'a letter is written once, however often its record is redelivered';
COMMENT ON TABLE firehose_dead_letters IS
'records that could not be delivered: see firehose_dead_letter';

-- for pg_dump by the database's owner
GRANT SELECT ON firehose_dead_letters TO pg_database_owner;
SELECT pg_catalog.pg_extension_config_dump('firehose_dead_letters'::pg_catalog.regclass, ''::pg_catalog.text);

CREATE VIEW firehose_dead_letter WITH (security_barrier) AS
	SELECT r.id, r.stream, r.pipeline, r.data, r.error_code, r.error_message,
		   r.attempts, r.lsn, r.queued_at, r.failed_at
	FROM firehose_dead_letters r
	WHERE (SELECT pg_catalog.pg_has_role('pg_read_all_data'::pg_catalog.name, 'USAGE'::pg_catalog.text))
	   OR (r.serverid, r.stream) OPERATOR(pg_catalog.=) ANY
		  (SELECT s.oid, s.srvname::pg_catalog.text
		   FROM pg_catalog.pg_foreign_server s
		   WHERE pg_catalog.pg_has_role(s.srvowner, 'USAGE'::pg_catalog.text));
COMMENT ON VIEW firehose_dead_letter IS
'records that could not be delivered, with payload and reason; shows those of the reader''s own streams, everything to pg_read_all_data';
COMMENT ON COLUMN firehose_dead_letter.id IS 'id that firehose_put_record returned';
COMMENT ON COLUMN firehose_dead_letter.stream IS 'name of the foreign server, as it was then';
COMMENT ON COLUMN firehose_dead_letter.pipeline IS 'name of the pipeline, null for puts';
COMMENT ON COLUMN firehose_dead_letter.data IS 'the record, delimiter included';
COMMENT ON COLUMN firehose_dead_letter.error_code IS 'code of the error';
COMMENT ON COLUMN firehose_dead_letter.error_message IS 'text of the error';
COMMENT ON COLUMN firehose_dead_letter.attempts IS 'requests that carried it';
COMMENT ON COLUMN firehose_dead_letter.lsn IS 'position of its commit in the WAL, null for puts that did not go through the WAL';
COMMENT ON COLUMN firehose_dead_letter.queued_at IS 'time of the put';
COMMENT ON COLUMN firehose_dead_letter.failed_at IS 'when it became a dead letter';

GRANT SELECT ON firehose_dead_letter TO PUBLIC;

CREATE FUNCTION firehose_retry_dead_letters(
	stream text DEFAULT NULL,
	ids bigint[] DEFAULT NULL,
	to_stream text DEFAULT NULL,
	max_records integer DEFAULT 1000)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_retry_dead_letters'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_retry_dead_letters(text, bigint[], text, integer) IS
'queues dead letters of the caller''s streams again, under their old ids, oldest first, and returns how many: as many as fit into one transaction, so call it until it returns 0';

CREATE FUNCTION firehose_purge_dead_letters(
	stream text DEFAULT NULL,
	before timestamptz DEFAULT NULL,
	ids bigint[] DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'firehose_purge_dead_letters'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_purge_dead_letters(text, timestamptz, bigint[]) IS
'deletes dead letters of the caller''s streams that failed before a time, or by id, and returns how many';

--
-- Pipelines: publications whose changes are sent
--
-- Ids are never reused within a database, as the names of slots contain them.
-- No role has privileges on the table; it carries no logical information, for
-- the same reason as the dead letters.  The owner is an OID: like the database
-- it means nothing after a restore elsewhere, and who resumes a restored
-- pipeline owns it.
--

CREATE TABLE firehose_pipelines (
	id integer NOT NULL GENERATED BY DEFAULT AS IDENTITY
		(SEQUENCE NAME firehose_pipelines_id_seq)
		CONSTRAINT firehose_pipelines_pkey PRIMARY KEY,
	version integer NOT NULL,
	database oid NOT NULL,
	system_identifier bigint NOT NULL,
	owner oid NOT NULL,
	slot_created boolean NOT NULL,
	enabled boolean NOT NULL,
	durable_puts boolean NOT NULL,
	dropped boolean NOT NULL,
	name text CONSTRAINT firehose_pipelines_name_key UNIQUE,
	stream text NOT NULL,
	publications text[] NOT NULL,
	format text NOT NULL,
	timestamps text,
	numerics text,
	json_columns text,
	bigints text,
	metadata text,
	unchanged text,
	routes jsonb NOT NULL,
	messages text[],
	origin text NOT NULL,
	slot_name text,
	skip_lsns pg_lsn[],
	publication_oids oid[],
	stream_oids oid[],
	failover boolean,
	home bigint
) USING heap;
ALTER TABLE firehose_pipelines REPLICA IDENTITY NOTHING;
CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_pipelines
	FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
ALTER TABLE firehose_pipelines ENABLE ALWAYS TRIGGER firehose_guard;
COMMENT ON TABLE firehose_pipelines IS
'pipelines of this database, and of those it was copied or restored from: see firehose_pipeline';
COMMENT ON SEQUENCE firehose_pipelines_id_seq IS 'ids of pipelines';
COMMENT ON INDEX firehose_pipelines_pkey IS 'ids of pipelines are unique';
COMMENT ON INDEX firehose_pipelines_name_key IS 'names of pipelines are unique';
COMMENT ON COLUMN firehose_pipelines.version IS 'changes with the definition';
COMMENT ON COLUMN firehose_pipelines.database IS 'database in which it was made or resumed';
COMMENT ON COLUMN firehose_pipelines.system_identifier IS 'server on which it was made or resumed';
COMMENT ON COLUMN firehose_pipelines.slot_created IS 'its replication slot has existed: if it does not now, it was lost';
COMMENT ON COLUMN firehose_pipelines.publication_oids IS 'its publications, whatever they are called by now';
COMMENT ON COLUMN firehose_pipelines.stream_oids IS 'streams of its routes, in their order, and its stream';
COMMENT ON COLUMN firehose_pipelines.failover IS 'its replication slot is to be a failover slot; null: if the pipeline creates it';
COMMENT ON COLUMN firehose_pipelines.home IS 'copy of the data directory in which it was made or resumed; null: not in one that was recognised as a copy';
COMMENT ON COLUMN firehose_pipelines.dropped IS 'the pipeline is dropped; the row goes when its replication slot has gone';

-- for pg_dump by the database's owner
GRANT SELECT ON firehose_pipelines, firehose_pipelines_id_seq TO pg_database_owner;

--
-- How far they are, durably: written by decoders (src/pipeline/position.h).
-- Not dumped: a restored pipeline is another one.
--

CREATE TABLE firehose_positions (
	pipeline integer NOT NULL,
	system_identifier bigint NOT NULL,
	timeline bigint NOT NULL,
	confirmed_lsn pg_lsn NOT NULL,
	epochs_from pg_lsn[] NOT NULL,
	epochs bigint[] NOT NULL
) USING heap;
ALTER TABLE firehose_positions REPLICA IDENTITY NOTHING;
CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_positions
	FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
ALTER TABLE firehose_positions ENABLE ALWAYS TRIGGER firehose_guard;
COMMENT ON TABLE firehose_positions IS
'up to where all changes of a pipeline are delivered; its replication slot is compared with it';
COMMENT ON COLUMN firehose_positions.pipeline IS 'id of the pipeline';
COMMENT ON COLUMN firehose_positions.system_identifier IS 'server that wrote it, zero if a command did';
COMMENT ON COLUMN firehose_positions.timeline IS 'timeline that the server then wrote';
COMMENT ON COLUMN firehose_positions.confirmed_lsn IS 'all commits before this are delivered';
COMMENT ON COLUMN firehose_positions.epochs_from IS 'commits from these positions on ...';
COMMENT ON COLUMN firehose_positions.epochs IS '... have ids that begin with these numbers';

--
-- The copies of the rows that tables have, and how far they are: written by
-- commands and decoders (src/pipeline/copies.h).  Not dumped, for the same
-- reason.
--

CREATE TABLE firehose_copies (
	pipeline integer NOT NULL,
	relid oid NOT NULL,
	phase text NOT NULL,
	condition text,
	key_columns text[],
	key_types text[],
	last_key text[],
	rows bigint NOT NULL,
	bytes bigint NOT NULL,
	chunks bigint NOT NULL,
	end_lsn pg_lsn,
	requested_at timestamptz NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	error text
) USING heap;
ALTER TABLE firehose_copies REPLICA IDENTITY NOTHING;
CREATE TRIGGER firehose_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON firehose_copies
	FOR EACH STATEMENT EXECUTE FUNCTION firehose_guard_table();
ALTER TABLE firehose_copies ENABLE ALWAYS TRIGGER firehose_guard;
COMMENT ON TABLE firehose_copies IS
'copies of tables by pipelines: see firehose_stat_progress_copy';
COMMENT ON COLUMN firehose_copies.pipeline IS 'id of the pipeline';
COMMENT ON COLUMN firehose_copies.relid IS 'OID of the table';
COMMENT ON COLUMN firehose_copies.key_columns IS 'key that the table is read by, null: by its blocks';
COMMENT ON COLUMN firehose_copies.key_types IS 'types and collations of these, which its order hangs on';
COMMENT ON COLUMN firehose_copies.last_key IS 'up to where it is delivered';
COMMENT ON COLUMN firehose_copies.end_lsn IS 'the copy ends once the stream has come here';

SELECT pg_catalog.pg_extension_config_dump('firehose_pipelines'::pg_catalog.regclass, 'WHERE NOT dropped'::pg_catalog.text);
SELECT pg_catalog.pg_extension_config_dump('firehose_pipelines_id_seq'::pg_catalog.regclass, ''::pg_catalog.text);

CREATE VIEW firehose_pipeline WITH (security_barrier) AS
	SELECT p.name AS pipeline, pg_catalog.pg_get_userbyid(p.owner) AS owner,
		   CASE WHEN p.stream OPERATOR(pg_catalog.<>) '' THEN p.stream END AS stream,
		   p.publications, p.format, p.routes, p.timestamps, p.numerics,
		   p.json_columns, p.bigints, p.metadata, p.unchanged, p.messages, p.origin,
		   coalesce(p.slot_name, pg_catalog.format('firehose_%s_%s'::pg_catalog.text, p.database, p.id)) AS slot_name,
		   p.enabled, p.durable_puts, p.skip_lsns, p.failover
	FROM firehose_pipelines p
	WHERE NOT p.dropped
	  AND ((SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE'::pg_catalog.text)) OR pg_catalog.pg_has_role(p.owner, 'USAGE'::pg_catalog.text));
COMMENT ON VIEW firehose_pipeline IS
'one row per pipeline of this database: how it was defined; shows the reader''s own, everything to pg_monitor';
COMMENT ON COLUMN firehose_pipeline.pipeline IS 'name';
COMMENT ON COLUMN firehose_pipeline.owner IS 'the role that created it, or resumed it here';
COMMENT ON COLUMN firehose_pipeline.stream IS 'stream of all tables without a route, null for durable puts';
COMMENT ON COLUMN firehose_pipeline.publications IS 'publications whose changes are sent';
COMMENT ON COLUMN firehose_pipeline.format IS 'format of the records';
COMMENT ON COLUMN firehose_pipeline.routes IS 'tables whose changes go to other streams';
COMMENT ON COLUMN firehose_pipeline.timestamps IS 'form of timestamps, null for the format''s default';
COMMENT ON COLUMN firehose_pipeline.numerics IS 'form of numerics, null for the format''s default';
COMMENT ON COLUMN firehose_pipeline.json_columns IS 'form of json and jsonb columns, null for the format''s default';
COMMENT ON COLUMN firehose_pipeline.bigints IS 'form of bigint, null for the format''s default';
COMMENT ON COLUMN firehose_pipeline.metadata IS 'which keys of their own formats add, or schema: descriptions of tables, too; null for all keys';
COMMENT ON COLUMN firehose_pipeline.unchanged IS 'what format flat does with a change that lacks a column, null for dead_letter';
COMMENT ON COLUMN firehose_pipeline.messages IS 'prefixes of logical messages that are sent, too';
COMMENT ON COLUMN firehose_pipeline.origin IS 'any, or none to leave out what was replicated into this database';
COMMENT ON COLUMN firehose_pipeline.slot_name IS 'its replication slot';
COMMENT ON COLUMN firehose_pipeline.enabled IS 'it is to run';
COMMENT ON COLUMN firehose_pipeline.durable_puts IS 'it sends the records put with firehose.put_durability = wal';
COMMENT ON COLUMN firehose_pipeline.skip_lsns IS 'transactions that commit here are not sent';
COMMENT ON COLUMN firehose_pipeline.failover IS 'its slot is to be a failover slot (PostgreSQL 17); null: if the pipeline creates it';

GRANT SELECT ON firehose_pipeline TO PUBLIC;

CREATE FUNCTION firehose_create_pipeline(
	name text,
	stream text,
	publications text[],
	format text DEFAULT 'json',
	routes jsonb DEFAULT '{}',
	timestamps text DEFAULT NULL,
	numerics text DEFAULT NULL,
	json_columns text DEFAULT NULL,
	bigints text DEFAULT NULL,
	metadata text DEFAULT NULL,
	unchanged text DEFAULT NULL,
	messages text[] DEFAULT NULL,
	origin text DEFAULT 'any',
	failover boolean DEFAULT NULL,
	slot_name text DEFAULT NULL,
	create_slot boolean DEFAULT true,
	enabled boolean DEFAULT true,
	copy_data boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_create_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_create_pipeline(text, text, text[], text, jsonb, text, text, text, text, text, text, text[], text, boolean, text, boolean, boolean, boolean) IS
'makes a pipeline: from the commit of this call on, changes of the publications are sent to the stream, and the rows that their tables have already';

CREATE FUNCTION firehose_alter_pipeline(
	name text,
	stream text DEFAULT NULL,
	publications text[] DEFAULT NULL,
	format text DEFAULT NULL,
	routes jsonb DEFAULT NULL,
	timestamps text DEFAULT NULL,
	numerics text DEFAULT NULL,
	json_columns text DEFAULT NULL,
	bigints text DEFAULT NULL,
	metadata text DEFAULT NULL,
	unchanged text DEFAULT NULL,
	messages text[] DEFAULT NULL,
	origin text DEFAULT NULL,
	failover boolean DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_alter_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_alter_pipeline(text, text, text[], text, jsonb, text, text, text, text, text, text, text[], text, boolean) IS
'changes a pipeline; what is null stays, and a choice of ''default'' is that of the format';

CREATE FUNCTION firehose_pause_pipeline(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_pause_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_pause_pipeline(text) IS
'stops a pipeline; its replication slot retains WAL until it is resumed';

CREATE FUNCTION firehose_resume_pipeline(
	name text,
	skip_lsn pg_lsn DEFAULT NULL,
	from_now boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_resume_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_resume_pipeline(text, pg_lsn, boolean) IS
'resumes a pipeline that was paused, failed, or created elsewhere; skip_lsn leaves out the transaction that the reason names, which commits there; from_now creates a new slot after the old one was lost or the pipeline failed';

CREATE FUNCTION firehose_drop_pipeline(name text, if_exists boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_drop_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_drop_pipeline(text, boolean) IS
'drops a pipeline and, soon after the commit, its replication slot';

CREATE FUNCTION firehose_enable_durable_puts(set_default boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_enable_durable_puts'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_enable_durable_puts(boolean) IS
'makes firehose.put_durability = wal possible in this database: records that are put then outlive a crash; set_default: and makes it the default of new sessions';

CREATE FUNCTION firehose_disable_durable_puts(force boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_disable_durable_puts'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_disable_durable_puts(boolean) IS
'disables durable puts after all of them are delivered; force => true discards undelivered ones';

--
-- How pipelines are going
--

CREATE FUNCTION firehose_refresh_pipeline(name text, copy_data boolean DEFAULT true)
RETURNS integer
AS 'MODULE_PATHNAME', 'firehose_refresh_pipeline'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_refresh_pipeline(text, boolean) IS
'has the rows of tables copied that are new in the publications of a pipeline; returns how many tables';

CREATE FUNCTION firehose_copy_table(pipeline text, "table" regclass, condition text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'firehose_copy_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_copy_table(text, regclass, text) IS
'has the rows of a table copied again, beside the stream: all, or those for which a condition is true';

CREATE FUNCTION firehose_table_ddl(pipeline text, dialect text,
	OUT schema_name text, OUT table_name text, OUT ddl text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_table_ddl'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_table_ddl(text, text) IS
'returns the statement that creates each table at the destination which a pipeline of format flat fills';

CREATE FUNCTION firehose_cancel_copy(pipeline text, "table" regclass)
RETURNS boolean
AS 'MODULE_PATHNAME', 'firehose_cancel_copy'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION firehose_cancel_copy(text, regclass) IS
'ends the copy of a table; false if none was under way';

CREATE VIEW firehose_stat_progress_copy WITH (security_barrier) AS
	SELECT p.name AS pipeline, c.relid, c.relid::pg_catalog.regclass::text AS "table", c.phase,
		   c.rows, c.bytes, c.chunks,
		   CASE WHEN r.reltuples OPERATOR(pg_catalog.>=) 0 THEN r.reltuples::bigint END AS estimated_rows,
		   c.key_columns,
		   CASE WHEN pg_catalog.pg_has_role(p.owner, 'USAGE'::pg_catalog.text)
				  OR pg_catalog.has_table_privilege(c.relid, 'SELECT'::pg_catalog.text) THEN c.last_key END AS last_key,
		   CASE WHEN pg_catalog.pg_has_role(p.owner, 'USAGE'::pg_catalog.text)
				  OR pg_catalog.has_table_privilege(c.relid, 'SELECT'::pg_catalog.text) THEN c.condition END AS condition,
		   c.started_at, c.finished_at, c.error
	FROM firehose_copies c
		 JOIN firehose_pipelines p ON p.id OPERATOR(pg_catalog.=) c.pipeline
		 LEFT JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) c.relid
	WHERE NOT p.dropped
	  AND ((SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE'::pg_catalog.text)) OR pg_catalog.pg_has_role(p.owner, 'USAGE'::pg_catalog.text));
COMMENT ON VIEW firehose_stat_progress_copy IS
'one row per table that a pipeline of this database copies or has copied; shows the reader''s own, everything to pg_monitor';
COMMENT ON COLUMN firehose_stat_progress_copy.pipeline IS 'name of the pipeline';
COMMENT ON COLUMN firehose_stat_progress_copy.relid IS 'OID of the table';
COMMENT ON COLUMN firehose_stat_progress_copy."table" IS 'its name';
COMMENT ON COLUMN firehose_stat_progress_copy.phase IS 'waiting, reading, done, failed, or skipped (copy_data => false)';
COMMENT ON COLUMN firehose_stat_progress_copy.rows IS 'rows that were delivered';
COMMENT ON COLUMN firehose_stat_progress_copy.bytes IS 'bytes that they took in the queue';
COMMENT ON COLUMN firehose_stat_progress_copy.chunks IS 'chunks in which they were read';
COMMENT ON COLUMN firehose_stat_progress_copy.estimated_rows IS 'rows of the table as the planner estimates them, null if it was never analyzed';
COMMENT ON COLUMN firehose_stat_progress_copy.key_columns IS 'key that the table is read by, null: by its blocks';
COMMENT ON COLUMN firehose_stat_progress_copy.last_key IS 'up to where it is delivered; null for whoever may not read the table';
COMMENT ON COLUMN firehose_stat_progress_copy.condition IS 'which rows are copied, null for all and for whoever may not read the table';
COMMENT ON COLUMN firehose_stat_progress_copy.started_at IS 'time at which the reading began';
COMMENT ON COLUMN firehose_stat_progress_copy.finished_at IS 'time at which all was delivered, or it failed';
COMMENT ON COLUMN firehose_stat_progress_copy.error IS 'why it failed';

GRANT SELECT ON firehose_stat_progress_copy TO PUBLIC;

CREATE FUNCTION firehose_stat_pipeline(
	OUT pipeline text,
	OUT state text,
	OUT reason text,
	OUT stream text,
	OUT format text,
	OUT slot_name text,
	OUT pid integer,
	OUT caught_up boolean,
	OUT read_lsn pg_lsn,
	OUT accepted_lsn pg_lsn,
	OUT confirmed_lsn pg_lsn,
	OUT last_commit_at timestamptz,
	OUT transactions bigint,
	OUT inserts bigint,
	OUT updates bigint,
	OUT deletes bigint,
	OUT truncates bigint,
	OUT messages bigint,
	OUT nulled_values bigint,
	OUT outstanding bigint,
	OUT dead_letters bigint,
	OUT refused_messages bigint,
	OUT last_error text,
	OUT last_error_lsn pg_lsn,
	OUT last_error_at timestamptz,
	OUT retained_wal_warning bigint,
	OUT failover boolean,
	OUT synced boolean,
	OUT ready boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_stat_pipeline'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stat_pipeline() IS 'statistics of pipelines';

CREATE VIEW firehose_stat_pipeline AS
	SELECT p.pipeline, p.state, p.reason, p.stream, p.format, p.pid, p.slot_name,
		   s.wal_status, s.safe_wal_size, p.read_lsn, p.accepted_lsn,
		   s.confirmed_lsn, l.lag_bytes, l.lag_seconds, l.retained_wal_bytes,
		   CASE WHEN s.wal_status OPERATOR(pg_catalog.=) 'lost'
				THEN 'the slot has lost WAL that it needs'
				WHEN s.wal_status OPERATOR(pg_catalog.=) 'unreserved'
				THEN 'the slot is about to lose WAL that it needs'
				WHEN l.retained_wal_bytes OPERATOR(pg_catalog.>) p.retained_wal_warning
				THEN 'the slot retains more WAL than firehose.retained_wal_warning'
		   END AS warning,
		   p.transactions, p.inserts, p.updates, p.deletes, p.truncates,
		   p.messages, p.nulled_values, p.outstanding, p.dead_letters, p.refused_messages,
		   p.last_commit_at,
		   p.last_error, p.last_error_lsn, p.last_error_at,
		   p.failover, p.synced, p.ready
	FROM firehose_stat_pipeline() p
		 CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
								 THEN pg_catalog.pg_last_wal_replay_lsn()
								 ELSE pg_catalog.pg_current_wal_flush_lsn()
							END AS lsn) c
		 LEFT JOIN pg_catalog.pg_replication_slots r
			ON r.slot_name OPERATOR(pg_catalog.=) p.slot_name::pg_catalog.name
			AND r.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
		 CROSS JOIN LATERAL
			(SELECT r.wal_status, r.safe_wal_size,
					coalesce(p.confirmed_lsn, r.confirmed_flush_lsn) AS confirmed_lsn) s
		 CROSS JOIN LATERAL
			(SELECT CASE WHEN p.caught_up THEN 0
						 WHEN s.confirmed_lsn OPERATOR(pg_catalog.>) c.lsn THEN 0
						 ELSE (c.lsn OPERATOR(pg_catalog.-) s.confirmed_lsn)::bigint
					END AS lag_bytes,
					CASE WHEN p.caught_up THEN 0
						 WHEN p.last_commit_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp() THEN 0
						 ELSE extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.last_commit_at)::double precision
					END AS lag_seconds,
					CASE WHEN r.restart_lsn OPERATOR(pg_catalog.>) c.lsn THEN 0
						 ELSE (c.lsn OPERATOR(pg_catalog.-) r.restart_lsn)::bigint
					END AS retained_wal_bytes) l;
COMMENT ON VIEW firehose_stat_pipeline IS
'one row per pipeline of this database: its state and counters since the server started; shows the reader''s own, everything to pg_monitor';
COMMENT ON COLUMN firehose_stat_pipeline.pipeline IS 'name of the pipeline';
COMMENT ON COLUMN firehose_stat_pipeline.state IS 'starting, streaming, waiting (the queue is full, or a standby is behind), paused, failed (continues only by command) or standby (the server is in recovery)';
COMMENT ON COLUMN firehose_stat_pipeline.reason IS 'why it is in this state, and what to do';
COMMENT ON COLUMN firehose_stat_pipeline.stream IS 'stream of all tables without a route, null for durable puts';
COMMENT ON COLUMN firehose_stat_pipeline.format IS 'format of the records, null for durable puts';
COMMENT ON COLUMN firehose_stat_pipeline.pid IS 'process id of its decoder';
COMMENT ON COLUMN firehose_stat_pipeline.slot_name IS 'its replication slot';
COMMENT ON COLUMN firehose_stat_pipeline.wal_status IS 'whether the WAL that the slot needs is there (pg_replication_slots)';
COMMENT ON COLUMN firehose_stat_pipeline.safe_wal_size IS 'bytes of WAL that may be written until the slot is in danger (pg_replication_slots)';
COMMENT ON COLUMN firehose_stat_pipeline.read_lsn IS 'position up to which the WAL was read';
COMMENT ON COLUMN firehose_stat_pipeline.accepted_lsn IS 'end of the last commit all of whose records were delivered, as those before it';
COMMENT ON COLUMN firehose_stat_pipeline.confirmed_lsn IS 'position from which a restart would read again';
COMMENT ON COLUMN firehose_stat_pipeline.lag_bytes IS 'WAL after that position, 0 if nothing is left to be read or delivered';
COMMENT ON COLUMN firehose_stat_pipeline.lag_seconds IS 'age of the last commit that was read, 0 if nothing is left to be read or delivered';
COMMENT ON COLUMN firehose_stat_pipeline.retained_wal_bytes IS 'WAL that the server keeps for the slot';
COMMENT ON COLUMN firehose_stat_pipeline.warning IS 'the slot has lost WAL, is about to, or retains more than firehose.retained_wal_warning';
COMMENT ON COLUMN firehose_stat_pipeline.transactions IS 'transactions with changes that were read';
COMMENT ON COLUMN firehose_stat_pipeline.inserts IS 'inserted rows that were read';
COMMENT ON COLUMN firehose_stat_pipeline.updates IS 'updated rows that were read';
COMMENT ON COLUMN firehose_stat_pipeline.deletes IS 'deleted rows that were read';
COMMENT ON COLUMN firehose_stat_pipeline.truncates IS 'truncated tables that were read';
COMMENT ON COLUMN firehose_stat_pipeline.messages IS 'logical messages that were read';
COMMENT ON COLUMN firehose_stat_pipeline.nulled_values IS 'values that were sent as null because a number cannot say them: NaN, or infinity as an epoch';
COMMENT ON COLUMN firehose_stat_pipeline.outstanding IS 'records in the queue that are not delivered yet';
COMMENT ON COLUMN firehose_stat_pipeline.dead_letters IS 'changes that went to the dead letters';
COMMENT ON COLUMN firehose_stat_pipeline.refused_messages IS 'logical messages with the prefix firehose that no durable put has written, and that were not sent';
COMMENT ON COLUMN firehose_stat_pipeline.last_commit_at IS 'time of the last commit that was read';
COMMENT ON COLUMN firehose_stat_pipeline.last_error IS 'text of the decoder''s last error';
COMMENT ON COLUMN firehose_stat_pipeline.last_error_lsn IS 'commit of the transaction at which it happened';
COMMENT ON COLUMN firehose_stat_pipeline.last_error_at IS 'time of the last error';
COMMENT ON COLUMN firehose_stat_pipeline.failover IS 'its slot is a failover slot, which standbys synchronize (PostgreSQL 17)';
COMMENT ON COLUMN firehose_stat_pipeline.synced IS 'its slot came here by synchronization; stays true after a promotion';
COMMENT ON COLUMN firehose_stat_pipeline.ready IS 'on a standby: its slot is here, permanent and valid, so that the pipeline goes on after a promotion; null elsewhere';

GRANT SELECT ON firehose_stat_pipeline TO PUBLIC;

--
-- The server as a whole, and the doctor
--

CREATE FUNCTION firehose_stat_server(
	OUT preloaded boolean,
	OUT build text,
	OUT sender_error text,
	OUT enabled boolean,
	OUT launcher_pid integer,
	OUT senders integer,
	OUT senders_wanted integer,
	OUT decoders integer,
	OUT decoders_wanted integer,
	OUT saved_queues_refused integer)
RETURNS record
AS 'MODULE_PATHNAME', 'firehose_stat_server'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_stat_server() IS 'state of firehose in the whole server';
REVOKE ALL ON FUNCTION firehose_stat_server() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION firehose_stat_server() TO pg_monitor, pg_read_all_data;

CREATE VIEW firehose_stat_server AS
	SELECT preloaded, build, sender_error, enabled, launcher_pid, senders,
		   senders_wanted, decoders, decoders_wanted, saved_queues_refused
	FROM firehose_stat_server();
COMMENT ON VIEW firehose_stat_server IS
'one row about the library and the workers of the whole server; the only view that can be read when the library is not preloaded';
COMMENT ON COLUMN firehose_stat_server.preloaded IS 'the server loaded the library at its start; if not, all other columns are null';
COMMENT ON COLUMN firehose_stat_server.build IS 'version and build of the library that the server runs';
COMMENT ON COLUMN firehose_stat_server.sender_error IS 'why senders cannot start; null if they can';
COMMENT ON COLUMN firehose_stat_server.enabled IS 'firehose.enabled';
COMMENT ON COLUMN firehose_stat_server.launcher_pid IS 'process id of the launcher, null if it does not run';
COMMENT ON COLUMN firehose_stat_server.senders IS 'senders that run';
COMMENT ON COLUMN firehose_stat_server.senders_wanted IS 'databases that should have a sender: they have the extension, or no sender has looked yet';
COMMENT ON COLUMN firehose_stat_server.decoders IS 'decoders that run';
COMMENT ON COLUMN firehose_stat_server.decoders_wanted IS 'pipelines that should have a decoder';
COMMENT ON COLUMN firehose_stat_server.saved_queues_refused IS 'files in pg_firehose with records of a stop, which this server has not loaded';
GRANT SELECT ON firehose_stat_server TO pg_monitor;

-- What the catalogs say of publications differs between versions, and SQL that is
-- parsed here cannot: so the query is in the library.
CREATE FUNCTION firehose_published_tables(publications text[], OUT pubid oid, OUT relid oid)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'firehose_published_tables'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION firehose_published_tables(text[]) IS
'returns the tables that publications publish, with the OID of each publication, and waits for no lock on them';
REVOKE ALL ON FUNCTION firehose_published_tables(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION firehose_published_tables(text[]) TO pg_monitor;

-- Every check that needs shared memory is behind (SELECT v.preloaded ...), which
-- the executor evaluates once, before it calls the function below it.
CREATE FUNCTION firehose_doctor(OUT subject text, OUT state text, OUT found text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH server AS (
		SELECT * FROM firehose_stat_server
	), published AS (
		-- a table may be in several publications of a pipeline
		SELECT p.pipeline, p.format, p.unchanged, c.oid AS relid, c.relreplident,
			   pg_catalog.bool_or(b.pubupdate) AS pubupdate,
			   pg_catalog.bool_or(b.pubupdate OR b.pubdelete) AS pubchanges,
			   c.relreplident OPERATOR(pg_catalog.=) 'f'
			   OR EXISTS (SELECT FROM pg_catalog.pg_index i
						  WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid
							AND (c.relreplident OPERATOR(pg_catalog.=) 'd' AND i.indisprimary
								 OR c.relreplident OPERATOR(pg_catalog.=) 'i' AND i.indisreplident)) AS has_identity
		FROM firehose_pipeline p
			 CROSS JOIN LATERAL firehose_published_tables(p.publications) t
			 JOIN pg_catalog.pg_publication b ON b.oid OPERATOR(pg_catalog.=) t.pubid
			 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid
		GROUP BY p.pipeline, p.format, p.unchanged, c.oid, c.relreplident
	)
	SELECT c.subject, c.state, c.found,
		   CASE WHEN c.state OPERATOR(pg_catalog.<>) 'ok' THEN c.advice END
	FROM (
		SELECT 1 AS place, 'server'::pg_catalog.text AS subject,
			   CASE WHEN v.preloaded THEN 'ok' ELSE 'error' END AS state,
			   CASE WHEN v.preloaded THEN pg_catalog.format('loaded at server start, build %s', v.build)
					ELSE 'firehose was not loaded when the server started' END AS found,
			   'Add firehose to shared_preload_libraries and restart the server.'::pg_catalog.text AS advice
		FROM server v

		UNION ALL
		SELECT 1, 'server', 'error', pg_catalog.format('senders cannot start: %s', v.sender_error),
			   'After an upgrade of the package restart the server; otherwise see the server''s log.'
		FROM server v
		WHERE v.sender_error IS NOT NULL

		UNION ALL
		SELECT 1, 'firehose.enabled', 'error', 'nothing is sent while firehose.enabled is off',
			   'Run ALTER SYSTEM SET firehose.enabled = on; SELECT pg_reload_conf();'
		FROM server v
		WHERE NOT v.enabled

		UNION ALL
		SELECT 1, 'workers',
			   CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'ok'
					WHEN v.launcher_pid IS NULL THEN 'error'
					WHEN v.senders OPERATOR(pg_catalog.<) v.senders_wanted
					  OR v.decoders OPERATOR(pg_catalog.<) v.decoders_wanted THEN 'warning'
					ELSE 'ok' END,
			   CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'this is a standby: workers start when it is promoted'
					ELSE pg_catalog.format('%s, %s of %s senders and %s of %s decoders run',
							CASE WHEN v.launcher_pid IS NULL THEN 'no launcher' ELSE 'the launcher' END,
							v.senders, v.senders_wanted, v.decoders, v.decoders_wanted) END,
			   'If this lasts longer than a minute, raise max_worker_processes and restart the server; the server''s log has the reason.'
		FROM server v
		WHERE v.preloaded AND v.enabled

		UNION ALL
		SELECT 1, 'saved queue', 'warning',
			   pg_catalog.format('%s files pg_firehose/queue.refused* hold records of a stop, which this server did not load', v.saved_queues_refused),
			   'The server''s log has the reason. To send them run SELECT * FROM firehose_load_saved_queue(''queue.refused''), or with the name of the file; otherwise remove it, or leave that to firehose.saved_queue_retention.'
		FROM server v
		WHERE v.saved_queues_refused OPERATOR(pg_catalog.>) 0

		UNION ALL
		SELECT 2, 'queue',
			   CASE WHEN q.used OPERATOR(pg_catalog.>=) 0.95 OR q.waiters OPERATOR(pg_catalog.>) 0 THEN 'error'
					WHEN q.used OPERATOR(pg_catalog.>=) 0.5 THEN 'warning' ELSE 'ok' END,
			   pg_catalog.format('%s %% of firehose.queue_size in use, %s puts wait for room',
					pg_catalog.round((100 OPERATOR(pg_catalog.*) q.used)::numeric, 1), q.waiters),
			   'See below which stream is not accepted; firehose.queue_size sets how much can wait.'
		FROM firehose_stat_queue q
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 2, 'firehose.max_streams',
			   CASE WHEN q.streams OPERATOR(pg_catalog.>=) q.max_streams THEN 'warning' ELSE 'ok' END,
			   pg_catalog.format('%s of %s entries of the queue''s table are in use', q.streams, q.max_streams),
			   'Idle streams give their entry to others, which costs time: raise firehose.max_streams and restart the server.'
		FROM firehose_stat_queue q
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 2, 'ids',
			   CASE WHEN q.next_id OPERATOR(pg_catalog.<) 1
					  OR q.next_id OPERATOR(pg_catalog.>) 8556839292003931 THEN 'error' ELSE 'ok' END,
			   pg_catalog.format('the next id is %s of at most 9007199254740991', q.next_id),
			   'Puts fail when ids are used up. Please report how the server came to this.'
		FROM firehose_stat_queue q
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 3, pg_catalog.format('identity %s', coalesce(i.role_arn, 'of the server')),
			   CASE WHEN i.state OPERATOR(pg_catalog.=) 'failed' THEN 'error'
					WHEN i.expires_at OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN 'error'
					WHEN i.last_error_at OPERATOR(pg_catalog.>) coalesce(i.fetched_at, '-infinity') THEN 'warning'
					ELSE 'ok' END,
			   pg_catalog.format('%s in database %s%s%s', i.state, i.datname,
					CASE WHEN i.source IS NOT NULL THEN pg_catalog.format(', from %s', i.source) END,
					CASE WHEN i.last_error_at OPERATOR(pg_catalog.>) coalesce(i.fetched_at, '-infinity')
						 THEN pg_catalog.format(', last failure: %s', coalesce(i.last_error, 'told to superusers only'))
						 WHEN i.expires_at IS NOT NULL THEN pg_catalog.format(', until %s', i.expires_at) END),
			   'See firehose_stat_identity, and docs/aws.md for where credentials come from.'
		FROM firehose_stat_identity i
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 4, pg_catalog.format('stream %s', s.stream),
			   CASE WHEN s.state OPERATOR(pg_catalog.=) ANY (ARRAY['parked', 'stopped']) THEN 'error'
					WHEN s.state OPERATOR(pg_catalog.=) ANY (ARRAY['active', 'authenticating']) AND NOT s.dropped THEN 'ok'
					ELSE 'warning' END,
			   pg_catalog.format('%s%s, %s pending%s%s', s.state,
					CASE WHEN s.datname OPERATOR(pg_catalog.<>) pg_catalog.current_database()
						 THEN pg_catalog.format(' in database %s', s.datname) END,
					s.queued OPERATOR(pg_catalog.+) s.in_flight,
					CASE WHEN s.oldest_queued_at IS NOT NULL
						 THEN pg_catalog.format(', the oldest since %s', s.oldest_queued_at) END,
					CASE WHEN s.reason IS NOT NULL THEN pg_catalog.format(': %s', s.reason) END),
			   CASE WHEN s.dropped THEN 'The foreign server was dropped; its records become dead letters.'
					WHEN s.state OPERATOR(pg_catalog.=) ANY (ARRAY['paused', 'disabled'])
					THEN pg_catalog.format('The stream''s option says so: ALTER SERVER %I OPTIONS (DROP %s);', s.stream, s.state)
					WHEN s.state OPERATOR(pg_catalog.=) 'stopped'
					THEN 'No sender runs in the database: see firehose.enabled, max_worker_processes and the server''s log.'
					WHEN s.state OPERATOR(pg_catalog.=) 'throttled'
					THEN 'Firehose''s quota: the sender slows down by itself; ask AWS for more if this lasts.'
					WHEN s.state OPERATOR(pg_catalog.=) 'waiting'
					 AND s.reason OPERATOR(pg_catalog.~~) '%busy with responses'
					THEN 'The sender has more responses than it can handle at once: it goes on by itself, as soon as the processor lets it.'
					WHEN s.state OPERATOR(pg_catalog.=) 'waiting'
					THEN 'The sender''s connections, memory or descriptors are in use by other streams: see firehose.max_connections.'
					ELSE 'The reason begins with who says so: AWS, proxy, network or this server. Records are kept and tried again by themselves.' END
		FROM firehose_stat_stream s
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 4, pg_catalog.format('stream %s, endpoint', s.stream),
			   CASE WHEN s.unreachable_since IS NOT NULL
					THEN CASE WHEN s.queued OPERATOR(pg_catalog.+) s.in_flight OPERATOR(pg_catalog.>) 0 THEN 'error' ELSE 'warning' END
					WHEN s.clock_offset OPERATOR(pg_catalog.>) 30 OR s.clock_offset OPERATOR(pg_catalog.<) -30 THEN 'warning'
					ELSE 'ok' END,
			   CASE WHEN s.unreachable_since IS NOT NULL
					THEN pg_catalog.format('not reached since %s%s, %s', s.unreachable_since,
							CASE WHEN s.datname OPERATOR(pg_catalog.<>) pg_catalog.current_database()
								 THEN pg_catalog.format(' from database %s', s.datname) END,
							CASE WHEN s.last_response_at IS NULL THEN 'and never before'
								 ELSE pg_catalog.format('it last responded at %s', s.last_response_at) END)
					ELSE pg_catalog.format('it last responded at %s%s, by a clock %s s ahead of this machine''s', s.last_response_at,
							CASE WHEN s.datname OPERATOR(pg_catalog.<>) pg_catalog.current_database()
								 THEN pg_catalog.format(' to database %s', s.datname) END,
							s.clock_offset) END,
			   CASE WHEN s.unreachable_since IS NOT NULL
					THEN 'The stream''s reason or last error says why: a name that is not found, a connection or certificate that is refused, or a proxy in between.'
					ELSE 'One of the two clocks is wrong. Requests are signed with the endpoint''s time; set this machine''s clock, for instance by NTP.' END
		FROM firehose_stat_stream s
		WHERE (SELECT v.preloaded FROM server v)
		  AND (s.last_response_at IS NOT NULL OR s.unreachable_since IS NOT NULL)

		UNION ALL
		SELECT 4, pg_catalog.format('stream %s', s.stream), 'error',
			   pg_catalog.format('status rows or dead letters cannot be written: %s', s.table_error),
			   'Delivery goes on, but failed records stay in the queue until their dead letters can be written.'
		FROM firehose_stat_stream s
		WHERE (SELECT v.preloaded FROM server v) AND s.table_error IS NOT NULL

		UNION ALL
		SELECT 4, pg_catalog.format('stream %s', s.stream), 'warning',
			   pg_catalog.format('%s records were discarded, because the queue was full and the stream says on_full = discard', s.discarded),
			   'They are lost. Raise firehose.queue_size, or use on_full = error.'
		FROM firehose_stat_stream s
		WHERE (SELECT v.preloaded FROM server v) AND s.discarded OPERATOR(pg_catalog.>) 0

		UNION ALL
		SELECT 4, pg_catalog.format('stream %s', l.stream), 'warning',
			   pg_catalog.format('%s dead letters, the last since %s, with the error %s', pg_catalog.count(*),
					pg_catalog.max(l.failed_at), coalesce(pg_catalog.max(l.error_code), 'of this server')),
			   pg_catalog.format('See firehose_dead_letter, then run SELECT firehose_retry_dead_letters(%L); or firehose_purge_dead_letters.', l.stream)
		FROM firehose_dead_letter l
		GROUP BY l.stream

		UNION ALL
		SELECT 4, pg_catalog.format('trigger %s on %s', t.tgname, t.tgrelid::pg_catalog.regclass), 'error',
			   pg_catalog.format('it names the stream %s, which does not exist', n.stream),
			   pg_catalog.format('The table''s changes fail. Run CREATE SERVER %I FOREIGN DATA WRAPPER firehose; or drop the trigger.', n.stream)
		FROM pg_catalog.pg_trigger t
			 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
			 CROSS JOIN LATERAL (SELECT pg_catalog.convert_from(
					pg_catalog.substring(t.tgargs, 1, pg_catalog."position"(t.tgargs, '\x00'::pg_catalog.bytea) OPERATOR(pg_catalog.-) 1),
					pg_catalog.getdatabaseencoding()) AS stream) n
		WHERE p.prosrc OPERATOR(pg_catalog.=) 'firehose_trigger'
		  AND t.tgnargs OPERATOR(pg_catalog.>) 0
		  AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f
						  WHERE f.srvname OPERATOR(pg_catalog.=) n.stream::pg_catalog.name)

		UNION ALL
		SELECT 5, 'wal_level', 'error',
			   pg_catalog.format('%s, but pipelines read the WAL in form logical', pg_catalog.current_setting('wal_level')),
			   'Set wal_level = logical and restart the server.'
		WHERE pg_catalog.current_setting('wal_level') OPERATOR(pg_catalog.<>) 'logical'
		  AND EXISTS (SELECT FROM firehose_pipeline)

		UNION ALL
		SELECT 5, 'max_replication_slots', 'warning',
			   pg_catalog.format('all %s are in use', pg_catalog.current_setting('max_replication_slots')),
			   'Another pipeline cannot start: raise max_replication_slots and restart the server.'
		WHERE EXISTS (SELECT FROM firehose_pipeline)
		  AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots)
			  OPERATOR(pg_catalog.>=) pg_catalog.current_setting('max_replication_slots')::bigint

		UNION ALL
		SELECT 5, pg_catalog.format('prepared transaction %s', x.gid), 'warning',
			   pg_catalog.format('prepared since %s: it holds back WAL, and pipelines that are about to start', x.prepared),
			   pg_catalog.format('Run COMMIT PREPARED %L; or ROLLBACK PREPARED.', x.gid)
		FROM pg_catalog.pg_prepared_xacts x
		WHERE EXISTS (SELECT FROM firehose_pipeline)
		  AND x.prepared OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) interval '5 minutes')

		UNION ALL
		SELECT 5, 'firehose.put_durability', 'error',
			   'it is wal here, but there is no pipeline for durable puts: puts fail',
			   'Run SELECT firehose_enable_durable_puts(); or RESET firehose.put_durability.'
		WHERE pg_catalog.current_setting('firehose.put_durability', true) OPERATOR(pg_catalog.=) 'wal'
		  AND NOT EXISTS (SELECT FROM firehose_pipeline p WHERE p.durable_puts)

		UNION ALL
		SELECT 6, pg_catalog.format('pipeline %s', p.pipeline),
			   CASE WHEN p.state OPERATOR(pg_catalog.=) 'failed'
					  OR p.wal_status OPERATOR(pg_catalog.=) ANY (ARRAY['lost', 'unreserved']) THEN 'error'
					WHEN p.warning IS NOT NULL
					  OR p.state OPERATOR(pg_catalog.<>) ALL (ARRAY['streaming', 'standby']) THEN 'warning'
					ELSE 'ok' END,
			   pg_catalog.format('%s, %s behind, %s retained%s%s', p.state,
					coalesce(pg_catalog.pg_size_pretty(p.lag_bytes), 'unknown'),
					coalesce(pg_catalog.pg_size_pretty(p.retained_wal_bytes), 'nothing'),
					CASE WHEN p.warning IS NOT NULL THEN pg_catalog.format('; %s', p.warning) END,
					CASE WHEN p.reason IS NOT NULL THEN pg_catalog.format(': %s', p.reason) END),
			   CASE WHEN p.state OPERATOR(pg_catalog.=) 'paused'
					THEN pg_catalog.format('To continue, run SELECT firehose_resume_pipeline(%L);', p.pipeline)
					WHEN p.state OPERATOR(pg_catalog.=) 'waiting'
					 AND p.reason OPERATOR(pg_catalog.!~~) 'the queue has no room%'
					THEN 'A standby that synchronized_standby_slots names is behind: see to it, or take its slot out of the setting.'
					WHEN p.state OPERATOR(pg_catalog.=) 'waiting'
					THEN 'The queue has no room: see the stream.'
					WHEN p.state OPERATOR(pg_catalog.=) 'starting'
					THEN 'It waits for transactions that are open now, or for a decoder to start.'
					ELSE 'What is found above says what to do; the slot keeps WAL until the pipeline continues or is dropped.' END
		FROM firehose_stat_pipeline p
		WHERE (SELECT v.preloaded FROM server v)

		UNION ALL
		SELECT 6, pg_catalog.format('pipeline %s', p.pipeline), 'warning',
			   pg_catalog.format('its slot retains %s of the %s that max_slot_wal_keep_size allows',
					pg_catalog.pg_size_pretty(p.retained_wal_bytes),
					pg_catalog.current_setting('max_slot_wal_keep_size')),
			   'When it reaches the limit the slot is lost, and with it the changes that are not delivered.'
		FROM firehose_stat_pipeline p
		WHERE (SELECT v.preloaded FROM server v)
		  AND pg_catalog.current_setting('max_slot_wal_keep_size') OPERATOR(pg_catalog.<>) '-1'
		  AND p.retained_wal_bytes OPERATOR(pg_catalog.>)
			  (pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_slot_wal_keep_size')) OPERATOR(pg_catalog./) 2)

		UNION ALL
		SELECT 6, pg_catalog.format('pipeline %s', t.pipeline), 'warning',
			   pg_catalog.format('%s of its tables publish UPDATE or DELETE and have no replica identity, so that these fail: %s',
					pg_catalog.count(*), (pg_catalog.array_agg(t.relid::pg_catalog.regclass))[1:5]),
			   'Run ALTER TABLE ... ADD PRIMARY KEY, or ALTER TABLE ... REPLICA IDENTITY FULL.'
		FROM published t
		WHERE t.pubchanges AND NOT t.has_identity
		GROUP BY t.pipeline

		UNION ALL
		SELECT 6, pg_catalog.format('pipeline %s', t.pipeline), 'warning',
			   pg_catalog.format('in format flat an UPDATE that leaves a large value unchanged becomes a dead letter; %s tables have such columns: %s',
					pg_catalog.count(*), (pg_catalog.array_agg(t.relid::pg_catalog.regclass))[1:5]),
			   pg_catalog.format('Run ALTER TABLE ... REPLICA IDENTITY FULL, or SELECT firehose_alter_pipeline(%L, unchanged => ''omit'');', t.pipeline)
		FROM published t
		WHERE t.format OPERATOR(pg_catalog.=) 'flat'
		  AND coalesce(t.unchanged, 'dead_letter') OPERATOR(pg_catalog.=) 'dead_letter'
		  AND t.pubupdate
		  AND t.relreplident OPERATOR(pg_catalog.<>) 'f'
		  AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
					  WHERE a.attrelid OPERATOR(pg_catalog.=) t.relid AND a.attnum OPERATOR(pg_catalog.>) 0
						AND NOT a.attisdropped AND a.attstorage OPERATOR(pg_catalog.<>) 'p')
		GROUP BY t.pipeline
	) c
	ORDER BY c.place, c.subject;
END;
COMMENT ON FUNCTION firehose_doctor() IS
'what is well and what is not with firehose in this server and database, one row per subject: ok, warning or error, what was found, and what to do; it sends nothing and waits for no worker';
REVOKE ALL ON FUNCTION firehose_doctor() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION firehose_doctor() TO pg_monitor;
