# No role stops a decoder, or the server, by what it writes into the WAL: logical
# messages that are random, or durable puts with a byte changed, cut off or
# added, by a role without any grant, transactional and not, as the first thing
# a decoder reads and later, over restarts.  They are counted right, what is
# genuine arrives, and no process dies.  And should a record crash the decoder
# after all, then three times: afterwards the pipeline fails, not the server.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '4MB',
    restart_after_crash => 'on');
my ($rounds, $messages) = is_long() ? (10, 2000) : (4, 500);
my $seed = $ENV{FIREHOSE_TEST_SEED} // 0.4711;

sub sql { return $node->safe_psql('postgres', $_[0]) }

new_stream($node, 's');
sql(q{CREATE ROLE stranger LOGIN; SELECT firehose_enable_durable_puts()});
wait_state($node, 'postgres', 'durable_puts', 'streaming');
sql(q{CREATE TABLE t (n int PRIMARY KEY, x text); CREATE PUBLICATION p FOR TABLE t});
new_pipeline($node, 'postgres', 'p', ['p'], messages => q{'{m}'});

# a genuine message, as it lies in the WAL
sql(q{SELECT pg_create_logical_replication_slot('look', 'pgoutput')});
sql(q{SELECT firehose_put_record('s', 'genuine')});
my $genuine = sql(q{SELECT encode(substring(data FROM 24), 'hex')
    FROM pg_logical_slot_get_binary_changes('look', NULL, NULL, 'proto_version', '1',
        'publication_names', 'none', 'messages', 'true')
    WHERE get_byte(data, 0) = ascii('M')});
like($genuine, qr/730067/, 'a genuine durable put was seen');
sql(q{SELECT pg_drop_replication_slot('look')});

# Write messages; returns how many have the prefix of durable puts.
sql(q{CREATE FUNCTION noise(genuine bytea, n int, first_transactional bool) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    forged bigint := 0; m bytea; prefix text; kind int; at int;
BEGIN
    FOR i IN 1 .. n LOOP
        kind := floor(random() * 6);
        at := floor(random() * length(genuine));
        m := CASE kind
            WHEN 0 THEN set_byte(genuine, at, get_byte(genuine, at) # (1 + floor(random() * 255))::int)
            WHEN 1 THEN substring(genuine FROM 1 FOR at)
            WHEN 2 THEN genuine || decode(md5(random()::text), 'hex')
            WHEN 3 THEN decode(repeat(md5(random()::text), (random() * 20)::int), 'hex')
            WHEN 4 THEN set_bit(genuine, at * 8, 1 - get_bit(genuine, at * 8))
            ELSE ''::bytea END;
        prefix := (ARRAY['firehose', 'firehose', 'm', '', 'firehose2', repeat('p', 200)])[1 + floor(random() * 6)];
        forged := forged + (prefix = 'firehose')::int;
        PERFORM pg_logical_emit_message(CASE WHEN i = 1 THEN first_transactional ELSE random() < 0.5 END, prefix, m);
    END LOOP;
    RETURN forged;
END $$});

my ($log, $expected) = (-s $node->logfile, 0);
foreach my $round (1 .. $rounds)
{
    # the first thing that decoders read after the restart
    sql(q{SELECT firehose_pause_pipeline(p) FROM unnest('{durable_puts,p}'::text[]) p});
    wait_until("round $round: no decoder", sub { decoder_pids($node) == 0 });
    my $first = $round % 2 ? 'false' : 'true';
    my $forged = sql(qq{SET ROLE stranger; SELECT setseed($seed / $round) \\g /dev/null
        SELECT pg_logical_emit_message($first, 'firehose', '\\x$genuine'::bytea || 'x'::bytea) \\g /dev/null
        SELECT 1 + noise('\\x$genuine', $messages, $first)});
    restart_by($node, $round % 3 ? 'fast' : 'immediate');
    sql(q{SELECT firehose_resume_pipeline(p) FROM unnest('{durable_puts,p}'::text[]) p});

    # and later
    sql(qq{SELECT firehose_put_record('s', 'round $round')});
    $forged += sql(qq{SET ROLE stranger; SELECT setseed($seed / $round / 2) \\g /dev/null
        SELECT noise('\\x$genuine', $messages / 2, true)});
    wait_confirmed($node, 'postgres', $_) foreach qw(durable_puts p);
    is(sql(q{SELECT refused_messages FROM firehose_stat_pipeline WHERE pipeline = 'durable_puts'}), $forged,
        "round $round: $forged forged messages are counted");
}
wait_delivered($node);
audit_ok('what is genuine', $emulator, 's', [ "genuine\n", map { "round $_\n" } 1 .. $rounds ]);
my $text = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log);
unlike($text, qr/terminated by signal|PANIC|exited with exit code [^01]/, 'no process died');
is(() = $text =~ /ERROR:.*(decod|messag)/g, 0, 'nor was there an error');

# a record at which the decoder dies, whatever the reason
sql(q{ALTER SERVER p OPTIONS (ADD enabled 'false');
    INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n});
foreach my $crash (1 .. 3)
{
    wait_state($node, 'postgres', 'p', 'waiting', 60);
    my $pid = sql(q{SELECT pid FROM firehose_stat_pipeline WHERE pipeline = 'p'});
    kill('KILL', $pid);
    wait_until("crash $crash: the server restarts", sub {
        my ($code, $out) = $node->psql('postgres', q{SELECT pid FROM firehose_stat_pipeline WHERE pipeline = 'p'});
        return $code == 0 && $out ne $pid }, 60);
    # another's crash, and an immediate stop, do not count
    next if $crash == 3;
    wait_state($node, 'postgres', 'p', 'waiting', 60);
    restart_by($node, 'immediate');
}
wait_state($node, 'postgres', 'p', 'failed', 60);
my $reason = sql(q{SELECT reason FROM firehose_stat_pipeline WHERE pipeline = 'p'});
like($reason, qr/crashed repeatedly while the WAL at .*resume_pipeline\('p'\), or leave it out .*skip_lsn => /, 'the pipeline fails');
$node->restart;
wait_state($node, 'postgres', 'p', 'failed', 60);
is(sql(q{SELECT firehose_wait(firehose_put_record('s', 'alive', false), '60 s')}), 'accepted', 'the rest lives');
sql(q{ALTER SERVER p OPTIONS (SET enabled 'true'); SELECT firehose_resume_pipeline('p')});
wait_confirmed($node, 'postgres', 'p', 180);
my %seen = map { $_->{after}{n} => 1 } grep { $_->{op} eq 'c' } events($emulator, 'p');
is(scalar(keys %seen), 20000, 'and a command has it try again');
sql(q{SELECT firehose_drop_pipeline('p')});
wait_until('its mark goes with it', sub { sql('SELECT count(*) FROM firehose_pipeline') eq '1' &&
    !grep { /decoder\.\d+\.2$/ } glob($node->data_dir . '/pg_firehose/*') });

$node->stop;
done_testing();
