# The policies in examples/aws are JSON of the form that IAM takes, the server's
# allows no more than it needs, and CloudFormation and Terraform say the same.
# Their own checks run where the programs are installed: cfn-lint, and terraform's
# parser.  Its validation wants the provider of AWS from a network; in place of it
# the names of arguments are compared with those that the provider documents.
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

# What the provider of AWS, from version 5 on, documents for the resources that are
# used (website/docs/r/ of hashicorp/terraform-provider-aws), and which are required
my %documented = (
    aws_s3_bucket => 'bucket bucket_prefix force_destroy object_lock_enabled tags',
    aws_s3_bucket_public_access_block =>
      'bucket! block_public_acls block_public_policy ignore_public_acls restrict_public_buckets skip_destroy',
    aws_iam_role => 'assume_role_policy! description force_detach_policies max_session_duration name name_prefix path permissions_boundary tags',
    aws_iam_role_policy => 'name name_prefix policy! role!',
    aws_iam_instance_profile => 'name name_prefix path role tags',
    aws_kinesis_firehose_delivery_stream => 'name! destination! server_side_encryption extended_s3_configuration tags',
    server_side_encryption => 'enabled key_type key_arn',
    extended_s3_configuration => 'bucket_arn! role_arn! prefix error_output_prefix compression_format buffering_interval buffering_size '
      . 'custom_time_zone file_extension kms_key_arn s3_backup_mode');

# Names in a block that are not documented, and names that it lacks.  The names are
# those at the beginning of its lines, outside of calls.
sub wrong_names
{
    my ($block, $body) = @_;
    my @wrong;
    $body =~ s/^\h*#.*//mg;
    $body =~ s/(\((?:[^()"]|"[^"]*"|(?1))*\))//g;
    $body =~ s/^\h*(\w+)\h*\{((?:[^{}"]|"[^"]*")*)\}/push @wrong, wrong_names($1, $2); "$1 ="/mge;
    my %used = map { $_ => 1 } $body =~ /^\h*(\w+)\h*=/mg;
    my %known = map { /^(\w+)(!?)$/; $1 => $2 } split / /, $documented{$block} // '';
    return (@wrong, map { "$block: $_" } (grep { !exists $known{$_} } sort keys %used),
        map { "no $_" } grep { $known{$_} && !$used{$_} } sort keys %known);
}

# All resources of a file; each ends with a brace of its own
sub wrong_resources
{
    my ($text) = @_;
    my @wrong;
    push @wrong, wrong_names($1, $2) while $text =~ /^resource "(\w+)" "\w+" \{\n(.*?)^\}/msg;
    return @wrong;
}
my $terraform = read_file('examples/aws/main.tf');
is_deeply([ wrong_resources($terraform) ], [], 'Terraform: arguments have their documented names');
is_deeply([ wrong_resources($terraform =~ s/buffering_size/buffer_size/r =~ s/^  destination .*\n//mr =~ s/key_type/kind/r) ],
    [ 'server_side_encryption: kind', 'extended_s3_configuration: buffer_size', 'aws_kinesis_firehose_delivery_stream: no destination' ],
    'and others are noticed');

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
