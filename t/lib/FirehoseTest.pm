# What the TAP tests share: servers with the extension, streams, waiting with
# a deadline, and the comparison of what was committed with what arrived.
package FirehoseTest;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use Exporter 'import';
use IO::Uncompress::Gunzip ();
use List::Util qw(max);
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;

our @EXPORT = qw(
  new_node new_stream alter_settings
  wait_until wait_for_sql wait_delivered
  put_numbered numbered put_remembered put_in_background
  run_shell ok_shell
  audit audit_ok
  unpack_record groups_ok
  seconds cpu_of takes_at_most median statement_times round_trips
  ask logged restart_by sender_pids sender_of is_long
);

# Start a server that delivers to an emulator.  Further arguments are settings.
# The extension is created in database postgres unless extension => 0 is given;
# install_path chooses another installation of PostgreSQL.
sub new_node
{
    my ($name, $emulator, %settings) = @_;
    my $extension = delete $settings{extension} // 1;
    my $installation = delete $settings{install_path};
    my $node = PostgreSQL::Test::Cluster->new($name,
        defined $installation ? (install_path => $installation) : ());
    $node->init;

    # absolute: the server's working directory is its data directory
    my $credentials = Cwd::abs_path($node->basedir) . '/credentials';
    append_to_file($credentials,
        "[default]\naws_access_key_id = $Emulator::ACCESS_KEY\n"
          . "aws_secret_access_key = $Emulator::SECRET_KEY\n");
    chmod 0600, $credentials or die "$credentials: $!";

    %settings = (
        'shared_preload_libraries' => 'firehose',
        'firehose.region' => 'us-east-1',
        'firehose.endpoint_url' => $emulator->url,
        'firehose.allowed_endpoints' => 'http://127.0.0.1:*, https://127.0.0.1:*',
        'firehose.credentials_file' => $credentials,
        %settings);
    $node->append_conf('postgresql.conf', _quote($_, $settings{$_}))
      foreach sort keys %settings;
    $node->start;
    $node->safe_psql('postgres', 'CREATE EXTENSION firehose') if $extension;
    return $node;
}

sub _quote
{
    my ($name, $value) = @_;
    $value =~ s/'/''/g;
    return "$name = '$value'";
}

# Change settings of a running server.
sub alter_settings
{
    my ($node, %settings) = @_;
    foreach my $name (sort keys %settings)
    {
        $node->safe_psql('postgres', 'ALTER SYSTEM SET ' . _quote($name, $settings{$name}));
    }
    $node->reload;
    return;
}

# Create a stream; options are those of the foreign server.  dbname chooses the
# database.
sub new_stream
{
    my ($node, $name, %options) = @_;
    my $dbname = delete $options{dbname} // 'postgres';
    my $list = join(', ', map { "$_ '$options{$_}'" } sort keys %options);
    $node->safe_psql($dbname, qq{CREATE SERVER "$name" FOREIGN DATA WRAPPER firehose}
          . ($list ? " OPTIONS ($list)" : ''));
    return $name;
}

# No wait gives up sooner: the machine may be busy with other things.
use constant SHORTEST_WAIT => 60;

# Poll until a condition holds; a test of its own, since a wait that ends at
# its deadline is a failure.  Returns whether it held.  A timeout is for waits
# that may take longer than a minute.
sub wait_until
{
    my ($what, $condition, $timeout) = @_;
    my $deadline = time() + max($timeout // 0, SHORTEST_WAIT);
    my $held;
    until ($held = $condition->())
    {
        last if time() > $deadline;
        sleep 0.05;
    }
    return ok($held, $what);
}

# Poll until a query answers as expected ('t' by default).
sub wait_for_sql
{
    my ($node, $query, $expected, $timeout) = @_;
    $expected //= 't';
    my $answer = '';
    my $held = wait_until("$query is $expected",
        sub { $answer = $node->safe_psql('postgres', $query); $answer eq $expected },
        $timeout);
    diag("it is: $answer") unless $held;
    return $held;
}

# Wait until nothing committed is owed any more.
sub wait_delivered
{
    my ($node, $timeout) = @_;
    $timeout = max($timeout // 120, SHORTEST_WAIT);
    return is($node->safe_psql('postgres', "SELECT firehose_flush(NULL, '$timeout s')"),
        't', 'everything committed has its outcome');
}

# The payload of record number n of size bytes, newline not counted.
sub numbered
{
    my ($n, $size) = @_;
    my $text = sprintf('n%09d', $n);
    return defined $size ? $text . ('x' x ($size - length $text)) : $text;
}

# Put records number from .. to, one transaction for each `per_commit` of them
# (default: all in one).  Returns their payloads as they arrive.
sub put_numbered
{
    my ($node, $stream, $from, $to, %options) = @_;
    $node->safe_psql($options{dbname} // 'postgres',
        _put_script($stream, $from, $to, %options));
    return map { numbered($_, $options{size}) . "\n" } $from .. $to;
}

# Put records from .. to, and remember their ids in a table of the test:
# sent (stream text, n int, id bigint).
sub put_remembered
{
    my ($node, $stream, $from, $to) = @_;
    $node->safe_psql('postgres', "INSERT INTO sent SELECT '$stream', n,
        firehose_put_record('$stream', rpad('n' || lpad(n::text, 9, '0'), 99, 'x'))
        FROM generate_series($from, $to) n");
    return;
}

# The same without waiting for the end; finish the handle that is returned.
sub put_in_background
{
    my ($node, $stream, $from, $to, %options) = @_;
    my $script = _put_script($stream, $from, $to, %options);
    # a command, not input: input would move only when the caller pumps it
    return IPC::Run::start(
        [ 'psql', '-XAtq', '-d', $node->connstr($options{dbname} // 'postgres'),
            '-c', $script ], '<', '/dev/null');
}

sub _put_script
{
    my ($stream, $from, $to, %options) = @_;
    my $size = $options{size} // 10;
    my $step = $options{per_commit} // ($to - $from + 1);
    return <<"SCRIPT";
DO \$\$
BEGIN
	FOR base IN $from .. $to BY $step LOOP
		PERFORM firehose_put_record('$stream',
			rpad('n' || lpad(n::text, 9, '0'), $size, 'x'))
		FROM generate_series(base, least(base + $step - 1, $to)) n;
		COMMIT;
	END LOOP;
END \$\$;
SCRIPT
}

# The records that share a Firehose record, each with its newline, as a stream
# with the options pack and compression joins them.
sub unpack_record
{
    my ($data) = @_;
    my $plain = $data;
    if ($data =~ /^\x1f\x8b/)
    {
        IO::Uncompress::Gunzip::gunzip(\$data => \$plain)
          or die "gunzip: $IO::Uncompress::Gunzip::GunzipError";
    }
    return $plain =~ /([^\n]*\n|[^\n]+\z)/g;
}

# Every record was in one and the same group each time that it was sent, byte for
# byte.  Returns how many groups were sent more than once.
sub groups_ok
{
    my ($name, $emulator, $stream) = @_;
    my (%group_of, %times, @torn);
    foreach my $record ($emulator->records($stream))
    {
        $times{ $record->{data} }++;
        foreach my $row (unpack_record($record->{data}))
        {
            push @torn, $row if ($group_of{$row} //= $record->{data}) ne $record->{data};
        }
    }
    is(scalar @torn, 0, "$name: what is sent again is the same group")
      or diag("for instance $torn[0]");
    return scalar grep { $_ > 1 } values %times;
}

# Compare the payloads that were committed with what a stream of the emulator
# stored, whether or not it was packed.  Each payload must be unique.  Returns a hash of lists of payloads:
#   lost        committed and never acknowledged
#   phantom     stored and never committed
#   duplicate   stored more than once (a reply was lost)
#   resent      sent once more although it had been acknowledged
# and the list `order`, of the payloads by their first arrival.
sub audit
{
    my ($emulator, $stream, @committed) = @_;
    # the journal has a request once its reply has left, a moment after its records
    $emulator->control('POST', 'flush');
    my %heard = map { $_->{seq} => $_->{reply_sent} } $emulator->requests;
    my %committed = map { $_ => 1 } @committed;
    my (%stored, %acknowledged, %resent, %seen, @order);

    foreach my $record ($emulator->records($stream))
    {
        foreach my $data (unpack_record($record->{data}))
        {
            push @order, $data unless $seen{$data}++;
            $resent{$data} = 1 if $acknowledged{$data};
            next if $record->{state} eq 'R';
            $stored{$data}++;
            $acknowledged{$data} = 1 if $record->{state} eq 'A' && $heard{ $record->{seq} };
        }
    }
    return {
        lost => [ grep { !$acknowledged{$_} } @committed ],
        phantom => [ grep { !$committed{$_} } sort keys %seen ],
        duplicate => [ grep { $stored{$_} > 1 } sort keys %stored ],
        resent => [ sort keys %resent ],
        order => \@order };
}

# Have test/audit/firehose-audit assert it: nothing lost, invented, corrupted or
# sent again although it was acknowledged, and no duplicates unless
# duplicates => 1 allows those whose reply was lost (2: or, after a kill, any).
# packed => 1 is for a stream that packs, gzip => 1 for one that compresses.  Returns what audit() does,
# for a closer look.
sub audit_ok
{
    my ($name, $emulator, $stream, $committed, %options) = @_;
    my $result = audit($emulator, $stream, @$committed);
    my $file = "$emulator->{dir}/committed";
    open(my $out, '>:raw', $file) or die "$file: $!";
    # the audit splits packed records without their newlines
    print $out map { encode_base64($options{packed} ? s/\n\z//r : $_, '') . "\n" } @$committed;
    close($out) or die "$file: $!";
    my $allowed = (qw(none unacknowledged all))[ $options{duplicates} // 0 ];
    my $command = "test/audit/firehose-audit --journal '$emulator->{dir}' --stream '$stream'"
      . " --committed-file '$file' --format base64 --allow-duplicates $allowed"
      . ($options{packed} ? ' --split-lines' : '') . ($options{gzip} ? ' --gunzip' : '');
    my $report = `$command 2>&1`;
    is($?, 0, "$name: " . @$committed . ' committed and arrived') or diag($report);
    unlink $file;
    return $result;
}

# Run a shell command; returns its exit code and all that it printed.
sub run_shell
{
    my ($command) = @_;
    my $output = `($command) 2>&1`;
    return ($? >> 8, $output);
}

# The same as a test that it ends with 0; returns what it printed.
sub ok_shell
{
    my ($command, $name) = @_;
    my ($code, $output) = run_shell($command);
    is($code, 0, $name) or diag($output);
    return $output;
}

# The CPU that a process has had, in seconds.
sub cpu_of
{
    my ($pid) = @_;
    my @fields = split / /, slurp_file("/proc/$pid/stat") =~ s/.*\) //sr;
    return ($fields[11] + $fields[12]) / 100;
}

# How long something takes, in seconds.
sub seconds
{
    my ($code) = @_;
    my $start = time();
    $code->();
    return time() - $start;
}

# Something that has to be done within so many seconds.  The time is reported;
# a test fails only at several times the limit, since a busy machine is slow at
# everything.  With --long, which wants a quiet machine, it fails at the limit.
sub takes_at_most
{
    my ($what, $limit, $code) = @_;
    my $time = seconds($code);
    my $report = sprintf('%s: %.1f s', $what, $time);
    diag("$report, although the limit is $limit s: is the machine busy?") if $time > $limit;
    return cmp_ok($time, '<=', is_long() ? $limit : max(10, 4 * $limit), $report);
}

sub median
{
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[ $#sorted / 2 ];
}

# Run statements in one session and return the time of each in milliseconds,
# as psql measures it.
sub statement_times
{
    my ($node, @statements) = @_;
    my $output = $node->safe_psql('postgres',
        join("\n", '\o /dev/null', '\timing on', map { /\\gset/ ? $_ : "$_;" } @statements));
    return $output =~ /^Time: ([\d.]+) ms/mg;
}

# The times from put to known outcome, in milliseconds, of records put into a
# stream one after the other.  Dies unless each is accepted.
sub round_trips
{
    my ($node, $stream, $count) = @_;
    my @times = statement_times($node,
        ("SELECT firehose_put_record('$stream', 'x') AS id \\gset",
            "SELECT 1 / (coalesce(firehose_wait(:id, '60 s'), '') = 'accepted')::int") x $count);
    return map { $times[ 2 * $_ ] + $times[ 2 * $_ + 1 ] } 0 .. $count - 1;
}

# The answer to a query; '' where there is none, since the server may be on its
# way down or up.
sub ask
{
    my ($node, $query, $dbname) = @_;
    # psql may be gone before it was told the query
    my ($code, $out) = eval { $node->psql($dbname // 'postgres', $query) };
    return defined $code && $code == 0 ? $out : '';
}

# How often the server's log has a pattern, from an offset on.
sub logged
{
    my ($node, $pattern, $offset) = @_;
    my $log = slurp_file($node->logfile, $offset);
    return scalar(() = $log =~ /$pattern/g);
}

# Process id of a database's sender; '' if it has none.
sub sender_of
{
    my ($node, $dbname) = @_;
    return ask($node, qq{SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'firehose sender' AND datname = '$dbname'});
}

# Process ids of the senders.
sub sender_pids
{
    my ($node) = @_;
    return split /\n/, $node->safe_psql('postgres',
        q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'firehose sender' ORDER BY pid});
}

# Stop a server in this mode, and start it again.  (What restart() of the
# server's own library takes differs from version to version.)
sub restart_by
{
    my ($node, $mode) = @_;
    $node->stop($mode);
    $node->start;
    return;
}

# Were the tests asked to run at full length?
sub is_long { return $ENV{FIREHOSE_TEST_LONG} ? 1 : 0 }

1;
