# A credential_process is a program that others wrote.  Whatever it does,
# the sender goes on, a stop of the server is quick, and nothing of it is left:
# it has a time limit, and is ended together with all that it has started.
use strict;
use warnings FATAL => 'all';
use Cwd ();
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use Emulator;
use FirehoseTest;

my $emulator = Emulator->start();
my $home = Cwd::abs_path($emulator->dir) . '/home';
mkdir $home or die $home;
my $config = "$home/config";
my $program = "$home/my program";

# The configuration of a profile
sub use_command
{
    my ($command, $more) = @_;
    open(my $out, '>', "$config.new") or die "$config: $!";
    print $out "[default]\ncredential_process = $command\n" . ($more // '');
    close($out);
    chmod 0600, "$config.new";
    rename("$config.new", $config) or die "$config: $!";
    return;
}

# The program, in the language of sh; every word of the configuration behind its
# name is a parameter of it.
sub write_program
{
    my ($text) = @_;
    open(my $out, '>', "$program.new") or die "$program: $!";
    print $out "#!/bin/sh\n$text";
    close($out);
    chmod 0755, "$program.new";
    rename("$program.new", $program) or die "$program: $!";
    return;
}

# What a program prints whose keys live so many seconds
sub keys_for
{
    my ($seconds) = @_;
    return JSON::PP::encode_json({
        Version => 1, AccessKeyId => $Emulator::ACCESS_KEY, SecretAccessKey => $Emulator::SECRET_KEY,
        Expiration => POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + $seconds)) });
}

local $ENV{HOME} = $home;
delete @ENV{ grep { /^AWS_/ } keys %ENV };
my $node = new_node('main', $emulator,
    'firehose.credentials_file' => '', 'firehose.config_file' => $config, 'firehose.profile' => 'default',
    'firehose.probe_interval' => '200ms');
new_stream($node, 's');

sub query { return $node->safe_psql('postgres', $_[0]); }
sub put { return query("SELECT firehose_put_record('s', '$_[0]')"); }

sub last_error_becomes
{
    my ($name, $pattern) = @_;
    return wait_until("$name: says why", sub {
        put('wake up'); query(q{SELECT last_error FROM firehose_stat_identity}) =~ $pattern })
      || diag(query(q{SELECT last_error FROM firehose_stat_identity}));
}

# The processes that a program noted, and those of them that live
sub noted { return -s "$home/pids" ? split /\n/, slurp_file("$home/pids") : () }
sub both_started { my @pids = noted(); return @pids >= 2; }
sub any_alive
{
    my @alive = grep { (eval { slurp_file("/proc/$_/stat") } // ') Z ') !~ /\) Z / } @_;
    return scalar @alive;
}

# A program that hangs, with a child that hangs; neither minds SIGTERM
my $hangs = "trap '' TERM HUP\necho \$\$ >>'$home/pids'\n(trap '' TERM HUP; echo \$(exec sh -c 'echo \$PPID') >>'$home/pids'; sleep 1000; sleep 1000) &\n";

# Split without a shell; what it prints on stderr is not for the log
write_program("[ \"\$1\" = 'a \$HOME b' ] || exit 3\necho 'secret words' >&2\necho '" . keys_for(3600) . "'\n");
use_command("'$program' 'a \$HOME b'");
put('first');
wait_delivered($node);
is(query('SELECT state, source FROM firehose_stat_identity'), 'ready|credential process', 'split without a shell');

# What can be wrong; the old keys are used meanwhile
use_command("'$program' x");
last_error_becomes('status', qr/credential process: it ended with status 3/);
use_command("'$home/nonesuch'");
last_error_becomes('no program', qr/credential process: it ended with status 127/);
use_command("'$program");
last_error_becomes('no end of a quote', qr/credential process: a quote or a backslash of the command is not closed/);
write_program("exec head -c 70000 /dev/zero\n");
use_command("'$program' large");
last_error_becomes('size', qr/credential process: it printed more than 64 kB/);
write_program("kill -SEGV \$\$\n");
use_command("'$program' signal");
last_error_becomes('signal', qr/credential process: it was ended by a signal/);
write_program("echo '{\"Version\": 2}'\n");
use_command("'$program' version");
last_error_becomes('version', qr/credential process: its output is not of version 1/);
put('by the old keys');
wait_delivered($node);

# A file that others can write names no program
write_program("touch '$home/was-run'\n");
use_command("'$program' writable");
chmod 0622, $config;
last_error_becomes('writable', qr/is not run, because other users/);
ok(!-e "$home/was-run", 'writable: and it was not run');

# One that takes too long is ended, and its child
write_program("$hangs\nsleep 1000\nsleep 1000\n");
alter_settings($node, 'firehose.credential_process_timeout' => '1500ms');
use_command("'$program' hangs");
wait_until('hangs: it was started', sub { put('wake up'); both_started() });
put('while it hangs');
wait_delivered($node);
last_error_becomes('hangs', qr/credential process: it took too long and was ended/);
my @first = noted();
wait_until('hangs: nothing of it is left', sub { !any_alive(@first[0, 1]) });

# So is one that closes its output and hangs on
unlink "$home/pids";
write_program("$hangs\nexec >&-\nsleep 1000\nsleep 1000\n");
use_command("'$program' silent");
last_error_becomes('silent', qr/took too long/);
wait_until('silent: it was started', sub { put('wake up'); both_started() });
@first = noted();
wait_until('silent: nothing of it is left', sub { !any_alive(@first[0, 1]) });

# Keys that are refreshed by a program that hangs are used until they expire
alter_settings($node, 'firehose.credential_process_timeout' => '60s');
unlink "$home/pids";
write_program("if [ -e '$home/hang' ]; then $hangs sleep 1000; sleep 1000; fi\necho '" . keys_for(20) . "'\n");
use_command("'$program' expiring");
wait_until('refresh: the keys are found', sub { put('wake up');
    query(q{SELECT state = 'ready' AND expires_at IS NOT NULL FROM firehose_stat_identity}) eq 't' });
open(my $flag, '>', "$home/hang") or die;
close($flag);
wait_until('refresh: it hangs', sub { put('more'); both_started() });
wait_delivered($node);

# A stop does not wait for it, and leaves nothing of it
takes_at_most('a stop while it hangs', 5, sub { $node->stop('fast') });
wait_until('stop: nothing of it is left', sub { !any_alive(noted()) });
unlike(slurp_file($node->logfile), qr/secret words/, 'its errors are not in the log');

# Nor does the end of a sender alone
unlink "$home/pids";
$node->start;
wait_until('terminated: it hangs', sub { put('more'); both_started() });
@first = noted();
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'firehose sender'});
wait_until('terminated: nothing of it is left', sub { !any_alive(@first[0, 1]) });
unlink "$home/hang";
write_program("echo '" . keys_for(3600) . "'\n");
use_command("'$program' again");
wait_delivered($node);
$node->stop;
done_testing();
