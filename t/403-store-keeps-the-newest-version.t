#!/usr/bin/perl
# Which version of a conversation stays: end_at (NULL is lowest), number of
# messages, time received, SHA-256. What replaces takes all children with it.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        newer_replaces($httpd);
        any_order_leaves_the_newest($httpd);
        other_begin_is_another_conversation($httpd);
        case_tells_channels_apart($httpd);
        number_and_text_are_one_channel($httpd);
        $httpd->done;
    };
}
done_testing;

# Deliver a version, expect this result.
sub deliver {
    my ($httpd, $result, $name, @changes) = @_;
    my $answer = post($httpd, body_of(@changes));
    is $answer->{result}, $result, $name or diag explain $answer;
    is $answer->{status}, 200, 'with status 200';
    return $answer;
}

# A list of messages with these contents.
sub messages {
    return [map { {type => 'visitor', from => 'visitor:x', content => $_,
        sentAt => 1427470439703} } @_];
}

# What is stored under a channel id: end_at, contents, number of paths and
# variables.
sub stored {
    my ($httpd, $id) = @_;
    my $database = $httpd->database;
    return [
        $database->value('SELECT end_at FROM smartsupp_conversation'
            . ' WHERE channel_id = ?', $id),
        join(' ', @{$database->handle->selectcol_arrayref('SELECT content FROM'
            . ' smartsupp_message WHERE channel_id = ? ORDER BY seq', undef,
            $id)}),
        map { $database->value("SELECT count(*) FROM smartsupp_$_"
            . ' WHERE channel_id = ?', $id) } qw(path variable)];
}

sub newer_replaces {
    my ($httpd) = @_;
    my @key = ('channel.id' => 'v');
    my $database = $httpd->database;
    my @old = (@key, endAt => 2000, messages => messages(qw(a b c)));
    deliver($httpd, 'stored', 'the first version', @old);
    is_deeply stored($httpd, 'v'), [2000, 'a b c', 2, 3], 'is there';
    is $database->value('SELECT updated_at FROM smartsupp_conversation'),
        undef, 'updated_at is NULL';

    my $before = $database->dump;
    deliver($httpd, 'duplicate', 'the same bytes again', @old);
    is_deeply $database->dump, $before, 'a duplicate changes nothing';
    deliver($httpd, 'stale', 'an earlier end', @key, endAt => 1999,
        messages => messages(qw(a b c d e)));
    deliver($httpd, 'stale', 'no end', @key, endAt => undef,
        messages => messages(qw(a b c d e)));
    deliver($httpd, 'stale', 'fewer messages', @key, endAt => 2000,
        messages => messages(qw(a b)));
    is_deeply $database->dump, $before, 'what is older changes nothing';

    deliver($httpd, 'updated', 'more messages', @key, endAt => 2000,
        messages => messages(qw(d e f g)), paths => []);
    is_deeply stored($httpd, 'v'), [2000, 'd e f g', 0, 3],
        'replaced with its children';
    my ($row) = $database->rows('SELECT * FROM smartsupp_conversation');
    ok $row->{updated_at} >= $row->{received_at}, 'updated_at is set';
    is $row->{message_rows}, 4, 'message_rows too';
    deliver($httpd, 'updated', 'a later end, fewer messages', @key,
        endAt => 2001, messages => messages('h'), visitor => undef);
    is_deeply stored($httpd, 'v'), [2001, 'h', 2, 0],
        'the former has left no orphans';
    deliver($httpd, 'updated', 'same end and count, received later', @key,
        endAt => 2001, messages => messages('i'));
    is_deeply stored($httpd, 'v'), [2001, 'i', 2, 3], 'replaces';
    deliver($httpd, 'stale', 'the first version again', @old);

    deliver($httpd, 'stored', 'a version without end', 'channel.id' => 'n',
        endAt => undef, messages => messages('j'));
    deliver($httpd, 'updated', 'one with end 0', 'channel.id' => 'n',
        endAt => 0, messages => []);
    is_deeply stored($httpd, 'n'), [0, '', 2, 3], 'NULL is lowest';
    return;
}

sub any_order_leaves_the_newest {
    my ($httpd) = @_;
    my @versions = map { my ($end, @contents) = @$_;
        [endAt => $end, messages => messages(@contents)] }
        [undef, 'a'], [1000, 'a'], [1000, qw(a b)], [3000], [5000, qw(z y)];
    for my $order ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1],
        [3, 1, 4, 0, 2]) {
        my $id = 'order ' . join '', @$order;
        post($httpd, body_of('channel.id' => $id, @{$versions[$_]}))
            for @$order;
        is_deeply stored($httpd, $id), [5000, 'z y', 2, 3], $id;
    }
    return;
}

sub other_begin_is_another_conversation {
    my ($httpd) = @_;
    deliver($httpd, 'stored', 'a channel', 'channel.id' => 'again');
    deliver($httpd, 'stored', 'reopened later', 'channel.id' => 'again',
        beginAt => 1427470439704);
    deliver($httpd, 'stored', 'in another account', 'channel.id' => 'again',
        accountId => 209);
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'
        . " WHERE channel_id = 'again'"), 3, 'three rows';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_message'
        . " WHERE channel_id = 'again'"), 18, 'with six messages each';
    return;
}

sub case_tells_channels_apart {
    my ($httpd) = @_;
    deliver($httpd, 'stored', 'a channel like others', 'channel.id' => $_)
        for 'A', 'a', "\x{e1}", "a\x{301}", '01', '1', '1.0';
    return;
}

sub number_and_text_are_one_channel {
    my ($httpd) = @_;
    deliver($httpd, 'stored', 'channel 77', 'channel.id' => 77);
    deliver($httpd, 'updated', "channel '77'", 'channel.id' => '77');
    return;
}
