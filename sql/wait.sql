-- firehose_wait, firehose_flush and firehose_drain, as far as nothing arrives.
-- With firehose.enabled off the reasons do not depend on timing.
CREATE EXTENSION firehose;
SET client_min_messages = warning;
-- what earlier tests left in the queue for streams they dropped goes by itself,
-- while a sender may run
DO $$
BEGIN
    FOR i IN 1 .. 600 LOOP
        EXIT WHEN (SELECT streams = 0 FROM firehose_stat_queue);
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
ALTER SYSTEM SET firehose.enabled = off;
SELECT pg_reload_conf();
SELECT pg_sleep(0.5);
CREATE ROLE regress_user;
CREATE SERVER quiet FOREIGN DATA WRAPPER firehose;

-- ids that never were
SELECT id, firehose_wait(id) FROM unnest('{1, 0, -1, 9007199254740992, 9223372036854775807}'::bigint[]) id;
-- timeouts
SELECT firehose_wait(1, '-1 second');
SELECT firehose_flush(timeout => '-1 month');
SELECT firehose_drain('-1 day');
SELECT firehose_wait(NULL);
SELECT firehose_wait(1, NULL), firehose_wait(1, '178000000 years');

-- saved queues: files of pg_firehose, by their names
SELECT * FROM firehose_load_saved_queue(NULL);
SELECT * FROM firehose_load_saved_queue('queue');
SELECT * FROM firehose_load_saved_queue('ids');
SELECT * FROM firehose_load_saved_queue('queue.x/../ids');
SELECT * FROM firehose_load_saved_queue('../pg_firehose/queue.refused');
SELECT * FROM firehose_load_saved_queue(rpad('queue.', 64, 'x'));
SELECT * FROM firehose_load_saved_queue('queue.refused');
SET ROLE regress_user;
SELECT * FROM firehose_load_saved_queue('queue.refused');
RESET ROLE;

-- nothing is owed: at once, with or without a sender
SELECT firehose_flush(timeout => NULL), firehose_flush('quiet', NULL), firehose_drain(NULL);
SELECT firehose_flush('nonesuch');

-- a record of this transaction cannot be waited for
BEGIN;
SELECT firehose_put_record('quiet', 'mine') AS id \gset
\set VERBOSITY sqlstate
SELECT firehose_wait(:id);
\set VERBOSITY default
ROLLBACK;
SELECT firehose_wait(:id) AS rolled_back;
BEGIN;
SELECT firehose_put_record('quiet', 'mine') AS id \gset
SAVEPOINT s;
SELECT firehose_put_record('quiet', 'undone') AS undone \gset
ROLLBACK TO s;
SELECT firehose_wait(:undone) AS undone;
COMMIT;

-- queued, but not sent
SELECT firehose_wait(:id, '0') AS queued, firehose_wait(:id, '10 ms') AS queued;
BEGIN;
SELECT firehose_put_record('quiet', 'now', transactional => false) AS id \gset
SELECT firehose_wait(:id, '0') AS not_transactional;
ROLLBACK;
SELECT firehose_wait(:id, '0') AS not_transactional;
SELECT firehose_flush('quiet', '10 ms');
SELECT firehose_flush(timeout => '10 ms');
SELECT firehose_drain('10 ms');

-- it can be cancelled
SET statement_timeout = '50 ms';
SELECT firehose_wait(:id, NULL);
SELECT firehose_flush(timeout => NULL);
SELECT firehose_drain(NULL);
RESET statement_timeout;

-- privileges: a stream's flush needs USAGE, the others need no right or a grant
SET ROLE regress_user;
SELECT firehose_flush('quiet', '0');
SELECT firehose_flush(timeout => '0');
SELECT firehose_drain('0');
RESET ROLE;

ALTER SYSTEM RESET firehose.enabled;
SELECT pg_reload_conf();
DROP EXTENSION firehose CASCADE;
DROP ROLE regress_user;
