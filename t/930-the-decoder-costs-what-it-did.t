#!/usr/bin/perl
# The scanner and the decoder take as many machine instructions for the same
# bodies as they did when t/bench/instructions.txt was written.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib", "$FindBin::Bin/bench/lib";
use SmartsuppBench::Instructions qw(cases toolchain figures);

use constant ALLOWED => 0.05;

my $update = 't/bench/instructions --update';
my $toolchain = toolchain();
my $kept = figures()->{$toolchain};
plan skip_all => "no figures are kept for $toolchain: on a commit whose decoder"
    . " is known to be as fast as it was, run $update and commit the change of"
    . ' t/bench/instructions.txt' if !$kept;

for my $case (cases()) {
    my ($what, $kilobytes) = @$case;
    my $before = $kept->{"@$case"};
    my $count = SmartsuppBench::Instructions::count(@$case);
    my $change = sprintf '%+.1f %%', 100 * ($count / $before - 1);
    ok abs($count / $before - 1) <= ALLOWED,
        "$what of $kilobytes KB takes as many instructions ($change)"
        or diag "$count instructions, $before before. If that is meant to be,"
            . " or an improvement: $update, and commit"
            . ' t/bench/instructions.txt';
}
done_testing;
