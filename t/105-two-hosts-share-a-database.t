#!/usr/bin/perl
# Two virtual hosts with one DSN and two prefixes, and two with one DSN and
# one prefix: one database, kept apart where it is to be.

use strict;
use warnings;

use File::Temp;
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my $hosts = <<'CONF';
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName one
    SmartsuppTablePrefix one_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName two
    %%DATABASE%%
    SmartsuppTablePrefix two_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName three
    %%DATABASE%%
    SmartsuppTablePrefix two_
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName elsewhere
    ELSEWHERE
</VirtualHost>
CONF

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $folder = File::Temp->newdir('smartsupp-XXXXXXXX',
            DIR => '/var/tmp');
        my $elsewhere = SmartsuppTest::Database->new($kind,
            folder => "$folder")->config;
        my $httpd = SmartsuppTest::Httpd->new(database => $kind,
            conf => $hosts =~ s/ELSEWHERE/$elsewhere/r);
        $httpd->give("$folder");
        $httpd->start;
        hosts_are_told_apart($httpd);
        all_at_once($httpd);
        $httpd->done;
    };
}
done_testing;

sub result {
    my ($httpd, $host, $body) = @_;
    my $answer = post($httpd, $body, headers => [Host => $host]);
    return $answer->{result} // $answer->{status};
}

sub hosts_are_told_apart {
    my ($httpd) = @_;
    my @small = (messages => [], paths => [], 'visitor.variables' => {});
    is result($httpd, 'one', sample()), 'stored', 'host one';
    is result($httpd, 'two', body_of(@small)), 'stored',
        'host two, the same conversation';
    is result($httpd, 'three', body_of(@small)), 'duplicate',
        'host three has the tables of two';
    is result($httpd, 'elsewhere', sample()), 'stored',
        'a database of its own';
    is result($httpd, 'one', sample()), 'duplicate', 'host one again';
    my $database = $httpd->database;
    my %rows = map { my $prefix = $_;
        $prefix => $database->counts("${prefix}_") } qw(one two);
    is_deeply [map { @{$rows{$_}}{qw(conversation message path variable)} }
        qw(one two)], [1, 6, 2, 3, 1, 0, 0, 0], 'each has its own rows';
    is scalar(grep { !/^(?:one|two)_/ } $database->tables), 0,
        'there are no other tables';
    return;
}

sub all_at_once {
    my ($httpd) = @_;
    my @results = map { @$_ } parallel(8, sub {
        my ($n) = @_;
        return [map { result($httpd, $_, body_of('channel.id' => "p$n")) }
            qw(one two three)];
    });
    my %count;
    $count{$_}++ for @results;
    is_deeply \%count, {stored => 16, duplicate => 8},
        'all at once, from several processes';
    is_deeply [map { $httpd->database->counts("${_}_")->{message} }
        qw(one two)], [6 + 48, 48], 'with all their messages';
    return;
}
