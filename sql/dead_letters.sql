-- Dead letters: who sees them, takes them back and deletes them.  Letters are
-- put into the table by hand: no sender gets through (test/regress.conf).
CREATE EXTENSION firehose;
SET client_min_messages = warning;
CREATE ROLE regress_owner;
CREATE ROLE regress_user;
CREATE ROLE regress_reader IN ROLE pg_read_all_data;
CREATE SERVER mine FOREIGN DATA WRAPPER firehose;
CREATE SERVER yours FOREIGN DATA WRAPPER firehose;
GRANT USAGE ON FOREIGN DATA WRAPPER firehose TO regress_owner;
ALTER SERVER mine OWNER TO regress_owner;
GRANT USAGE ON FOREIGN SERVER mine TO regress_user;

INSERT INTO firehose_dead_letters
    (id, queued_at, failed_at, serverid, attempts, stream, error_code, error_message, data)
SELECT i, 'epoch', 'epoch'::timestamptz + i * interval '1 day', oid, 1, srvname, 'E', 'no', convert_to('letter ' || i, 'UTF8')
FROM pg_foreign_server, generate_series(1, 10) i
WHERE srvname = CASE WHEN i % 2 = 0 THEN 'mine' ELSE 'yours' END;
-- of a stream that was dropped, and of one whose OID means another server now
INSERT INTO firehose_dead_letters
    (id, queued_at, failed_at, serverid, attempts, stream, data)
SELECT 11, 'epoch'::timestamptz, 'epoch'::timestamptz, 1::oid, 1, 'gone', 'x'::bytea
UNION ALL
SELECT 12, 'epoch', 'epoch', oid, 1, 'before', 'x' FROM pg_foreign_server WHERE srvname = 'mine';
-- one whose payload was not kept
INSERT INTO firehose_dead_letters (id, queued_at, failed_at, serverid, attempts, stream)
SELECT 13, 'epoch', 'epoch', oid, 1, 'mine' FROM pg_foreign_server WHERE srvname = 'mine';

-- who sees what
SELECT id, stream, convert_from(data, 'UTF8') AS data, error_code, error_message FROM firehose_dead_letter ORDER BY id;
SET ROLE regress_owner;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
SET ROLE regress_user;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
SET ROLE regress_reader;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
SELECT firehose_purge_dead_letters(before => 'infinity');
SET ROLE regress_user;
SELECT firehose_retry_dead_letters();
SELECT firehose_purge_dead_letters(before => 'infinity');
SELECT * FROM firehose_dead_letters;

-- an owner takes its own back, oldest first, to streams that it may use
SET ROLE regress_owner;
SELECT firehose_retry_dead_letters(ids => '{1, 3, 11, 12, 13, 99}');
SELECT firehose_retry_dead_letters(ids => '{}');
SELECT firehose_retry_dead_letters(stream => 'yours');
SELECT firehose_retry_dead_letters(to_stream => 'yours');
SELECT firehose_retry_dead_letters(to_stream => 'nonesuch');
SELECT firehose_retry_dead_letters(max_records => 0);
SELECT firehose_retry_dead_letters(max_records => 2);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
-- a letter that is taken back is one transaction's, with its old id
BEGIN;
SELECT firehose_retry_dead_letters(ids => '{6}');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
ROLLBACK;
SELECT firehose_wait(6, '0') AS rolled_back, firehose_wait(2, '0') AS taken_back;
RESET ROLE;

-- the superuser takes any, also elsewhere; without a stream it stays
SELECT firehose_retry_dead_letters(stream => 'gone');
SELECT firehose_retry_dead_letters(stream => 'gone', to_stream => 'yours');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;

-- purge
SELECT firehose_purge_dead_letters();
SET ROLE regress_owner;
SELECT firehose_purge_dead_letters(before => '1970-01-08 00:00+00');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
RESET ROLE;
SELECT firehose_purge_dead_letters(stream => 'yours', ids => '{1, 2, 3, 8}');
SELECT firehose_purge_dead_letters(stream => 'nonesuch');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM firehose_dead_letter;
SELECT firehose_purge_dead_letters(before => 'infinity');

-- errors
SELECT firehose_retry_dead_letters(ids => '{1, NULL}');
SELECT firehose_purge_dead_letters(ids => '{1, NULL}');
SELECT firehose_retry_dead_letters(max_records => -1);
BEGIN READ ONLY;
SELECT firehose_retry_dead_letters();
ROLLBACK;
BEGIN READ ONLY;
SELECT firehose_purge_dead_letters(stream => 'mine');
ROLLBACK;

-- nothing of it is any business of a publication for all tables
SELECT relreplident FROM pg_class WHERE relname = 'firehose_dead_letters';

DROP EXTENSION firehose CASCADE;
DROP ROLE regress_owner, regress_user, regress_reader;
