#!/usr/bin/perl
# What 410 does, with more of everything.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Race;

for my $kind (SmartsuppTest::Database->kinds) {
    for my $mpm (qw(event prefork)) {
        subtest "$kind, $mpm" => sub { race($kind, $mpm, 60, 20) };
    }
}
done_testing;
