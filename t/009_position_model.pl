# The model of a pipeline's position and ids: its rules hold in random runs over
# definition changes, crashes, restarts, copies of the storage, promotion and
# slots that are made again, and a rule that is broken on purpose is found.
use strict;
use warnings FATAL => 'all';
use Test::More;

use ForeignTests;

plan skip_all => 'test/model is not there' unless -d 'test/model';

tap_through('model', '/usr/bin/python3', 'test/tap_unittest.py', 'test/model');
done_testing();
