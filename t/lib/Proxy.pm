# A reverse proxy of a test's own, nginx or haproxy: its files are in a directory
# of the test's, it runs as the test does, and ends with it.
package Proxy;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use File::Path ();
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

my %programs = (nginx => '/usr/sbin/nginx', haproxy => '/usr/sbin/haproxy');
my %running;

# Is it installed?
sub available
{
    my ($kind) = @_;
    return -x $programs{$kind};
}

# Make one that does not run yet, with a directory for its files.
sub new
{
    my ($class, $kind) = @_;
    my $dir = "tmp_check/$kind-$$";
    File::Path::make_path($dir);
    return bless { kind => $kind, owner => $$, dir => Cwd::abs_path($dir) }, $class;
}

sub dir { return $_[0]{dir} }

# Run it, or run it again, with these sections of a configuration, until it
# listens on all the ports.
sub start
{
    my ($self, $configuration, @ports) = @_;
    $self->stop;
    my $file = "$self->{dir}/configuration";
    open(my $out, '>', $file) or die "$file: $!";
    print $out $self->{kind} eq 'nginx' ? $self->_nginx($configuration) : $self->_haproxy($configuration);
    close($out);
    my @command = $self->{kind} eq 'nginx'
      ? ($programs{nginx}, '-p', $self->{dir}, '-e', "$self->{dir}/error.log", '-c', $file)
      : ($programs{haproxy}, '-db', '-f', $file);
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        open(STDIN, '<', '/dev/null');
        open(STDOUT, '>>', "$self->{dir}/log");
        open(STDERR, '>&', \*STDOUT);
        POSIX::setsid();
        exec(@command) or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    $running{$pid} = $self;
    foreach my $port (@ports)
    {
        my $deadline = time() + 20;
        until (IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port))
        {
            die "$self->{kind} does not listen; see $self->{dir}"
              if waitpid($pid, POSIX::WNOHANG()) || time() > $deadline;
            sleep 0.05;
        }
    }
    return;
}

sub stop
{
    my ($self) = @_;
    my $pid = delete $self->{pid};
    return if $self->{owner} != $$ || !defined $pid || !delete $running{$pid};
    kill 'TERM', $pid;
    my $deadline = time() + 5;
    until (waitpid($pid, POSIX::WNOHANG()))
    {
        kill 'KILL', $pid if time() > $deadline;
        sleep 0.02;
    }
    return;
}

# Keep the exit status of the test that is ending.
END
{
    my $status = $?;
    $_->stop foreach values %running;
    $? = $status;
}

sub _nginx
{
    my ($self, $servers) = @_;
    my $paths = join("\n", map { "    ${_}_temp_path $self->{dir}/$_;" }
          qw(client_body proxy fastcgi uwsgi scgi));
    return <<"CONF";
daemon off;
worker_processes 1;
pid $self->{dir}/pid;
events { worker_connections 512; }
http {
$paths
    log_format seen '\$server_port \$status \$server_protocol \$http_accept_encoding \$sent_http_content_encoding';
    access_log $self->{dir}/access seen;
$servers
}
CONF
}

sub _haproxy
{
    my ($self, $sections) = @_;
    return <<"CONF";
global
    maxconn 512
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    retries 0
$sections
CONF
}

1;
