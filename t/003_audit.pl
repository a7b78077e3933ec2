# The audit tool's own tests: what judges loss and duplicates must itself be judged.
use strict;
use warnings FATAL => 'all';
use Test::More;

use ForeignTests;

plan skip_all => 'test/audit is not there' unless -d 'test/audit';

tap_through('audit', '/usr/bin/python3', 'test/tap_unittest.py', 'test/audit');
done_testing();
