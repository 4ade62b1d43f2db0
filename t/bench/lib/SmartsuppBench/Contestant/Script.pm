package SmartsuppBench::Contestant::Script;

# The help page's script: one file, written over and over, so that only the
# last delivery is kept, and nothing waits for the disk.

use strict;
use warnings;

use SmartsuppBench::Contestant::PHP ();

our @ISA = ('SmartsuppBench::Contestant::PHP');

sub prepare { $_[0]->make_php('script.php'); return }

1;
