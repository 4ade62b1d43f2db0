#!/usr/bin/perl
# What crashes or silently loses data when apr_dbd is used without care, one
# subtest each: servers restarted under pooled connections, sessions ended,
# schemas changed elsewhere, one row that the database refuses, long texts.

use strict;
use warnings;

use Encode qw(decode_utf8);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Proxy;
use SmartsuppTest::Server;

my @served = SmartsuppTest::Database->kinds(qw(pgsql mysql odbc-postgresql));

for my $kind (@served) {
    for my $mpm (qw(event prefork)) {
        subtest "$kind, $mpm: the server is restarted" => sub {
            server_is_restarted($kind, $mpm);
        };
    }
    subtest "$kind: sessions are ended" => sub { sessions_are_ended($kind) };
    subtest "$kind: the session ends inside a transaction" => sub {
        transaction_loses_its_session($kind, 0);
    };
}
subtest 'mysql, reconnect=1: the session ends inside a transaction' => sub {
    transaction_loses_its_session('mysql', 1);
} if SmartsuppTest::Database->kinds('mysql');
for my $kind (SmartsuppTest::Database->kinds) {
    subtest "$kind: the schema is changed elsewhere" => sub {
        schema_is_changed($kind);
    };
    subtest "$kind: one row is refused" => sub { row_is_refused($kind) };
    subtest "$kind: a long message" => sub { message_is_long($kind) };
}
done_testing;

# mod_dbd says so at error level when it drops a connection that is dead.
sub done {
    my ($httpd) = @_;
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->done;
    return;
}

# A conversation of its own, in an older and a newer version.
sub older { return body_of('channel.id' => $_[0], endAt => 1000) }
sub newer { return body_of('channel.id' => $_[0], endAt => 2000) }

sub larger {
    return body_of('channel.id' => $_[0], endAt => 1000, messages => [
        map { {type => 'agent', from => 'agent:3', sentAt => $_, content =>
            'x'} } 1 .. 200]);
}

sub result {
    my ($httpd, $body) = @_;
    my $answer = post($httpd, $body);
    return $answer->{result} // "$answer->{status} $answer->{body}";
}

# All statements are used: a new conversation, a newer version, both again.
# A repetition may have met what it had stored itself.
sub stores_all {
    my ($httpd, $id) = @_;
    is result($httpd, older($id)), 'stored', "$id: a new one is stored";
    is result($httpd, newer($id)), 'updated', 'a newer version replaces it';
    is result($httpd, newer($id)), 'duplicate', 'which is a duplicate then';
    is result($httpd, older($id)), 'stale', 'and makes the older one stale';
    return;
}

# So many conversations with all of their children, and nothing else.
sub is_complete {
    my ($httpd, $conversations) = @_;
    my $rows = $httpd->database->counts;
    is_deeply [@$rows{qw(conversation message path variable)}],
        [map { $conversations * $_ } 1, 6, 2, 3], 'the rows are complete';
    return;
}

# Sixteen at once, so that every child has a connection.
sub sixteen {
    my ($httpd, $name) = @_;
    my @results = parallel(16, sub {
        return result($httpd, body_of('channel.id' => "$name $_[0]"));
    });
    is_deeply \@results, [('stored') x 16], "$name: sixteen at once";
    return;
}

sub server_is_restarted {
    my ($kind, $mpm) = @_;
    my $server = SmartsuppTest::Server->new(
        SmartsuppTest::Database::package_of($kind)->server_name)->start;
    my $database = SmartsuppTest::Database->new($kind, server => $server);
    my $httpd = SmartsuppTest::Httpd->new(database => $database,
        mpm => $mpm)->start;
    stores_all($httpd, 'before');
    sixteen($httpd, 'warm');
    $database->disconnect;
    $server->restart;
    sixteen($httpd, 'after');
    stores_all($httpd, 'after all');
    $database->disconnect;
    $server->abort->start;
    sixteen($httpd, 'after a crash');
    is_complete($httpd, 2 + 48);
    $database->disconnect;
    done($httpd);
    return;
}

sub sessions_are_ended {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    stores_all($httpd, 'before');
    for my $round (1 .. 3) {
        sixteen($httpd, "round $round");
        ok $database->end_sessions, 'sessions are ended';
        stores_all($httpd, "after $round");
    }
    is_complete($httpd, 4 + 48);
    done($httpd);
    return;
}

# BEGIN has been answered, the session is gone, and the conversation is one
# that the database refuses at its last table: whoever goes on in a fresh
# session, which commits each statement, leaves half of it. It is one of many
# messages: through pgsql what is small needs no BEGIN.
sub transaction_loses_its_session {
    my ($kind, $reconnect) = @_;
    my $server = SmartsuppTest::Server->shared(
        SmartsuppTest::Database::package_of($kind)->server_name);
    my $proxy = SmartsuppTest::Proxy->new($server->port);
    my $httpd = SmartsuppTest::Httpd->new(database =>
        SmartsuppTest::Database->new($kind, through => $proxy->port,
            reconnect => $reconnect))->start;
    my $database = $httpd->database;
    my $begin = $kind eq 'mysql' ? 'START TRANSACTION' : 'BEGIN';
    stores_all($httpd, 'before');
    $database->change($database->refusal('refused', 'no such thing here'));
    for my $when (qw(before after)) {
        $proxy->cut($when, $begin);
        like result($httpd, larger('refused')), qr/^503/, "cut $when $begin";
        is $proxy->left, 0, 'the session has ended there';
        is_complete($httpd, 1);
    }
    $proxy->cut('after', $begin);
    stores_all($httpd, 'another');
    is_complete($httpd, 2);
    $httpd->allow_log(qw(SMARTSUPP0107 SMARTSUPP0301));
    $httpd->expect_log('SMARTSUPP0212');
    done($httpd);
    return;
}

sub schema_is_changed {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    my @changes = ('a column is added' => ['ALTER TABLE smartsupp_message ADD'
        . ' COLUMN our_mark VARCHAR(10)', 'ALTER TABLE smartsupp_conversation'
        . ' ADD COLUMN our_mark VARCHAR(10)'],
        'an index is created' => ['CREATE INDEX ours ON smartsupp_message'
        . ' (sent_at)'],
        'statistics are gathered' => [$database->statistics],
        'the column is gone' => ['ALTER TABLE smartsupp_conversation DROP'
        . ' COLUMN our_mark']);
    stores_all($httpd, 'before');
    my $rounds = 1;
    while (my ($name, $sql) = splice @changes, 0, 2) {
        $database->change(@$sql);
        stores_all($httpd, $name);
        $rounds++;
    }
    is_complete($httpd, $rounds);
    done($httpd);
    return;
}

# Sixteen at once, some of which the database refuses: those alone are not
# stored, wholly, and the log has the database's words.
sub row_is_refused {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
    my $database = $httpd->database;
    stores_all($httpd, 'before');
    $database->change($database->refusal('refused', 'no such thing here'));
    my @results = parallel(16, sub {
        my ($n) = @_;
        return [map { result($httpd, body_of('channel.id' =>
            ($n + $_) % 4 ? "good $n.$_" : 'refused')) } 1 .. 4];
    });
    my %count;
    $count{/^(\w+)/ ? $1 : $_}++ for map { @$_ } @results;
    is_deeply \%count, {stored => 48, 503 => 16}, 'the others are stored'
        or diag explain \%count;
    is_complete($httpd, 1 + 48);
    like $httpd->log, qr/SMARTSUPP0212: [^\n]*no such thing here/,
        "the log has the database's words";
    unlike $httpd->log, qr/SMARTSUPP0301/, 'it is no outage';
    stores_all($httpd, 'after');
    $httpd->expect_log('SMARTSUPP0212');
    done($httpd);
    return;
}

sub message_is_long {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind, conf => <<'CONF');
<Location "/hook">
    SmartsuppMaxBody 8m
</Location>
CONF
    $httpd->start;
    my $text = join '', map { sprintf '%07d,', $_ } 1 .. 262_144; # 2 MiB
    my @long = ('channel.id' => 'long', 'messages.3.content' => $text);
    is result($httpd, body_of(@long)), 'stored', 'it is stored';
    is result($httpd, body_of(@long, endAt => 1427470476688)), 'updated',
        'and replaced';
    my $stored = $httpd->database->value('SELECT content FROM'
        . " smartsupp_message WHERE channel_id = 'long' AND seq = 3");
    ok $stored eq $text, 'uncut' or diag length $stored;
    my $body = $httpd->database->value('SELECT body FROM'
        . " smartsupp_conversation WHERE channel_id = 'long'");
    ok $body eq decode_utf8(body_of(@long, endAt => 1427470476688)),
        'as the body is';
    done($httpd);
    return;
}
