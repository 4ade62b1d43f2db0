# A header that needs another one to be included first would tie rooms
# together; one of the lower storey that needs httpd would join the storeys.
use strict;
use warnings;
use Test::More tests => 1;

my $build = $ENV{SMARTSUPP_BUILD} // 'build';
my $output = `make -s BUILD=$build headers 2>&1`;
is( $?, 0, 'each header compiles alone, in its storey' ) or diag $output;
