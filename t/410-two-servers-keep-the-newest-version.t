#!/usr/bin/perl
# Two httpds on one database, event and prefork: many versions of many
# conversations, shuffled, sixteen at a time. Exactly once in effect.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Race;

for my $kind (SmartsuppTest::Database->kinds) {
    for my $mpm (qw(event prefork)) {
        subtest "$kind, $mpm" => sub { race($kind, $mpm, 6, 8) };
    }
}
done_testing;
