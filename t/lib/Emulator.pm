# A Firehose emulator (test/emulator) of a test's own: started on free ports of
# loopback, told by its control interface what to do, and asked for what it
# stored.  It ends with the test, however that ends.
package Emulator;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use File::Path ();
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical;
my %running;

# What the emulator accepts unless told otherwise.
our $ACCESS_KEY = 'AKIDEXAMPLE';
our $SECRET_KEY = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';

# Start one; options are those of the command line, by name without dashes,
# for example Emulator->start('tls-port' => 0, 'strict-streams' => undef).  An option
# that is repeatable may have a list of values.
sub start
{
    my ($class, %options) = @_;
    my $dir = delete $options{dir} // "tmp_check/emulator-$$-" . keys %running;
    File::Path::make_path($dir);
    $dir = Cwd::abs_path($dir);
    my $port_file = "$dir/ports.json";
    my @command = ('/usr/bin/python3', 'test/emulator/firehose-emulator', '--quiet',
        '--exit-on-eof', '--dir', $dir, '--port-file', $port_file);
    foreach my $option (sort keys %options)
    {
        push @command, map { defined $_ ? ("--$option", $_) : "--$option" }
          ref $options{$option} ? @{ $options{$option} } : $options{$option};
    }

    unlink $port_file;
    # it ends when the other end of its standard input does, that is with us
    pipe(my $input, my $lifeline) or die "cannot make a pipe: $!";
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        open(STDIN, '<&', $input);
        open(STDOUT, '>>', "$dir/log");
        open(STDERR, '>&', \*STDOUT);
        # a session of its own: an interrupt of the test is not for it
        POSIX::setsid();
        exec(@command) or POSIX::_exit(127);
    }
    my $self = bless {
        pid => $pid, owner => $$, dir => $dir, lifeline => $lifeline }, $class;
    $running{$pid} = $self;
    open(my $pid_file, '>', "$dir/emulator.pid") or die "$dir/emulator.pid: $!";
    print $pid_file "$pid\n";
    close($pid_file);

    my $deadline = time() + 30;
    until (-s $port_file)
    {
        die "the emulator did not start; see $dir/log"
          if waitpid($pid, POSIX::WNOHANG()) || time() > $deadline;
        sleep 0.02;
    }
    $self->{ports} = $json->decode(_slurp($port_file));
    return $self;
}

sub stop
{
    my ($self) = @_;
    return if $self->{owner} != $$ || !delete $running{ $self->{pid} };
    kill 'TERM', $self->{pid};
    my $deadline = time() + 5;
    until (waitpid($self->{pid}, POSIX::WNOHANG()))
    {
        kill 'KILL', $self->{pid} if time() > $deadline;
        sleep 0.02;
    }
    unlink "$self->{dir}/emulator.pid";
    return;
}

# Keep the exit status of the test that is ending.
END
{
    my $status = $?;
    $_->stop foreach values %running;
    $? = $status;
}

sub dir { return $_[0]{dir} }
sub pid { return $_[0]{pid} }
sub url { return $_[0]{ports}{url} }
sub tls_url { return $_[0]{ports}{tls_url} }
sub ca_file { return $_[0]{ports}{ca_file} }

# Call the control interface; dies on an error, with what it says.
sub control
{
    my ($self, $method, $what, $body) = @_;
    my %request = defined $body ? (content => $json->encode($body)) : ();
    # gigabytes that a long test has sent take their time to be durable
    my $reply = HTTP::Tiny->new(timeout => $what eq 'flush' ? 600 : 30)
      ->request($method, "$self->{ports}{control_url}$what", \%request);
    die "emulator: $method $what: $reply->{status} $reply->{content}"
      unless $reply->{success};
    return $json->decode($reply->{content});
}

# Add a fault; returns its number.
#   $emulator->fault('fail_records', { probability => 0.3 }, { seed => 1 });
sub fault
{
    my ($self, $type, $parameters, $match) = @_;
    my $rule = {
        match => $match // {},
        action => { type => $type, %{ $parameters // {} } } };
    return $self->control(POST => 'rules', $rule)->{ids}[0];
}

# Remove one fault, or all, and let go of the requests they hold.
sub heal
{
    my ($self, $number) = @_;
    $self->control(DELETE => defined $number ? "rules/$number" : 'rules');
    $self->control(POST => 'connections', { which => 'stuck' });
    return;
}

# How many requests a rule has struck, that is how many of them are there as a whole:
# one that a sender counts as under way may not be sent yet.
sub struck
{
    my ($self, $number) = @_;
    my ($rule) = grep { $_->{id} == $number } @{ $self->control(GET => 'rules')->{rules} };
    return $rule->{fired};
}

sub stats { return $_[0]->control(GET => 'stats') }

# Forget rules, and everything delivered and journaled so far.
sub reset
{
    my ($self) = @_;
    $self->control(POST => 'reset', { journal => JSON::PP::true });
    $self->control(DELETE => 'stats');
    return;
}

# The journal: one hash per request, in order of arrival.
sub requests
{
    my ($self) = @_;
    my @requests = sort { $a->{seq} <=> $b->{seq} }
      map { $json->decode($_) } split /\n/, _slurp("$self->{dir}/journal.ndjson");
    return @requests;
}

# The records of all requests to a stream in order: {seq, index, state, word,
# data}; state is A (stored, and the reply says so), U (stored, and it does
# not) or R (refused).
sub records
{
    my ($self, $stream) = @_;
    my @records;
    $self->each_record($stream, sub { push @records, $_[0] });
    @records = sort { $a->{seq} <=> $b->{seq} || $a->{index} <=> $b->{index} } @records;
    return @records;
}

# Call a function with each record of a stream, in the order in which the emulator
# noted them: they may be more than there is memory for.
sub each_record
{
    my ($self, $stream, $function) = @_;
    open(my $file, '<:raw', "$self->{dir}/records.tsv") or die "$self->{dir}/records.tsv: $!";
    while (my $line = <$file>)
    {
        my ($seq, $name, $index, $state, $word, $data) = split /\t/, $line, 6;
        $function->({ seq => $seq, index => $index, state => $state, word => $word,
            data => decode_base64($data) }) if $name eq $stream;
    }
    close($file);
    return;
}

# The bytes delivered to a stream, as a consumer of Firehose would read them.
sub delivered
{
    my ($self, $stream) = @_;
    my $file = "$self->{dir}/streams/$stream/data";
    return -e $file ? _slurp($file) : '';
}

sub _slurp
{
    my ($path) = @_;
    open(my $file, '<:raw', $path) or die "$path: $!";
    local $/;
    return scalar(<$file>) // '';
}

1;
