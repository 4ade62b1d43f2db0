#!/usr/bin/perl
# New conversations and known ones, older, newer and the same, small and large,
# with events and two versions of one, all wait while the tables are locked, and
# are then taken together: each is answered as if it had come alone, and has
# exactly its own rows.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

use constant MOMENT => 0.3; # for what was sent to be waiting

my %locks = (
    sqlite     => ['BEGIN IMMEDIATE', 'ROLLBACK'],
    postgresql => ['BEGIN; LOCK TABLE smartsupp_conversation', 'ROLLBACK'],
    mariadb    => ['LOCK TABLES smartsupp_conversation WRITE, smartsupp_event'
        . ' WRITE', 'UNLOCK TABLES'],
);

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind, mpm => 'event',
            conf => <<'CONF')->start;
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
MinSpareThreads 1
MaxSpareThreads 64
CONF
        # what one statement of PostgreSQL holds, and what it does not
        batch($httpd, $_, 6, 40) for 'small', 'small again';
        batch($httpd, 'large', 6, 300);
        $httpd->done;
    };
}
done_testing;

# A version of a conversation with so many messages; the sample has 2 paths and
# 3 variables.
sub version {
    my ($channel, $end, $messages) = @_;
    return body_of('channel.id' => $channel, endAt => $end, messages => [
        map { {type => 'agent', from => 'agent:3', sentAt => $_,
            content => "$channel $end $_"} } 1 .. $messages]);
}

sub batch {
    my ($httpd, $name, $few, $many) = @_;
    my $database = $httpd->database;
    for my $known ('same', 'newer', 'older') {
        is post($httpd, version("$name $known", 2000, $few))->{result},
            'stored', "$known: known";
    }
    my %sent = (
        first  => [version("$name first", 1000, $few), 'stored'],
        second => [version("$name second", 1000, $few), 'stored'],
        none   => [version("$name none", 1000, 0), 'stored'],
        many   => [version("$name many", 1000, $many), 'stored'],
        same   => [version("$name same", 2000, $few), 'duplicate'],
        newer  => [version("$name newer", 3000, 1), 'updated'],
        older  => [version("$name older", 1000, $many), 'stale'],
        twin1  => [version("$name twins", 1000, $few), 'stored|stale'],
        twin2  => [version("$name twins", 2000, 2), 'stored|updated'],
        event  => [qq({"type":"event_callback","event":"$name"}), 'stored'],
    );
    my ($lock, $unlock) = @{$locks{$database->dialect}};
    my $writer = $database->writer;
    $writer->do($lock);
    # every writer has something to wait with
    my %connection = map { ("plug $_" => dial($httpd)->write(request(
        version("$name plug $_", 1000, $few)))) } 1 .. 2;
    sleep MOMENT;
    $connection{$_} = dial($httpd)->write(request($sent{$_}[0]))
        for sort keys %sent;
    sleep MOMENT;
    $writer->do($unlock);
    $writer->disconnect;

    my %result = map { $_ => $connection{$_}->answer->{result} // 'none' }
        keys %connection;
    like $result{$_}, qr/\A(?:$sent{$_}[1])\z/, "$_: $sent{$_}[1]"
        for sort keys %sent;
    like "$result{twin1}, $result{twin2}",
        qr/\A(?:stale, stored|stored, updated)\z/, 'and of the twins one';
    my %contents = (same => [2000, $few], newer => [3000, 1],
        older => [2000, $few], first => [1000, $few], second => [1000, $few],
        none => [1000, 0], many => [1000, $many], twins => [2000, 2],
        'plug 1' => [1000, $few], 'plug 2' => [1000, $few]);
    for my $channel (sort keys %contents) {
        my ($end, $messages) = @{$contents{$channel}};
        is_deeply [map { $_->{content} } $database->rows('SELECT content FROM'
            . ' smartsupp_message WHERE channel_id = ? ORDER BY seq',
            "$name $channel")], [map { "$name $channel $end $_" }
            1 .. $messages], "the messages of $channel";
    }
    is_deeply [map { $database->value("SELECT count(*) FROM smartsupp_$_"
        . ' WHERE channel_id LIKE ?', "$name %") } qw(path variable)],
        [map { $_ * keys %contents } 2, 3], 'and its paths and variables';
    is $database->value('SELECT count(*) FROM smartsupp_event WHERE event = ?',
        $name), 1, 'the event is there';
    is $database->orphans, 0, 'nothing belongs to nobody';
    return;
}
