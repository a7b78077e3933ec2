"""The rules hold in every run, and each rule that is broken is found."""
import os
import unittest

import copy_model

RUNS = int(os.environ.get('FIREHOSE_MODEL_RUNS', 2000))

# Where runs find what few runs do.
FIRST_SEED = {'reread-forgotten': 2000, 'restart-forgets-flight': 21000, 'anew-counts-flight': 4500,
              'ended-early': 3000}


class Rules(unittest.TestCase):
    def test_hold(self):
        for seed in range(RUNS):
            self.assertIsNone(copy_model.run(seed), f'seed {seed}')


class Mutations(unittest.TestCase):
    pass


def found(mutation):
    def test(self):
        first = FIRST_SEED.get(mutation, 0)
        self.assertTrue(any(copy_model.run(first + seed, mutation) for seed in range(RUNS)),
                        copy_model.MUTATIONS[mutation])
    return test


for _name in copy_model.MUTATIONS:
    setattr(Mutations, 'test_' + _name.replace('-', '_'), found(_name))

if __name__ == '__main__':
    unittest.main()
