# One truth about a pipeline's position, and about the ids it gives: a place in a
# transaction belongs to the definition that counted it; a slot that was made
# again is a gap; a stale one repeats nothing; and no id ever carries two
# contents, nor a change two ids: not through definitions, restarts, storage that
# is put back, and promotion.
use strict;
use warnings FATAL => 'all';
use Test::More;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;

use Emulator;
use FirehoseTest;
use PipelineTest;

my $emulator = Emulator->start();
my $node = new_decoding_node('main', $emulator, 'firehose.queue_size' => '4MB', hot_standby => 'on',
    wal_keep_size => '1GB');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub reason
{
    my ($name) = @_;
    return sql("SELECT reason FROM firehose_stat_pipeline WHERE pipeline = '$name'");
}

sub pause
{
    my ($name) = @_;
    sql("SELECT firehose_pause_pipeline('$name')");
    wait_state($node, 'postgres', $name, 'paused');
    wait_until("the decoder of $name goes", sub {
        sql("SELECT count(*) FROM firehose_stat_pipeline WHERE pipeline = '$name' AND pid IS NOT NULL") eq '0' });
    return;
}

# The numbers that arrived, each once, in order of ids.
sub numbers
{
    my ($stream) = @_;
    my %by_id = map { $_->{id} => $_ } events($emulator, $stream);
    return join(' ', map { $by_id{$_}{after}{n} } grep { $by_id{$_}{op} eq 'c' } sort keys %by_id);
}

# Every id has one content, every content of a stream one id.
sub ids_ok
{
    my ($name, $stream) = @_;
    my (%content, %id, @wrong);
    foreach my $event (events($emulator, $stream))
    {
        my $key = join('-', map { my $value = $event->{$_} // '';
                ref $value ? join(',', map { "$_=" . substr($value->{$_} // '', 0, 20) } sort keys %$value) : $value }
              qw(op table after before message));
        push @wrong, "$event->{id}: $content{$event->{id}} and $key"
          if ($content{ $event->{id} } //= $key) ne $key;
        push @wrong, "$key: $id{$key} and $event->{id}"
          if ($id{$key} //= $event->{id}) ne $event->{id};
    }
    diag(@wrong[0 .. ($#wrong < 5 ? $#wrong : 5)]) if @wrong;
    is(scalar(@wrong), 0, "$name: an id is a change, and a change an id");
    return;
}

sql('CREATE TABLE t (n int PRIMARY KEY); CREATE TABLE a (n int PRIMARY KEY, filler text);
    CREATE TABLE b (n int PRIMARY KEY, filler text); CREATE TABLE c (n int PRIMARY KEY, k int UNIQUE NOT NULL);
    CREATE PUBLICATION p FOR TABLE t; CREATE PUBLICATION pa FOR TABLE a; CREATE PUBLICATION pb FOR TABLE b');

subtest 'a definition changes while a transaction is handed over in part' => sub {
    new_pipeline($node, 'postgres', 'part', [ 'pa', 'pb' ], copy_data => 'false');
    sql(q{ALTER SERVER part OPTIONS (ADD enabled 'false')});
    sql(q{BEGIN; INSERT INTO a SELECT n, repeat('x', 300) FROM generate_series(1, 1000) n;
        INSERT INTO b SELECT n, repeat('x', 300) FROM generate_series(1, 20000) n; COMMIT});
    wait_state($node, 'postgres', 'part', 'waiting');
    pause('part');
    sql(q{SELECT firehose_alter_pipeline('part', publications => '{pb}')});
    sql(q{SELECT firehose_resume_pipeline('part')});
    sql(q{ALTER SERVER part OPTIONS (SET enabled 'true')});
    wait_confirmed($node, 'postgres', 'part');
    my %seen = map { $_->{after}{n} => 1 } grep { $_->{table} eq 'b' } events($emulator, 'part');
    is(scalar(keys %seen), 20000, 'no row is lost');
    ids_ok('altered', 'part');
    sql(q{SELECT firehose_drop_pipeline('part')});
};

subtest 'ids do not depend on the definition' => sub {
    new_pipeline($node, 'postgres', 'wide', [ 'pa', 'pb' ], copy_data => 'false');
    new_pipeline($node, 'postgres', 'one', ['pb'], copy_data => 'false');
    new_pipeline($node, 'postgres', 'flat', [ 'pb' ], copy_data => 'false', format => q{'flat'}, messages => q{'{m}'});
    sql(q{BEGIN; INSERT INTO a VALUES (30001); INSERT INTO b VALUES (30001); UPDATE b SET n = 30002 WHERE n = 30001;
        SELECT pg_logical_emit_message(true, 'm', 'x'); INSERT INTO b VALUES (30003);
        TRUNCATE a, b; INSERT INTO b VALUES (30004); COMMIT});
    wait_confirmed($node, 'postgres', $_) foreach qw(wide one flat);
    my $of_b = sub { return join(' ', sort map { "$_->{op}$_->{id}" }
            grep { ($_->{table} // '') eq 'b' } events($emulator, $_[0])) };
    is($of_b->('one'), $of_b->('wide'), 'in a smaller publication');
    my %flat = map { $_->{_id} => $_->{_op} } events($emulator, 'flat');
    my @json = grep { $_->{op} =~ /[cu]/ && $_->{table} eq 'b' } events($emulator, 'one');
    is(scalar(grep { $flat{ $_->{id} } } @json), scalar(@json), 'in another format');
    is(scalar(keys %flat), 5, 'where a change of the key has two');
    sql("SELECT firehose_drop_pipeline('$_')") foreach qw(wide one flat);
};

subtest 'messages outside of transactions' => sub {
    new_pipeline($node, 'postgres', 'messages', ['p'], copy_data => 'false', messages => q{'{m}'});
    sql(qq{BEGIN; INSERT INTO t VALUES ($_ + 100); SELECT pg_logical_emit_message(false, 'm', 'message $_'); COMMIT})
      foreach 1 .. 5;
    wait_confirmed($node, 'postgres', 'messages');
    ids_ok('a message before a commit', 'messages');
    is(scalar(events($emulator, 'messages')), 10, 'all came');
    sql(q{SELECT firehose_drop_pipeline('messages')});
};

subtest 'a slot that is made again is a gap' => sub {
    new_pipeline($node, 'postgres', 'gap', ['p'], copy_data => 'false');
    my $slot = sql(q{SELECT slot_name FROM firehose_pipeline WHERE pipeline = 'gap'});
    sql('INSERT INTO t VALUES (201)');
    wait_confirmed($node, 'postgres', 'gap');
    pause('gap');
    sql('INSERT INTO t VALUES (202)');
    sql("SELECT pg_drop_replication_slot('$slot')");
    sql('INSERT INTO t VALUES (203)');
    sql("SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
    sql('INSERT INTO t VALUES (204)');
    sql(q{SELECT firehose_resume_pipeline('gap')});
    wait_state($node, 'postgres', 'gap', 'failed');
    like(reason('gap'), qr{\Q"$slot"\E.* [0-9A-F]+/[0-9A-F]+.* [0-9A-F]+/[0-9A-F]+.*from_now => true}, 'both positions, and the command');
    is(numbers('gap'), '201', 'and nothing more is sent');
    $node->restart;
    wait_state($node, 'postgres', 'gap', 'failed');
    sql(q{SELECT firehose_resume_pipeline('gap', from_now => true)});
    wait_state($node, 'postgres', 'gap', 'streaming');
    sql('INSERT INTO t VALUES (205)');
    wait_confirmed($node, 'postgres', 'gap');
    is(numbers('gap'), '201 204 205', 'it goes on with what the slot has');

    pause('gap');
    sql("SELECT pg_drop_replication_slot('$slot')");
    sql("SELECT pg_create_logical_replication_slot('$slot', 'test_decoding')");
    sql(q{SELECT firehose_resume_pipeline('gap')});
    wait_state($node, 'postgres', 'gap', 'failed');
    like(reason('gap'), qr/test_decoding.*from_now => true/, 'a slot of another plugin');
    sql("SELECT pg_drop_replication_slot('$slot')");
    sql(q{SELECT firehose_resume_pipeline('gap', from_now => true)});
    wait_state($node, 'postgres', 'gap', 'streaming');
    sql('INSERT INTO t VALUES (206)');
    wait_confirmed($node, 'postgres', 'gap');
    is(numbers('gap'), '201 204 205 206', 'and a new one');
    is((events($emulator, 'gap'))[-1]{source}, sql('SELECT system_identifier FROM pg_control_system()'),
        'the source is the system, not what many servers are called');

    # as after pg_upgrade without slots: another system, the same database
    pause('gap');
    sql("SELECT pg_drop_replication_slot('$slot')");
    sql('UPDATE firehose_positions SET system_identifier = 1; UPDATE firehose_pipelines SET system_identifier = 1');
    my ($code, $out, $error) = $node->psql('postgres', q{SELECT firehose_resume_pipeline('gap')});
    like($error, qr{on another server.*committed there after [0-9A-F]+/[0-9A-F]+.*from_now => true}s,
        'a pipeline that left its slot behind does not go on in silence');
    sql(q{SELECT firehose_resume_pipeline('gap', from_now => true)});
    wait_state($node, 'postgres', 'gap', 'streaming');
    sql('INSERT INTO t VALUES (207)');
    wait_confirmed($node, 'postgres', 'gap');
    is(numbers('gap'), '201 204 205 206 207', 'but by command');
    sql(q{SELECT firehose_drop_pipeline('gap')});
};

subtest 'a stale slot repeats nothing' => sub {
    new_pipeline($node, 'postgres', 'stale', ['p'], copy_data => 'false');
    sql('INSERT INTO t VALUES (301)');
    wait_confirmed($node, 'postgres', 'stale');
    $node->stop;
    my $slots = $node->data_dir . '/pg_replslot';
    copy_tree($slots, "$slots.old");
    $node->start;
    wait_state($node, 'postgres', 'stale', 'streaming');
    sql("INSERT INTO t VALUES ($_)") foreach 302 .. 310;
    wait_confirmed($node, 'postgres', 'stale');
    $node->stop;
    PostgreSQL::Test::Utils::system_log('rm', '-rf', $slots);
    rename("$slots.old", $slots) or die $!;
    $node->start;
    wait_state($node, 'postgres', 'stale', 'streaming');
    sql('INSERT INTO t VALUES (311)');
    wait_confirmed($node, 'postgres', 'stale');
    is(scalar(events($emulator, 'stale')), 11, 'each change came once');
    is(numbers('stale'), join(' ', 301 .. 311), 'and all of them');
    sql(q{SELECT firehose_drop_pipeline('stale')});
};

subtest 'storage that is put back' => sub {
    new_pipeline($node, 'postgres', 'storage', ['p'], copy_data => 'false');
    sql('INSERT INTO t VALUES (401)');
    wait_confirmed($node, 'postgres', 'storage');
    $node->stop;
    my $data = $node->data_dir;
    copy_tree($data, "$data.copy");
    foreach my $branch (1 .. 3)
    {
        # the order of branches is that of the seconds in which they began
        my $second = time();
        wait_until('the next second', sub { time() > $second + 1 });
        $node->start;
        wait_state($node, 'postgres', 'storage', 'streaming');
        sql("INSERT INTO t VALUES ($branch * 1000 + $_)") foreach 1 .. 5;
        restart_by($node, $branch == 2 ? 'immediate' : 'fast');
        wait_state($node, 'postgres', 'storage', 'streaming');
        sql("INSERT INTO t VALUES ($branch * 1000 + $_)") foreach 6 .. 10;
        wait_confirmed($node, 'postgres', 'storage');
        last if $branch == 3;
        $node->stop;
        PostgreSQL::Test::Utils::system_log('rm', '-rf', $data);
        copy_tree("$data.copy", $data);
    }
    ids_ok('three times from one copy', 'storage');
    is(numbers('storage'), join(' ', 401, map { my $b = $_; map { $b * 1000 + $_ } 1 .. 10 } 1 .. 3),
        'all came, in order of their ids');
    PostgreSQL::Test::Utils::system_log('rm', '-rf', "$data.copy");
    sql(q{SELECT firehose_drop_pipeline('storage')});
};

subtest 'a promotion' => sub {
    $node->backup('backup');
    my $standby = PostgreSQL::Test::Cluster->new('standby');
    $standby->init_from_backup($node, 'backup', has_streaming => 1);
    $standby->start;
    # its slot needs no WAL from before the backup, which the standby has not
    new_pipeline($node, 'postgres', 'promoted', ['p'], copy_data => 'false');
    new_stream($node, 'puts');
    my $id = sql(q{SELECT firehose_put_record('puts', 'x')});
    sql('INSERT INTO t VALUES (501)');
    wait_confirmed($node, 'postgres', 'promoted');
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    like($standby->safe_psql('postgres', q{SELECT state || ': ' || reason FROM firehose_stat_pipeline}),
        qr/^standby: the server is in recovery, and the slot of the pipeline is not here/, 'a standby says what it is, and lacks');

    # stored, and the reply never comes: it will be sent again
    $emulator->fault('close_after_processing', {}, { stream => 'promoted' });
    sql('INSERT INTO t VALUES (502)');
    wait_until('it was stored', sub { grep { $_->{after}{n} == 502 } events($emulator, 'promoted') });
    $node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
    $node->stop('immediate');
    $emulator->heal;
    $standby->stop;
    copy_tree($node->data_dir . '/pg_replslot', $standby->data_dir . '/pg_replslot.new');
    rmdir($standby->data_dir . '/pg_replslot') or die $!;
    rename($standby->data_dir . '/pg_replslot.new', $standby->data_dir . '/pg_replslot') or die $!;
    $standby->start;
    is($standby->safe_psql('postgres', q{SELECT state || ': ' || reason FROM firehose_stat_pipeline}),
        'standby: the server is in recovery; the pipeline goes on after its promotion', 'with the slot it is ready');
    $standby->promote;
    wait_state($standby, 'postgres', 'promoted', 'streaming');
    $standby->safe_psql('postgres', 'INSERT INTO t VALUES (503)');
    wait_confirmed($standby, 'postgres', 'promoted');
    cmp_ok($standby->safe_psql('postgres', q{SELECT firehose_put_record('puts', 'y')}), '>', $id,
        'ids of puts ascend, too');
    ids_ok('before and after', 'promoted');
    is(numbers('promoted'), '501 502 503', 'in order of their ids');
    $standby->stop;
};

done_testing();

sub copy_tree
{
    my ($from, $to) = @_;
    PostgreSQL::Test::RecursiveCopy::copypath($from, $to);
    chmod((stat($from))[2] & 07777, $to) or die "$to: $!";
    return;
}
