#!/usr/bin/perl
# The tables of a new database, made by many at once; those of an older
# version, with data in them; what is half done, and what is too new.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

for my $kind (SmartsuppTest::Database->kinds) {
    subtest "$kind: many begin at once" => sub { many_begin_at_once($kind) };
    subtest "$kind: half done, and too new" => sub { half_done($kind) };
    subtest "$kind: a table of that name" => sub { other_table($kind) };
}
for my $kind (SmartsuppTest::Database->kinds(qw(sqlite odbc-sqlite))) {
    subtest "$kind: version 1" => sub { version_1($kind) };
}
done_testing;

sub result {
    my ($httpd, @changes) = @_;
    my $answer = post($httpd, body_of(@changes));
    return $answer->{result} // $answer->{status};
}

sub versions {
    my ($database) = @_;
    return [map { $_->{version} } $database->rows('SELECT version FROM'
        . ' smartsupp_schema_version ORDER BY version')];
}

# Ten processes of five servers, each with its first delivery.
sub many_begin_at_once {
    my ($kind) = @_;
    my $conf = <<'CONF';
<IfModule mpm_prefork_module>
    StartServers 4
</IfModule>
CONF
    my @servers = SmartsuppTest::Httpd->new(database => $kind,
        mpm => 'prefork', conf => $conf)->start;
    my $database = $servers[0]->database;
    push @servers, SmartsuppTest::Httpd->new(database => $database,
        mpm => 'prefork', conf => $conf)->start for 2 .. 5;
    my @results = parallel(20, sub {
        return result($servers[$_[0] % 5], 'channel.id' => "$_[0]");
    });
    is_deeply \@results, [('stored') x 20], 'all are stored'
        or diag explain \@results;
    is_deeply [@{$database->counts}{qw(conversation message)}], [20, 120],
        'once';
    my $versions = versions($database);
    is_deeply $versions, [1 .. @$versions], 'each migration is noted once';
    $_->done for reverse @servers;
    return;
}

# A migration that was interrupted before it was noted, and one that this
# module does not know.
sub half_done {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    is result($httpd), 'stored', 'the tables are made';
    my $versions = versions($database);
    $database->change('DELETE FROM smartsupp_schema_version WHERE version > 2',
        'DROP VIEW smartsupp_transcript');
    $httpd->restart;
    is result($httpd), 'duplicate', 'migrations go on where they were';
    is_deeply versions($database), $versions, 'all are noted again';
    is $database->value('SELECT count(*) FROM smartsupp_transcript'), 6,
        'what was missing is there';

    $database->change('INSERT INTO smartsupp_schema_version VALUES (1000, 0)');
    $httpd->restart;
    my $before = $database->dump;
    is result($httpd, 'channel.id' => 'new'), 503, 'a newer schema: 503';
    like $httpd->log,
        qr/SMARTSUPP0301: [^\n]*version 1000[^\n]*install a newer/,
        'the log says what to do';
    is_deeply $database->dump, $before, 'nothing is written';
    $database->change(
        'DELETE FROM smartsupp_schema_version WHERE version = 1000');
    is result($httpd, 'channel.id' => 'new'), 'stored',
        'without it, and without a restart: stored';
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
    $httpd->done;
    return;
}

# Somebody else's table is in the way: it stays, and is named.
sub other_table {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    is result($httpd), 'stored', 'the tables are made';
    $database->change('DROP VIEW smartsupp_transcript', 'DELETE FROM'
        . ' smartsupp_schema_version WHERE version > 2',
        'DROP TABLE smartsupp_path', 'CREATE TABLE smartsupp_path (x INTEGER)');
    $httpd->restart;
    is result($httpd, 'channel.id' => 'new'), 503, 'a foreign table: 503';
    like $httpd->log, qr/SMARTSUPP0301: [^\n]*path/, 'the log names it';
    is_deeply $database->columns('smartsupp_path'), {x => 'INTEGER'},
        'it stays as it is';
    is $database->value("SELECT count(*) FROM smartsupp_conversation WHERE"
        . " channel_id = 'new'"), 0, 'nothing is half written';
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
    $httpd->done;
    return;
}

# A database as release 1 has left it: the sample, a conversation that was
# replaced, and an event.
sub version_1 {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind);
    my $database = $httpd->database;
    $database->load("$FindBin::Bin/data/schema-1-sqlite.sql");
    $httpd->give($database->file);
    my $before = $database->dump;
    my $fresh = SmartsuppTest::Httpd->new(database => $kind)->start;
    $httpd->start;
    is post($httpd, sample())->{result}, 'duplicate', 'the sample is known';
    is post($httpd, sample('rest-event.json'))->{result}, 'duplicate',
        'and the event';
    is result($httpd, 'channel.id' => 'replaced', endAt => 1000), 'stale',
        'an older version is stale';
    my $after = $database->dump;
    is_deeply {%$after, smartsupp_schema_version => 0},
        {%$before, smartsupp_schema_version => 0}, 'all rows are as they were';
    is result($httpd, 'channel.id' => 'replaced', endAt => 3000), 'updated',
        'a newer one replaces it';
    is result($httpd, 'channel.id' => 'new'), 'stored', 'a new one is stored';
    is $database->orphans, 0, 'no orphans';

    is result($fresh), 'stored', 'a fresh database beside it';
    is_deeply versions($database), versions($fresh->database),
        'has the same version';
    is_deeply $database->columns($_), $fresh->database->columns($_),
        "and the same columns of $_"
        for $fresh->database->tables, 'smartsupp_transcript';
    $fresh->done;
    $httpd->done;
    return;
}
