# botocore's own resolver, given the same environment, files and endpoints,
# arrives at the same credentials as we do, in combinations made at random.
use strict;
use warnings FATAL => 'all';
use Test::More;

my $count = $ENV{FIREHOSE_TEST_LONG} ? 3000 : 320;
my @said = `/usr/bin/python3 test/identity/compare_with_botocore.py test/unit/build/find_credentials $count 2>&1`;
my $status = $?;
is($status, 0, 'no difference') or diag(@said);
like($said[-1] // '', qr/^$count combinations, 0 differences; /, 'in as many combinations as were wanted');

# each provider has decided some of them
foreach my $method (qw(assume-role assume-role-with-web-identity config-file container-role custom-process
    env iam-role shared-credentials-file sso))
{
    like($said[-1] // '', qr/\b$method [1-9]/, "$method decided some");
}
note($said[-1] // '');

# the endpoints of all regions, by botocore's list of partitions; and those that
# an environment and a config file lead to
$count = $ENV{FIREHOSE_TEST_LONG} ? 2000 : 60;
@said = `/usr/bin/python3 test/identity/compare_endpoints.py test/unit/build/find_credentials $count 2>&1`;
is($?, 0, 'endpoints') or diag(@said);
like($said[-1] // '', qr/^[1-9]\d+ endpoints, $count configurations/, 'there were some');
note($said[-1] // '');

done_testing();
