# Runs a unit program: C that prints TAP, built by `make units`.
package SmartsuppTest::Unit;

use strict;
use warnings;

# Become the program build/unit/NAME. In the environment SMARTSUPP_BUILD names
# another build folder, and SMARTSUPP_WRAPPER the words of a command to run the
# program under, such as "valgrind -q --error-exitcode=99".
sub run {
    my ($name) = @_;
    my $build = $ENV{SMARTSUPP_BUILD} // 'build';
    my $program = "$build/unit/$name";
    my @wrapper = split ' ', $ENV{SMARTSUPP_WRAPPER} // '';

    die "$program is not there: run `make units`, from the top folder\n"
        unless -x $program;
    exec { ($wrapper[0] // $program) } @wrapper, $program
        or die "cannot run @wrapper $program: $!\n";
}

1;
