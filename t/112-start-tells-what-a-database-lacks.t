#!/usr/bin/perl
# What is wrong with DBDriver, DBDParams or DBDMin is told at start, with the
# remedy: some of it stops the start, some is a warning.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $pgsql = "DBDriver pgsql\nDBDParams";
my $mysql = "DBDriver mysql\nDBDParams";
my $good = 'host=127.0.0.1 port=1 connect_timeout=2';

my %refused = (
    freetds => ["DBDriver freetds\nDBDParams x", 'SMARTSUPP0106',
        qr/sqlite3, pgsql, mysql or odbc/],
    oracle => ["DBDriver oracle\nDBDParams x", 'SMARTSUPP0106',
        qr/sqlite3, pgsql, mysql or odbc/],
    'CLIENT_FOUND_ROWS' => ["$mysql \"host=127.0.0.1,reconnect=0,"
        . 'flags=CLIENT_FOUND_ROWS"', 'SMARTSUPP0110', qr/must not have/],
);
my %warned = (
    'mysql without reconnect' => ["$mysql host=127.0.0.1,port=1\nDBDMin 0",
        'SMARTSUPP0107', qr/reconnect=0/],
    'mysql with reconnect=1' => ["$mysql host=127.0.0.1,port=1,reconnect=1\n"
        . 'DBDMin 0', 'SMARTSUPP0107', qr/reconnect=0/],
    'pgsql without connect_timeout' => ["$pgsql \"host=127.0.0.1 port=1\"\n"
        . 'DBDMin 0', 'SMARTSUPP0108', qr/add connect_timeout=2/],
    'no DBDMin' => ["$pgsql \"$good\"", 'SMARTSUPP0109', qr/add DBDMin 0/],
    'DBDMin 1' => ["$pgsql \"$good\"\nDBDMin 1", 'SMARTSUPP0109',
        qr/add DBDMin 0/],
    'one in a virtual host' => ["$pgsql \"$good\"\nDBDMin 0\n"
        . "<VirtualHost *:%%PORT%%>\nServerName x\n$mysql"
        . " host=127.0.0.1,port=1\n<Location /x>\nSetHandler smartsupp-hook\n"
        . "</Location>\n</VirtualHost>", 'SMARTSUPP0107', qr/reconnect=0/],
);
my @silent = (
    "$pgsql \"$good\"\nDBDMin 0",
    "$mysql host=127.0.0.1,port=1,reconnect=0\nDBDMin 0",
    "DBDriver odbc\nDBDParams DATASOURCE=x\nDBDMin 0",
);

subtest refused => sub {
    my $httpd = SmartsuppTest::Httpd->new(database => 'none');
    my $file = $httpd->path('conf/httpd.conf');
    make_driver($httpd, $_) for qw(freetds oracle);
    $httpd->{wrapper} = ['env', 'LD_LIBRARY_PATH=' . $httpd->path('htdocs')];
    for my $name (sort keys %refused) {
        my ($conf, $tag, $remedy) = @{$refused{$name}};
        my ($status, $output) = $httpd->write_config($conf)->configtest;
        ok $status != 0, "$name stops the start" or diag $output;
        like $output, qr/$tag: [^\n]*$remedy/, 'with tag and remedy';
        like $output, qr/\Q$file\E:\d+/, 'with file and line';
    }
    $httpd->done;
};

for my $name (sort keys %warned) {
    my ($conf, $tag, $remedy) = @{$warned{$name}};
    subtest $name => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => 'none',
            conf => $conf);
        my $file = $httpd->path('conf/httpd.conf');
        # nobody listens at port 1, and nothing is delivered
        serves($httpd->start);
        $httpd->stop;
        like $httpd->log, qr/:warn\][^\n]* $tag: [^\n]*$remedy/, 'a warning';
        like $httpd->log, qr/$tag: [^\n]*\Q$file\E:\d+/, 'with file and line';
        is_deeply [$httpd->log =~ /\b(SMARTSUPP01(?!14|15)\d\d)/g], [$tag],
            'once, and no other';
        $httpd->expect_log($tag);
        # DBDMin 1 has tried to connect
        $httpd->allow_log(qr/\[dbd:(?:error|crit)\]/) if $conf !~ /DBDMin 0/;
        $httpd->done;
    };
}

subtest 'nothing is wrong' => sub {
    for my $conf (@silent) {
        my $httpd = SmartsuppTest::Httpd->new(database => 'none',
            conf => $conf)->start;
        serves($httpd);
        $httpd->done;
    }
};
done_testing;

# A child is up: one that is stopped while it starts may crash in httpd.
sub serves {
    my ($httpd) = @_;
    is get($httpd, '/')->{status}, 404, 'other URLs are served';
    return;
}

# Drivers that Debian does not have: httpd finds something of that name.
sub make_driver {
    my ($httpd, $name) = @_;
    my $source = $httpd->path("conf/$name.c");
    SmartsuppTest::Httpd::spew($source, 'const struct { const char *name;'
        . " void *calls[40]; } apr_dbd_${name}_driver = {\"$name\"};\n");
    my $cc = SmartsuppTest::Httpd::apxs('CC');
    my $library = $httpd->path("htdocs/apr_dbd_$name-1.so");
    system("$cc -shared -fPIC -o $library $source") == 0
        or die "cannot compile $source\n";
    return;
}
