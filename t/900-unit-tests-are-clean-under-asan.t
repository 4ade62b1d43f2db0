# The unit tests once more, each of them watched.
use strict;
use warnings;
use Test::More tests => 1;

# not this run's build folder, nor its make's flags
delete @ENV{qw(SMARTSUPP_BUILD MAKEFLAGS MAKELEVEL MFLAGS)};
my $output = `make -s asan-units 2>&1`;
is( $?, 0, 'the unit tests are clean under AddressSanitizer-and-UBSan' ) or diag $output;
