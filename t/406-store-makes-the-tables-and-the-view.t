#!/usr/bin/perl
# Names and types of tables and columns, which users write queries against,
# and the view that shows a conversation as text.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

my @key = (account_id => 'BIGINT', channel_id => 'VARCHAR(128)',
    begin_at => 'BIGINT');
my %tables = (
    conversation => {
        @key,
        (map { $_ => 'BIGINT' } qw(end_at duration avg_response first_response
            messages_count words_count rating message_rows received_at
            updated_at)),
        (map { $_ => 'BOOLEAN' } qw(is_chat is_missed is_triggered is_offline
            is_completed is_dropped)),
        (map { $_ => 'TEXT' } qw(rating_desc visitor_id visitor_name
            visitor_email visitor_note visitor_group visitor_ip_address
            visitor_city visitor_country_code visitor_country
            visitor_user_agent visitor_platform visitor_referer warnings
            body)),
        generation => 'INTEGER', body_sha256 => 'CHAR(64)'},
    message => {
        @key, seq => 'INTEGER', sender_kind => 'VARCHAR(8)',
        sent_at => 'BIGINT', map { $_ => 'TEXT' } qw(type name sender_id
            content triggered_by email)},
    path => {@key, seq => 'INTEGER', url => 'TEXT', title => 'TEXT'},
    variable => {@key, seq => 'INTEGER', name => 'TEXT', label => 'TEXT',
        value => 'TEXT', value_type => 'VARCHAR(8)'},
    event => {account_id => 'BIGINT', event => 'TEXT', timestamp => 'TEXT',
        body_sha256 => 'CHAR(64)', received_at => 'BIGINT', body => 'TEXT'},
    schema_version => {version => 'INTEGER', applied_at => 'BIGINT'},
);

for my $kind (SmartsuppTest::Database->kinds) {
    subtest $kind => sub {
        my $httpd = SmartsuppTest::Httpd->new(database => $kind)->start;
        tables_are_as_documented($httpd);
        view_reads_as_text($httpd);
        body_is_compressed_fast($httpd)
            if $httpd->database->dialect eq 'postgresql';
        $httpd->restart;
        schema_is_made_once($httpd);
        $httpd->done;
    };
}
done_testing;

sub tables_are_as_documented {
    my ($httpd) = @_;
    ok !$httpd->database->exists, 'nothing is made before the first delivery';
    post($httpd, sample());
    is_deeply [$httpd->database->tables],
        [map { "smartsupp_$_" } sort keys %tables], 'the tables';
    is_deeply $httpd->database->columns("smartsupp_$_"), $tables{$_},
        "the columns of $_" for sort keys %tables;
    return;
}

# One line a message; the sample, and one in the year 2040.
sub view_reads_as_text {
    my ($httpd) = @_;
    post($httpd, body_of('channel.id' => 'late', beginAt => 2240000000000,
        endAt => 2240000000999, 'visitor.name' => undef, messages => [
            {type => 'visitor', from => 'visitor:x', content => 'late',
                sentAt => 2240000000999},
            {type => 'system', from => 'system', content => 'x',
                sentAt => undef}]));
    my $lines = $httpd->database->handle->selectall_arrayref('SELECT sent_utc,'
        . ' who, what FROM smartsupp_transcript ORDER BY begin_at, seq');
    is_deeply $lines, [
        ['2015-03-27 15:33:59', 'Dusan Kmet', 'Hello'],
        ['2015-03-27 15:34:06', 'John Doe', 'agent.join'],
        ['2015-03-27 15:34:09', 'system', 'This is triggered message'],
        ['2015-03-27 15:34:13', 'John Doe', 'Hi, how can i help you ?'],
        ['2015-03-27 15:34:33', 'Dusan Kmet', 'tanks.'],
        ['2015-03-27 15:34:36', 'Dusan Kmet', 'close.visitorClose'],
        ['2040-12-24 22:13:20', 'visitor', 'late'],
        [undef, 'system', 'x'],
    ], 'the transcript' or diag explain $lines;
    is_deeply [sort keys %{$httpd->database->columns('smartsupp_transcript')}],
        [sort qw(account_id channel_id begin_at seq sent_at sent_utc who
            what)], 'its columns';
    return;
}

# Where the server can: since PostgreSQL 14, and not in every build.
sub body_is_compressed_fast {
    my ($httpd) = @_;
    my $database = $httpd->database;
    my $method = $database->value("SELECT count(*) FROM pg_settings WHERE name"
        . " = 'default_toast_compression' AND 'lz4' = ANY(enumvals)")
        ? 'lz4' : 'pglz';
    post($httpd, body_of('channel.id' => 'long', 'visitor.note' => 'so ' x 2000));
    is $database->value('SELECT pg_column_compression(body) FROM'
        . " smartsupp_conversation WHERE channel_id = 'long'"), $method,
        'a long body is compressed by the fastest method';
    $database->disconnect;
    return;
}

# After a restart the migrations are not done again.
sub schema_is_made_once {
    my ($httpd) = @_;
    my @before = $httpd->database->rows(
        'SELECT * FROM smartsupp_schema_version ORDER BY version');
    is_deeply [map { $_->{version} } @before], [1 .. @before],
        'each migration has its row';
    is post($httpd, sample())->{result}, 'duplicate', 'stored before';
    is_deeply [$httpd->database->rows(
        'SELECT * FROM smartsupp_schema_version ORDER BY version')], \@before,
        'and stays as it is';
    return;
}
