# Each fuzz target, on every seed: what is odd for one may be for another.
use strict;
use warnings;
use Test::More;

my $build = $ENV{SMARTSUPP_BUILD} // 'build';
my @wrapper = split ' ', $ENV{SMARTSUPP_WRAPPER} // '';
my @seeds = qw(t/fuzz/seeds t/corpus t/data);

for my $target (qw(conversation json signature spool)) {
    my $program = "$build/replay/$target";
    -x $program or die "$program is not there: run `make units`, from the top folder\n";
    my @lines = `@wrapper $program @seeds 2>&1`;
    is( $?, 0, "$target: what must hold does" ) or diag @lines[ -40 .. -1 ];
    like( $lines[-1], qr/^\d{3,} inputs hold$/, '... for hundreds of inputs' );
}
done_testing();
