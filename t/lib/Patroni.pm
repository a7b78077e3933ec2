# A cluster that Patroni keeps, with etcd: members on ports of loopback, each a
# PostgreSQL::Test::Cluster that Patroni initializes, starts and stops.  Patroni and
# etcd are those that scripts/install-patroni unpacked.  All ends with the test,
# however that ends.
package Patroni;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use FirehoseTest;

my $json = JSON::PP->new->utf8->canonical;
my $packages = Cwd::abs_path('.') . '/build/patroni/usr';
my %running;    # pid => what started it, and where its number is written

# Why there can be no cluster; '' if there can.
sub missing
{
    return '' if -x "$packages/bin/etcd" && -x "$packages/bin/patroni";
    return 'no Patroni; see scripts/install-patroni';
}

# Start etcd and the members of these names.  `dcs` is the configuration that they
# share, `parameters` returns the settings of one, by its name.
sub start_cluster
{
    my ($class, %options) = @_;
    my $dir = Cwd::abs_path($PostgreSQL::Test::Utils::tmp_check) . "/patroni-$$";
    mkdir $dir or die "$dir: $!";
    my $self = bless { dir => $dir, names => $options{names}, etcd => _port(), options => \%options }, $class;
    my ($client, $peer) = map { "http://127.0.0.1:$_" } $self->{etcd}, _port();
    _run("$dir/etcd", "$packages/bin/etcd", '--name', 'etcd', '--data-dir', "$dir/etcd.data",
        '--listen-client-urls', $client, '--advertise-client-urls', $client, '--listen-peer-urls', $peer,
        '--initial-advertise-peer-urls', $peer, '--initial-cluster', "etcd=$peer");
    wait_until('etcd answers', sub { HTTP::Tiny->new(timeout => 5)->get("$client/version")->{success} });
    foreach my $name (@{ $self->{names} })
    {
        $self->{node}{$name} = PostgreSQL::Test::Cluster->new($name);
        $self->{rest}{$name} = _port();
        $self->_write_config($name);
        $self->start($name);
        # the first one initializes the cluster
        $self->wait_leader() if $name eq $self->{names}[0];
    }
    $self->wait_members();
    return $self;
}

sub _port { return PostgreSQL::Test::Cluster::get_free_port() }

# JSON is YAML, too.
sub _write_config
{
    my ($self, $name) = @_;
    my $node = $self->{node}{$name};
    my $user = getpwuid($<);
    chomp(my $bindir = `$ENV{PG_CONFIG} --bindir`);
    my $address = '127.0.0.1:' . $node->port;
    my $rest = "127.0.0.1:$self->{rest}{$name}";
    my %config = (
        scope => 'cluster', name => $name,
        restapi => { listen => $rest, connect_address => $rest },
        etcd3 => { host => "127.0.0.1:$self->{etcd}" },
        bootstrap => { dcs => $self->{options}{dcs}, initdb => [ 'data-checksums', { encoding => 'UTF8' } ] },
        postgresql => {
            listen => $address, connect_address => $address, use_unix_socket => JSON::PP::true,
            data_dir => Cwd::abs_path($node->basedir) . '/pgdata', bin_dir => $bindir,
            pgpass => "$self->{dir}/$name.pgpass",
            authentication => { superuser => { username => $user }, replication => { username => 'replicator' } },
            pg_hba => [ 'local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust' ],
            parameters => { unix_socket_directories => $node->host, $self->{options}{parameters}->($name) },
            $self->{options}{postgresql} ? $self->{options}{postgresql}->($node) : () });
    append_to_file("$self->{dir}/$name.yml", $json->encode(\%config));
    return;
}

sub node { return $_[0]{node}{ $_[1] } }

# Start a member's Patroni, which starts its server.
sub start
{
    my ($self, $name) = @_;
    local $ENV{PYTHONPATH} = "$packages/lib/python3/dist-packages";
    $self->{pid}{$name} = _run("$self->{dir}/$name.patroni", '/usr/bin/python3', "$packages/bin/patroni", "$self->{dir}/$name.yml");
    return;
}

# Kill a member as a machine dies: its Patroni, and all of its server.
sub crash
{
    my ($self, $name) = @_;
    my ($postmaster) = slurp_file($self->node($name)->data_dir . '/postmaster.pid') =~ /^(\d+)/;
    my @children = split ' ', `ps -o pid= --ppid $postmaster`;
    kill('KILL', $self->{pid}{$name}, $postmaster, @children);
    _ended($self->{pid}{$name});
    wait_until("all of $name is dead", sub { !grep { kill(0, $_) } $postmaster, @children });
    return;
}

# patronictl; returns what it printed.
sub ctl
{
    my ($self, @arguments) = @_;
    local $ENV{PYTHONPATH} = "$packages/lib/python3/dist-packages";
    my $output = '';
    my $done = IPC::Run::run([ '/usr/bin/python3', "$packages/bin/patronictl", '-c', "$self->{dir}/$self->{names}[0].yml", @arguments ],
        '<', '/dev/null', '>&', \$output);
    ok($done, "patronictl @arguments") or diag($output);
    return $output;
}

# Change the configuration that members share.
sub patch_config
{
    my ($self, $change) = @_;
    my $answer = HTTP::Tiny->new(timeout => 30)->request('PATCH', "http://127.0.0.1:$self->{rest}{$self->leader}/config",
        { content => $json->encode($change) });
    return ok($answer->{success}, 'the configuration is changed') || diag($answer->{content});
}

# What Patroni says of each member: { name => { role, state } }
sub members
{
    my ($self) = @_;
    foreach my $name (grep { $self->{rest}{$_} } @{ $self->{names} })
    {
        my $answer = HTTP::Tiny->new(timeout => 5)->get("http://127.0.0.1:$self->{rest}{$name}/cluster");
        return { map { $_->{name} => $_ } @{ $json->decode($answer->{content})->{members} } } if $answer->{success};
    }
    return {};
}

# The name of the member that leads and takes writes; '' while there is none.
sub leader
{
    my ($self) = @_;
    my $members = $self->members;
    my ($name) = grep { $members->{$_}{role} eq 'leader' } sort keys %$members;
    return '' unless defined $name && $self->{node}{$name};
    return ask($self->{node}{$name}, 'SELECT pg_is_in_recovery()') eq 'f' ? $name : '';
}

# Wait for a leader, another one than `not`; returns its name.
sub wait_leader
{
    my ($self, $not) = @_;
    my $leader = '';
    wait_until('there is a leader' . (defined $not ? ", which is not $not" : ''),
        sub { ($leader = $self->leader) ne '' && $leader ne ($not // '') }, 180)
      or diag(explain($self->members));
    return $leader;
}

# Wait until all members run, and follow the leader.
sub wait_members
{
    my ($self) = @_;
    my $members = {};
    return wait_until('all members run', sub {
            my $leader = $self->leader;
            $members = $self->members;
            my @following = grep { ($members->{$_}{state} // '') =~ /^(running|streaming)$/ } @{ $self->{names} };
            $leader ne '' && @following == @{ $self->{names} }
              && ask($self->{node}{$leader}, q{SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'}) eq $#following }, 180)
      || diag(explain($members));
}

# Stop everything: Patroni stops its server.
sub stop
{
    _end($_) foreach sort { $running{$a}{file} =~ /etcd/ <=> $running{$b}{file} =~ /etcd/ } grep { $running{$_}{owner} == $$ } keys %running;
    return;
}

# Run a command with its output in a file; scripts/test knows it by its pid file.
sub _run
{
    my ($file, @command) = @_;
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        open(STDIN, '<', '/dev/null');
        open(STDOUT, '>>', "$PostgreSQL::Test::Utils::log_path/" . $file =~ s{.*/}{}r . '.log');
        open(STDERR, '>&', \*STDOUT);
        # a session of its own: an interrupt of the test is not for it
        POSIX::setsid();
        exec(@command) or POSIX::_exit(127);
    }
    open(my $out, '>', "$file.pid") or die "$file.pid: $!";
    print $out "$pid\n";
    close($out);
    $running{$pid} = { owner => $$, file => "$file.pid" };
    return $pid;
}

sub _ended
{
    my ($pid) = @_;
    waitpid($pid, 0);
    unlink delete($running{$pid})->{file};
    return;
}

sub _end
{
    my ($pid) = @_;
    my $deadline = time() + 60;
    kill('TERM', $pid);
    until (waitpid($pid, POSIX::WNOHANG()))
    {
        kill('KILL', $pid) if time() > $deadline;
        sleep 0.05;
    }
    _ended($pid);
    return;
}

# Keep the exit status of the test that is ending.  This runs before PostgreSQL's
# own clean-up, which removes the data directories.
END
{
    my $status = $?;
    stop();
    $? = $status;
}

1;
