#!/usr/bin/perl
# Two virtual hosts with one DSN and two prefixes, and two with one DSN and
# one prefix: one database, kept apart where it is to be.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF')->start;
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName one
    SmartsuppTablePrefix one_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName two
    DBDriver sqlite3
    DBDParams "%%DB%%"
    SmartsuppTablePrefix two_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName three
    DBDriver sqlite3
    DBDParams "%%DB%%"
    SmartsuppTablePrefix two_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName elsewhere
    DBDriver sqlite3
    DBDParams "%%ROOT%%/db/elsewhere.db"
</VirtualHost>
CONF
my $database = $httpd->database;

sub result {
    my ($host, $body) = @_;
    my $answer = post($httpd, $body, headers => [Host => $host]);
    return $answer->{result} // $answer->{status};
}

my @small = (messages => [], paths => [], 'visitor.variables' => {});
is result('one', sample()), 'stored', 'host one';
is result('two', body_of(@small)), 'stored', 'host two, the same conversation';
is result('three', body_of(@small)), 'duplicate',
    'host three has the tables of two';
is result('elsewhere', sample()), 'stored', 'a database of its own';
is result('one', sample()), 'duplicate', 'host one again';
my %rows = map { my $prefix = $_; $prefix => $database->counts("${prefix}_") }
    qw(one two);
is_deeply [map { @{$rows{$_}}{qw(conversation message path variable)} }
    qw(one two)], [1, 6, 2, 3, 1, 0, 0, 0], 'each has its own rows';
is scalar(grep { !/^(?:one|two)_/ } $database->tables), 0,
    'there are no other tables';

my @results = map { @$_ } parallel(8, sub {
    my ($n) = @_;
    return [map { result($_, body_of('channel.id' => "p$n")) }
        qw(one two three)];
});
my %count;
$count{$_}++ for @results;
is_deeply \%count, {stored => 16, duplicate => 8},
    'all at once, from several processes';
is_deeply [map { $database->counts("${_}_")->{message} } qw(one two)],
    [6 + 48, 48], 'with all their messages';
$httpd->done;
done_testing;
