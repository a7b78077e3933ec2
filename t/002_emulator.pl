# The emulator's own tests: a counterpart that is wrong would make every other test
# worthless.
use strict;
use warnings FATAL => 'all';
use Test::More;

use ForeignTests;

plan skip_all => 'test/emulator is not there' unless -d 'test/emulator';

tap_through('emulator', '/usr/bin/python3', 'test/tap_unittest.py', 'test/emulator');
done_testing();
