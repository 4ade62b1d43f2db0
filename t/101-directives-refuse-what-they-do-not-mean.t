#!/usr/bin/perl
# Every directive with good and bad values and in the wrong places: a bad one
# stops the start with what is wrong, the file and the line.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new;
my $file = $httpd->path('conf/httpd.conf');

my %good = (
    SmartsuppMaxBody      => [qw(1 1048576 1k 1K 2m 512M 0001)],
    SmartsuppSchema       => [qw(create check Check)],
    SmartsuppTablePrefix  => ['smartsupp_', '_', 'a', 'a9_', 'x' x 32],
    SmartsuppDatabaseWait => [qw(1 2s 500ms 1mi 1h)],
);
my %bad = (
    SmartsuppMaxBody => {
        map({ $_ => qr/not a size/ } qw(0 -1 1.5 1t k 1kk 513m 1g abc
            99999999999999999999), '" 1"', '"1 "'),
        map({ $_ => qr/takes one argument/ } '', '""', '1 2')},
    SmartsuppSchema => {
        map({ $_ => qr/neither create nor check/ } qw(on yes update)),
        map({ $_ => qr/takes one argument/ } '', '""', 'create check')},
    SmartsuppTablePrefix => {
        map({ $_ => qr/not 1 to 32 of a-z, 0-9 and _/ } qw(9a A_ a-b a.b a;b
            a{b \xc5\xa1), '"a b"', 'x' x 33),
        map({ $_ => qr/takes one argument/ } '', '""')},
    SmartsuppDatabaseWait => {
        map({ $_ => qr/not a time/ } qw(0 -1 2y x 2h 9999999999999)),
        map({ $_ => qr/takes one argument/ } '', '""', '1 s')},
);

# A directive as it stands in the place where it belongs.
sub placed {
    my ($directive, $value) = @_;
    my $line = "$directive $value\n";
    return $directive ne 'SmartsuppMaxBody' ? $line
        : "<Location \"/x\">\n$line</Location>\n";
}

# Whether httpd takes this configuration, and what it says.
sub configtest {
    my ($conf) = @_;
    return $httpd->write_config($conf)->configtest;
}

for my $directive (sort keys %good) {
    for my $value (@{$good{$directive}}) {
        my ($status, $output) = configtest(placed($directive, $value));
        ok $status == 0, "$directive $value" or diag $output;
    }
    my $bad = $bad{$directive};
    for my $value (sort keys %$bad) {
        my ($status, $output) = configtest(placed($directive, $value));
        my ($line) = grep { $output =~ /on line $_ of \Q$file\E:/ }
            line_of(qr/^$directive/);
        ok $status != 0 && $line && $output =~ /$directive.*$bad->{$value}/,
            "not $directive $value" or diag $output;
    }
}

# The numbers of the lines of the configuration that match.
sub line_of {
    my ($pattern) = @_;
    my @lines = split /\n/, SmartsuppTest::Httpd::slurp($file);
    return grep { $lines[$_ - 1] =~ $pattern } 1 .. @lines;
}

for my $directive ('SmartsuppSchema create', 'SmartsuppTablePrefix x',
    'SmartsuppDatabaseWait 1') {
    my ($status, $output) = configtest(
        "<Location \"/x\">\n    $directive\n</Location>\n");
    ok $status != 0 && $output =~ /not allowed (?:in .* context|here)/,
        "$directive belongs to a server, not to a <Location>"
        or diag $output;
    ($status, $output) = configtest("<VirtualHost *:%%PORT%%>\n"
        . "    ServerName x\n    $directive\n</VirtualHost>\n");
    is $status, 0, "$directive may stand in a <VirtualHost>" or diag $output;
}
my ($status, $output) = configtest("SmartsuppMaxBody 1k\n");
ok $status != 0 && $output =~ /SmartsuppMaxBody not allowed here/,
    'SmartsuppMaxBody belongs to a directory' or diag $output;

$httpd->done;
done_testing;
