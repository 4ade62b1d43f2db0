#!/usr/bin/perl
# Sixteen senders, twenty versions of one conversation, all at once and in
# different orders: the newest stays, with exactly its children. On the way,
# other conversations are not disturbed.

use strict;
use warnings;

use FindBin;
use List::Util qw(shuffle);
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

use constant SENDERS => 16;
use constant VERSIONS => 20;

# The version with so many messages, each saying which version it is of.
sub version {
    my ($number) = @_;
    return body_of(
        endAt => 1427470476000 + $number,
        messages => [map { {type => 'agent', from => 'agent:3',
            content => "$number.$_", sentAt => 1427470476000 + $_} }
            1 .. $number],
        paths => [map { {url => "$number.$_", title => ''} }
            1 .. VERSIONS - $number],
        'visitor.variables' => {map { $_ => {label => "$number",
            value => $_} } 1 .. $number % 5});
}

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        many_versions_at_once($httpd);
        $httpd->done;
    };
}
done_testing;

sub many_versions_at_once {
    my ($httpd) = @_;
    my @bodies = map { version($_) } 1 .. VERSIONS;
    my @results = map { @$_ } parallel(SENDERS, sub {
        my ($sender) = @_;
        srand $sender;
        my $connection = dial($httpd);
        my @own = body_of('channel.id' => "own $sender");
        return [map { $connection->write(request($_))->answer->{result} }
            shuffle(@bodies, @own)];
    });

    my %count;
    $count{$_ // 'none'}++ for @results;
    is_deeply [grep { !/^(?:stored|updated|duplicate|stale)$/ } keys %count],
        [], 'every delivery is answered 200' or diag explain \%count;
    is $count{stored}, SENDERS + 1, 'stored once each';

    my $database = $httpd->database;
    my $rows = sub { [map { join ' ', @$_ }
        @{$database->handle->selectall_arrayref("$_[0]"
            . " WHERE channel_id = '55039' ORDER BY seq")}] };
    is $database->value('SELECT end_at FROM smartsupp_conversation'
        . " WHERE channel_id = '55039'"), 1427470476000 + VERSIONS,
        'the newest version stays';
    is_deeply $rows->('SELECT seq, content FROM smartsupp_message'),
        [map { $_ - 1 . ' ' . VERSIONS . ".$_" } 1 .. VERSIONS],
        'with its messages';
    is_deeply $rows->('SELECT url FROM smartsupp_path'), [], 'its paths';
    is_deeply $rows->('SELECT value FROM smartsupp_variable'), [],
        'its variables';
    is_deeply $database->counts, {conversation => 1 + SENDERS,
        message => VERSIONS + 6 * SENDERS, path => 2 * SENDERS,
        variable => 3 * SENDERS, event => 0,
        schema_version => $database->counts->{schema_version}},
        'and the others with theirs';
    return;
}
