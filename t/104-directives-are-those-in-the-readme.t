#!/usr/bin/perl
# The directives of the built module, as mod_info lists them, are those that
# README.md and conf/ name: none missing, none made up.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(modules => ['info'],
    conf => <<'CONF')->start;
<Location "/server-info">
    SetHandler server-info
</Location>
CONF
my $page = get($httpd, '/server-info?mod_smartsupp_hook.c')->{body};
my ($list) = $page =~ /Module Directives:(.*)\z/s;
my %module = map { $_ => 1 } ($list // '') =~ /\b(Smartsupp[A-Z]\w+)/g;
is_deeply [sort keys %module], [qw(SmartsuppAccount SmartsuppDatabaseWait
    SmartsuppMaxBody SmartsuppReplayInterval SmartsuppSchema SmartsuppSecret
    SmartsuppSpool SmartsuppSpoolMaxSize SmartsuppTablePrefix)],
    'mod_info lists the directives'
    or diag $page;
like $page, qr/Content handlers.*yes/s, 'and a content handler';

for my $name (qw(README.md conf/smartsupp_hook.conf
    conf/httpd-smartsupp-hook.conf)) {
    my $text = eval { SmartsuppTest::Httpd::slurp("$FindBin::Bin/../$name") };
    my %named = map { $_ => 1 } ($text // '') =~ /\b(Smartsupp[A-Z][a-z]\w+)/g;
    is_deeply [sort keys %named], [sort keys %module], "$name names them";
}
$httpd->done;
done_testing;
