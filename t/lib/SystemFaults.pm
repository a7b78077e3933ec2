# Faults of the system below a server: a resolver that fails or hangs, a clock
# that jumps, time that passes, a disk that is full, a process whose waits never
# time out or that has always more to do, and a note of every fsync.  They are done by a library that the server is
# started with (test/preload/faults.c).
package SystemFaults;

use strict;
use warnings FATAL => 'all';
use Cwd ();

my %resolver = (answers => 0, fails => 1, hangs => 2);

# The name that only the library's resolver knows; it is loopback.
our $HOST = 'firehose.us-east-1.amazonaws.com';

# Build the library.  Start servers in
#   local %ENV = (%ENV, $faults->environment);
sub new
{
    my ($class) = @_;
    my $base = Cwd::getcwd() . "/tmp_check/faults-$$";
    system($ENV{CC} // 'cc', '-O2', '-shared', '-fPIC', '-o', "$base.so",
        'test/preload/faults.c', '-ldl') == 0
      or die 'cannot build test/preload/faults.c';
    my $self = bless { library => "$base.so", file => $base, clock => 0, resolver => 0,
        full => '', passed => 0, sleeper => 0, swamped => 0 }, $class;
    $self->_write;
    return $self;
}

sub environment
{
    my ($self) = @_;
    return (LD_PRELOAD => $self->{library}, FIREHOSE_TEST_FAULTS => $self->{file});
}

# The resolver answers, fails or hangs.
sub resolver
{
    my ($self, $mode) = @_;
    $self->{resolver} = $resolver{$mode} // die "resolver: $mode";
    return $self->_write;
}

# The clock is so many seconds ahead.
sub clock
{
    my ($self, $seconds) = @_;
    $self->{clock} = $seconds * 1_000_000;
    return $self->_write;
}

# So many seconds more have passed since the system was started, by the clock that
# timers go by; the time of day is as it was.
sub pass
{
    my ($self, $seconds) = @_;
    $self->{passed} += $seconds * 1_000_000;
    return $self->_write;
}

# The disk is full for files whose path contains a text; for none without one.
sub disk_full
{
    my ($self, $path) = @_;
    $self->{full} = $path // '';
    return $self->_write;
}

# From its next wait on, the process waits for its latch without a timeout, so that
# it goes on only when it is woken; none does without an argument.
sub sleeper
{
    my ($self, $pid) = @_;
    $self->{sleeper} = $pid // 0;
    return $self->_write;
}

# Whenever the process looks for requests that go on, as many do as it looks for; as
# many as really do without an argument.
sub swamped
{
    my ($self, $pid) = @_;
    $self->{swamped} = $pid // 0;
    return $self->_write;
}

# The notes of fsync and rename since the last call, as [what, path].
sub synced
{
    my ($self) = @_;
    open(my $log, '<', "$self->{file}.fsync") or return;
    seek($log, $self->{read} // 0, 0);
    my @notes = map { chomp; [ split / /, $_, 2 ] } <$log>;
    $self->{read} = tell($log);
    return @notes;
}

# In place: servers have the file mapped.
sub _write
{
    my ($self) = @_;
    open(my $out, -e $self->{file} ? '+<' : '>', $self->{file}) or die "$self->{file}: $!";
    syswrite($out, pack('q l l Z240 q l l', $self->{clock}, $self->{resolver},
        $self->{full} ne '' ? 1 : 0, $self->{full}, $self->{passed}, $self->{sleeper},
        $self->{swamped}));
    close($out);
    return;
}

1;
