# Debian's Chromium, driven by chromedriver's WebDriver protocol, without a window.
# Both end with the test, however that ends.
package Browser;

use strict;
use warnings FATAL => 'all';
use Cwd ();
use File::Path ();
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->allow_nonref;
my $element_key = 'element-6066-11e4-a52e-4f735466cecf';
my %running;

# Why there is no browser here; false when there is one.
sub missing
{
    return 'chromium and chromium-driver are not installed (scripts/install-browser)'
      unless -x '/usr/bin/chromium' && -x '/usr/bin/chromedriver';
    return;
}

sub start
{
    my ($class) = @_;
    my $home = Cwd::abs_path('tmp_check') . '/browser';
    File::Path::make_path($home);
    my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "listen: $@";
    my $port = $probe->sockport;
    close($probe);
    my $pid = fork() // die "cannot fork: $!";
    if ($pid == 0)
    {
        # a group of its own, which takes the browser along at the end
        setpgrp(0, 0);
        $ENV{HOME} = $ENV{TMPDIR} = $ENV{XDG_CONFIG_HOME} = $ENV{XDG_CACHE_HOME} = $home;
        open(STDOUT, '>', "$home/log");
        open(STDERR, '>&', \*STDOUT);
        exec('/usr/bin/chromedriver', "--port=$port") or POSIX::_exit(127);
    }
    my $self = bless { pid => $pid, owner => $$, http => HTTP::Tiny->new(timeout => 120), url => "http://127.0.0.1:$port" }, $class;
    $running{$pid} = $self;
    my $deadline = time() + 60;
    until (IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 1))
    {
        die "chromedriver did not start; see $home/log" if waitpid($pid, POSIX::WNOHANG()) || time() > $deadline;
        sleep 0.1;
    }
    # in a container there may be no user namespaces for a sandbox, and it
    # looks at pages of ours alone
    my @options = qw(--headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu
      --no-first-run --disable-background-networking --disable-component-update);
    my $session = $self->_call(POST => '/session', { capabilities => { alwaysMatch => {
        'goog:chromeOptions' => { binary => '/usr/bin/chromium', args => [ @options, "--user-data-dir=$home/profile" ] },
        'goog:loggingPrefs' => { browser => 'ALL' } } } });
    $self->{url} .= "/session/$session->{sessionId}";
    return $self;
}

# Call the driver; dies on an error, with what it says.
sub _call
{
    my ($self, $method, $what, $body) = @_;
    my %request = defined $body ? (content => $json->encode($body), headers => { 'Content-Type' => 'application/json' }) : ();
    my $reply = $self->{http}->request($method, $self->{url} . $what, \%request);
    die "chromedriver: $method $what: $reply->{status} $reply->{content}" unless $reply->{success};
    return $json->decode($reply->{content})->{value};
}

sub resize { my ($self, $width, $height) = @_; return $self->_call(POST => '/window/rect', { width => $width, height => $height }) }
sub open_page { my ($self, $url) = @_; return $self->_call(POST => '/url', { url => $url }) }

# Run JavaScript in the page; returns what it returns.
sub evaluate
{
    my ($self, $code) = @_;
    return $self->_call(POST => '/execute/sync', { script => $code, args => [] });
}

sub _element
{
    my ($self, $selector) = @_;
    return $self->_call(POST => '/element', { using => 'css selector', value => $selector })->{$element_key};
}

# Click, and type, as a user does.
sub click { my ($self, $selector) = @_; return $self->_call(POST => '/element/' . $self->_element($selector) . '/click', {}) }

sub type_into
{
    my ($self, $selector, $text) = @_;
    my $element = $self->_element($selector);
    $self->_call(POST => "/element/$element/clear", {});
    return $self->_call(POST => "/element/$element/value", { text => $text });
}

# What the page's console says: errors of the page, and what its policy forbade.
sub console { my ($self) = @_; return map { $_->{message} } @{ $self->_call(POST => '/se/log', { type => 'browser' }) } }

# Save a picture of what is seen.
sub screenshot
{
    my ($self, $path) = @_;
    open(my $file, '>:raw', $path) or die "$path: $!";
    print $file decode_base64($self->_call(GET => '/screenshot'));
    close($file) or die "$path: $!";
    return;
}

sub stop
{
    my ($self) = @_;
    return if $self->{owner} != $$ || !delete $running{ $self->{pid} };
    eval { $self->_call(DELETE => '') if $self->{url} =~ /session/; 1 };
    kill 'KILL', -$self->{pid};
    waitpid($self->{pid}, 0);
    return;
}

END
{
    my $status = $?;
    $_->stop foreach values %running;
    $? = $status;
}

1;
