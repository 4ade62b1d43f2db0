#!/usr/bin/perl
# conf/smartsupp_hook-*.conf: the statements that they tell make a database,
# the lines that they give use it; only names and ports are changed.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Server;

my $head = <<'CONFIG';
ServerRoot "%%ROOT%%"
PidFile "%%ROOT%%/run/httpd.pid"
DefaultRuntimeDir "%%ROOT%%/run"
%%MODULES%%
ServerName localhost
Listen 127.0.0.1:%%PORT%%
ErrorLog "%%ROOT%%/logs/error.log"
LogLevel info
SmartsuppDatabaseWait 60s
%%CONF%%
CONFIG

my %file = (pgsql => 'pgsql', mysql => 'mysql', 'odbc-postgresql' => 'odbc');
my $dbd = qr/^DBD\w+ .*\n/m;

for my $kind (SmartsuppTest::Database->kinds(sort keys %file)) {
    subtest $kind => sub { conf_works($kind) };
}
done_testing;

sub conf_works {
    my ($kind) = @_;
    my $name = "smartsupp_$file{$kind}_$$";
    my $server = SmartsuppTest::Server->shared(
        SmartsuppTest::Database::package_of($kind)->server_name);
    my $conf = SmartsuppTest::Httpd::shipped(
        "smartsupp_hook-$file{$kind}.conf");
    my $statements = $file{$kind} ne 'odbc' ? $conf
        : SmartsuppTest::Httpd::shipped('smartsupp_hook-pgsql.conf');
    # our MariaDB knows addresses, and no names
    my @sql = map { s/\bsmartsupp\b/$name/g; s/\@localhost/\@127.0.0.1/; $_ }
        $statements =~ /^# +((?:CREATE|GRANT) .*);$/mg;
    ok @sql > 1, 'it tells how to make the database';
    $server->administer(@sql);

    like $conf, qr/^DBDMin 0$/m, 'DBDMin 0';
    my $all = SmartsuppTest::Httpd::shipped('smartsupp_hook.conf');
    is scalar(my @lines = $all =~ /$dbd/g), 3, 'it replaces these lines';
    $all =~ s/$dbd//g;
    for ($conf) {
        s/\bsmartsupp\b(?!_)/$name/g;
        s/\b(?:5432|3306)\b/$server->port/ge;
    }
    my $database = SmartsuppTest::Database->new($kind, name => $name);
    my $httpd = SmartsuppTest::Httpd->new(database => $database, hook => 0,
        config => $head, conf => "$conf$all")->start;
    my $answer = post($httpd, sample(), path => '/smartsupp-hook');
    is $answer->{result}, 'stored', 'it stores' or diag explain $answer;
    is $database->counts->{message}, 6, 'in the database that it names';
    $httpd->done;
    return;
}
