# The policies in examples/aws are JSON of the form that IAM takes, the server's
# allows no more than it needs, and CloudFormation and Terraform say the same.
# Their own checks run where the programs are installed: cfn-lint, and terraform's
# parser (its validation wants the provider of AWS from a network).
use strict;
use warnings FATAL => 'all';
use JSON::PP ();
use Test::More;

sub read_file
{
    my ($path) = @_;
    open(my $in, '<', $path) or die "$path: $!";
    local $/ = undef;
    return scalar <$in>;
}

sub list_of { return ref $_[0] ? @{ $_[0] } : $_[0]; }

my @needed = qw(firehose:PutRecord firehose:PutRecordBatch);
my @policies = glob('examples/aws/*.json');
cmp_ok(scalar @policies, '>=', 8, 'there are policies');
my %actions;
foreach my $path (@policies)
{
    my $policy = eval { JSON::PP->new->decode(read_file($path)) };
    ok($policy, "$path: is JSON") or next;
    is($policy->{Version}, '2012-10-17', "$path: version");
    foreach my $statement (list_of($policy->{Statement}))
    {
        is($statement->{Effect}, 'Allow', "$path: effect");
        my @unknown = grep { !/^(?:Effect|Action|Resource|Principal|Condition|Sid)$/ } keys %$statement;
        is_deeply(\@unknown, [], "$path: elements");
        # a trust policy has a principal and no resource
        my $trust = $path =~ /trust-/;
        is(exists $statement->{Principal} ? 1 : 0, $trust || $path =~ /endpoint/ ? 1 : 0, "$path: principal");
        is(exists $statement->{Resource} ? 1 : 0, $trust ? 0 : 1, "$path: resource");
        my @actions = list_of($statement->{Action});
        is_deeply([ grep { !/^[a-z0-9]+:[A-Z]\w+$/ } @actions ], [], "$path: actions are written out");
        push @{ $actions{$path} }, @actions;
    }
}
is_deeply([ sort @{ $actions{'examples/aws/server-policy.json'} } ], \@needed, 'the server may put and nothing else');

foreach my $path (qw(examples/aws/stream.yaml examples/aws/main.tf))
{
    my %named = map { $_ => 1 } read_file($path) =~ /(?<![\w:])(firehose:[A-Z]\w+)/g;
    is_deeply([ sort keys %named ], \@needed, "$path: the same rights");
}

sub check_with
{
    my ($program, $command) = @_;
  SKIP: {
        skip "$program is not installed", 1 if system("command -v $program >/dev/null 2>&1") != 0;
        my $said = `$command 2>&1`;
        is($?, 0, $command) or diag($said);
    }
    return;
}
check_with('cfn-lint', 'cfn-lint examples/aws/stream.yaml');
check_with('terraform', 'terraform fmt -check -no-color examples/aws/main.tf');

done_testing();
