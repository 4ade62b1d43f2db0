#!/usr/bin/perl
# Every tag that the module can log has its line in the README's table, every
# tag stands at one place in the code, and none is made up.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Httpd;

my %logged;
for my $file (glob "$FindBin::Bin/../mod_smartsupp_hook/*.c") {
    $logged{$_}++ for SmartsuppTest::Httpd::slurp($file) =~ /(SMARTSUPP\d{4})/g;
}
my %told = map { $_ => 1 }
    SmartsuppTest::Httpd::slurp("$FindBin::Bin/../README.md")
    =~ /^\| (SMARTSUPP\d{4}) \|/mg;
is_deeply [sort keys %told], [sort keys %logged],
    'the README tells the tags that the module logs';
is_deeply [grep { $logged{$_} > 1 } sort keys %logged], [],
    'each tag stands at one place';
done_testing;
