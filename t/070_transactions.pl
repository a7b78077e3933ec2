# Transactions of all shapes send exactly what they commit: random programs (500,
# with --long 10,000) of puts and batches into two streams, inserts into their
# foreign tables, savepoints released,
# rolled back to and left, PL/pgSQL blocks whose exceptions are caught, and a
# commit, a rollback or an error at the end, are compared with a model of what
# survives.  Puts that are not transactional survive everything.  Half of the
# programs put durably, through the WAL.
use strict;
use warnings FATAL => 'all';
use Test::More;

use Emulator;
use FirehoseTest;

my $programs = is_long() ? 10_000 : 500;
my $seed = $ENV{FIREHOSE_TEST_SEED} // 20150804;
srand($seed);
note("FIREHOSE_TEST_SEED=$seed");

my $emulator = Emulator->start();
my $node = new_node('main', $emulator, 'firehose.queue_timeout' => '60s',
    'firehose.status' => 'failed', 'wal_level' => 'logical');
my @streams = map { new_stream($node, $_) } qw(one two);
$node->safe_psql('postgres', 'SELECT firehose_enable_durable_puts(set_default => false)');
wait_for_sql($node, q{SELECT state FROM firehose_stat_pipeline}, 'streaming');
$node->safe_psql('postgres', "CREATE FOREIGN TABLE ${_}_out (data text) SERVER $_ OPTIONS (column 'data')")
  foreach @streams;

my $last = 0;       # number of the last payload
my @always;         # payloads that are not transactional

# A put: its statement, and the payloads that survive with the transaction
sub make_put
{
    my $stream = $streams[ rand @streams ];
    my @payloads = map { "$stream " . ++$last } 1 .. (rand() < 0.2 ? 1 + int(rand 5) : 1);
    my $array = 'ARRAY[' . join(', ', map { "'$_'" } @payloads) . ']';
    return ("INSERT INTO ${stream}_out SELECT unnest($array)", @payloads) if rand() < 0.3;
    return ("SELECT firehose_put_batch('$stream', $array)", @payloads) if @payloads > 1;
    if (rand() < 0.05)
    {
        push @always, @payloads;
        return "SELECT firehose_put_record('$stream', '$payloads[0]', false)";
    }
    return ("SELECT firehose_put_record('$stream', '$payloads[0]')", @payloads);
}

# The inside of a PL/pgSQL block: its text and what survives
sub make_plpgsql
{
    my ($depth) = @_;
    my ($text, @survives) = ('');
    for (0 .. rand 3)
    {
        if ($depth > 0 && rand() < 0.4)
        {
            my ($inner, @inner) = make_plpgsql($depth - 1);
            if (rand() < 0.5)
            {
                # the handler's own put is outside of what was rolled back
                my ($put, @handler) = make_put();
                $text .= "BEGIN $inner RAISE 'undo';"
                  . ' EXCEPTION WHEN raise_exception THEN ' . $put =~ s/^SELECT/PERFORM/r . "; END;\n";
                push @survives, @handler;
            }
            else
            {
                $text .= "BEGIN $inner EXCEPTION WHEN division_by_zero THEN NULL; END;\n";
                push @survives, @inner;
            }
        }
        else
        {
            my ($put, @payloads) = make_put();
            $text .= $put =~ s/^SELECT/PERFORM/r . ";\n";
            push @survives, @payloads;
        }
    }
    return ($text, @survives);
}

# Statements inside a transaction, and what survives of them
sub make_statements
{
    my ($depth) = @_;
    my ($text, @survives) = ('');
    for (0 .. rand 4)
    {
        my $dice = rand();
        if ($dice < 0.3 && $depth > 0)
        {
            my ($inner, @inner) = make_statements($depth - 1);
            my $end = rand();
            my $name = "s$depth";
            $text .= "SAVEPOINT $name;\n$inner";
            if ($end < 0.3) { $text .= "RELEASE $name;\n" }
            elsif ($end < 0.6) { $text .= "ROLLBACK TO $name;\n"; @inner = () }
            elsif ($end < 0.8)
            {
                # an error, and on from the savepoint
                my ($more, @more) = make_statements($depth - 1);
                $text .= "SELECT 1 / 0;\nROLLBACK TO $name;\n${more}RELEASE $name;\n";
                @inner = @more;
            }
            push @survives, @inner;
        }
        elsif ($dice < 0.5)
        {
            my ($inner, @inner) = make_plpgsql(2);
            $text .= "DO \$\$ BEGIN\n$inner END \$\$;\n";
            push @survives, @inner;
        }
        else
        {
            my ($put, @payloads) = make_put();
            $text .= "$put;\n";
            push @survives, @payloads;
        }
    }
    return ($text, @survives);
}

my ($script, @committed) = ('');
for (1 .. $programs)
{
    my ($text, @survives) = make_statements(3);
    my $end = rand();
    $script .= 'SET firehose.put_durability = ' . (rand() < 0.5 ? 'wal' : 'memory') . ";\n";
    if ($end < 0.7) { $script .= "BEGIN;\n${text}COMMIT;\n"; push @committed, @survives }
    elsif ($end < 0.85) { $script .= "BEGIN;\n${text}ROLLBACK;\n" }
    else { $script .= "BEGIN;\n${text}SELECT 1 / 0;\nCOMMIT;\n" }
}

my ($code, $out, $error) = $node->psql('postgres', $script, on_error_stop => 0);
$error =~ s/^.*division by zero(?:\n|\z)//mg;
is($error, '', 'no error but those that were meant');
wait_delivered($node, 300);

foreach my $stream (@streams)
{
    my @expected = map { "$_\n" } grep { /^$stream / } @committed, @always;
    cmp_ok(scalar @expected, '>', $programs, "$stream: a fair number of records");
    audit_ok($stream, $emulator, $stream, \@expected);
}
is($node->safe_psql('postgres', 'SELECT sum(queued + in_flight) FROM firehose_stat_stream'),
    '0', 'nothing is owed');

# a commit that does not wait for its flush is not sent before it is flushed: or
# a crash would leave records of what was never committed
alter_settings($node, wal_writer_delay => '10s', wal_writer_flush_after => '1GB',
    'firehose.put_durability' => 'memory');
new_stream($node, 'rows');
$node->safe_psql('postgres', 'CREATE TABLE rows (n int)');
$node->safe_psql('postgres', join('', map {
    "SET synchronous_commit = off; BEGIN; INSERT INTO rows VALUES ($_); SELECT firehose_put_record('rows', '$_'); COMMIT;\n" } 1 .. 40));
wait_until('some are delivered', sub { $emulator->control('POST', 'flush'); scalar($emulator->records('rows')) });
$node->stop('immediate');
$node->start;
my %rows = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT n FROM rows');
my @phantoms = grep { !$rows{$_} } map { $_->{data} =~ s/\n//r } $emulator->records('rows');
is("@phantoms", '', 'asynchronous commits: whatever was delivered was committed (' . keys(%rows) . ' rows)');

$node->stop;
done_testing();
