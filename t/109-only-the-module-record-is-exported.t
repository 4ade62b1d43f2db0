#!/usr/bin/perl
# APR loads modules RTLD_GLOBAL: whatever else they export may be taken for
# another module's.

use strict;
use warnings;

use FindBin;
use Test::More;

my $module = $ENV{SMARTSUPP_MODULE}
    // "$FindBin::Bin/../build/.libs/mod_smartsupp_hook.so";
my @symbols = map { (split)[-1] } `nm -D --defined-only '$module'`;
is $?, 0, 'nm reads the module';
is_deeply [sort @symbols], ['smartsupp_hook_module'], 'one symbol is exported';
done_testing;
