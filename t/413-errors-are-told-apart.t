#!/usr/bin/perl
# What the database refuses now and what it refuses for good: the first is
# tried again, and stored as soon as that is possible, without a restart of
# httpd; of the second the log has the database's words. Neither shows what
# visitors have written.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Server;

# In all texts that are delivered.
my $secret = "geheim-\x{1F4A9}";

for my $kind (SmartsuppTest::Database->kinds(
    qw(pgsql mysql odbc-postgresql))) {
    my $server = SmartsuppTest::Server->new(
        SmartsuppTest::Database::package_of($kind)->server_name)->start;
    my $test = sub {
        my ($name, $code) = @_;
        subtest "$kind: $name" => sub { run($kind, $server, $code) };
    };
    $test->('once is tried again', \&once_is_tried_again);
    $test->('a deadlock', \&deadlock);
    $test->('sessions end all the time', \&sessions_end_all_the_time);
    $test->('read-only', \&read_only);
    $test->('too many connections', \&too_many_connections);
    $test->('the server is down', \&server_is_down);
    $test->('a privilege is missing', \&privilege_is_missing);
    $test->('a constraint', \&constraint);
    $test->('a column too narrow', \&column_too_narrow);
    $test->('a column for fewer characters', \&column_for_fewer_characters)
        if $kind eq 'mysql';
}
done_testing;

# A server of our own for each subtest, and a look at the log.
sub run {
    my ($kind, $server, $code) = @_;
    my $database = SmartsuppTest::Database->new($kind, server => $server);
    my $httpd = SmartsuppTest::Httpd->new(database => $database,
        mpm => 'event', conf => <<'CONF')->start;
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MinSpareThreads 1
MaxRequestWorkers 25
CONF
    is deliver($httpd, 'first', paths => []), 200, 'a first delivery';
    $code->($httpd, $database);
    is $database->orphans, 0, 'nothing is half written';
    unlike $httpd->log, qr/geheim|xF0\S*x9F|\xF0\x9F/i,
        'the log has nothing that a visitor wrote';
    $database->disconnect;
    # mod_dbd's words, and those that apr_dbd_odbc prints, with the ends of
    # their lines
    $httpd->allow_log(qr/\[dbd:error\]/, qr/\[dbd_odbc\]/, qr/^ *08\w{3} *$/,
        qr/^\tIs the server running/);
    $httpd->done;
    return;
}

# The status of a delivery that has the secret everywhere.
sub deliver {
    my ($httpd, $id, @changes) = @_;
    return post($httpd, secrets($id, @changes))->{status};
}

sub secrets {
    my ($id, @changes) = @_;
    return body_of('channel.id' => $id, 'visitor.name' => $secret,
        'visitor.email' => $secret, 'messages.0.content' => $secret,
        'messages.1.content' => $secret, paths => [{url => $secret,
            title => $secret}], 'visitor.variables' => {$secret => {
            label => $secret, value => $secret}}, @changes);
}

sub stored {
    my ($httpd, $id) = @_;
    return $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'
        . ' WHERE channel_id = ?', $id);
}

# The delivery is refused as long as it lasts, and stored afterwards.
sub refused_then_stored {
    my ($httpd, $id, $words, $end) = @_;
    is deliver($httpd, $id), 503, 'refused' for 1 .. 2;
    is stored($httpd, $id), 0, 'wholly';
    like $httpd->log, qr/SMARTSUPP0212: [^\n]*$words/i, 'the log says why';
    $end->();
    is deliver($httpd, $id), 200, 'stored afterwards';
    is stored($httpd, $id), 1, 'once';
    $httpd->expect_log('SMARTSUPP0212');
    $httpd->allow_log('SMARTSUPP0301');
    return;
}

sub once_is_tried_again {
    my ($httpd, $database) = @_;
    for my $state ($database->transient) {
        $database->change($database->failure(1, $state, 'come again'));
        is deliver($httpd, $state), 200, "$state: stored";
    }
    unlike $httpd->log, qr/SMARTSUPP0[2-9]/, 'and no word about it';
    return;
}

# Another session holds b and wants a, while a batch of the writer's has a and
# wants b. Who waits for what is not measured: they must be stored in any case.
sub deadlock {
    my ($httpd, $database) = @_;
    my $server = $database->server;
    is deliver($httpd, $_), 200, "$_ is stored" for qw(a b c);
    my ($holder, $other) = map { $database->writer } 1 .. 2;
    my $update = 'UPDATE smartsupp_conversation SET visitor_note = NULL'
        . ' WHERE account_id = 208 AND begin_at = 1427470439703'
        . ' AND channel_id = ?';
    $other->do("SET deadlock_timeout = '1h'")
        if $database->dialect eq 'postgresql';
    $_->begin_work for $holder, $other;
    $holder->do($update, undef, 'c');
    $other->do($update, undef, $_) for 'first', 'b';
    my @statuses = parallel(3, sub {
        my ($n) = @_;
        # the writer waits for c, so that a and b come into one batch
        $server->wait_for(sub { $server->lock_waits }) if $n;
        return deliver($httpd, (qw(c a b))[$n], endAt => 1427470476688);
    }, sub {
        $server->wait_for(sub { $server->lock_waits });
        sleep 0.5;
        $holder->rollback;
        sleep 0.2;
        $other->do($update, undef, 'a');
        $other->rollback;
        $_->disconnect for $holder, $other;
    });
    is_deeply \@statuses, [200, 200, 200], 'all are stored in the end';
    note 'deadlocks: ', $database->deadlocks;
    is $database->value('SELECT count(*) FROM smartsupp_conversation WHERE'
        . ' end_at = 1427470476688'), 3, 'in the newer version';
    return;
}

# Whatever is answered 200 is there, and it goes on.
sub sessions_end_all_the_time {
    my ($httpd, $database) = @_;
    my $server = $database->server;
    my @results = parallel(5, sub {
        my ($sender) = @_;
        if ($sender == 4) {
            for my $round (1 .. 20) {
                $server->end_session($_)
                    for $server->sessions($database->name);
                sleep 0.01;
            }
            return [];
        }
        return [map { my $id = "$sender.$_"; [$id, deliver($httpd, $id)] }
            1 .. 30];
    });
    my %status = map { $_->[0] => $_->[1] } map { @$_ } @results;
    is_deeply [grep { !/^(?:200|503)$/ } values %status], [], '200 or 503';
    my @lost = grep { $status{$_} == 200 && !stored($httpd, $_) }
        sort keys %status;
    is_deeply \@lost, [], 'what is answered 200 is stored';
    my %count;
    $count{$_}++ for values %status;
    note explain \%count;
    is deliver($httpd, 'afterwards'), 200, 'and it goes on';
    $httpd->allow_log(qw(SMARTSUPP0212 SMARTSUPP0301));
    return;
}

sub read_only {
    my ($httpd, $database) = @_;
    $database->server->administer($database->read_only(1));
    $database->end_sessions;
    refused_then_stored($httpd, 'read-only', qr/read.only/, sub {
        $database->server->administer($database->read_only(0));
        $database->end_sessions;
    });
    return;
}

sub too_many_connections {
    my ($httpd, $database) = @_;
    my $server = $database->server;
    $server->administer($database->full(1));
    $database->end_sessions;
    my $holder = eval { $server->login($database->name, $server->USER) };
    refused_then_stored($httpd, 'full', qr/connection/, sub {
        $server->administer($database->full(0));
        $holder->disconnect if $holder;
    });
    return;
}

sub server_is_down {
    my ($httpd, $database) = @_;
    $database->disconnect;
    $database->server->stop;
    is deliver($httpd, 'down'), 503, 'refused';
    $database->server->start;
    is deliver($httpd, 'down'), 200, 'stored afterwards';
    is stored($httpd, 'down'), 1, 'once';
    $httpd->expect_log(qw(SMARTSUPP0212 SMARTSUPP0301));
    return;
}

sub privilege_is_missing {
    my ($httpd, $database) = @_;
    $database->change($database->privilege(0));
    $database->end_sessions;
    refused_then_stored($httpd, 'forbidden', qr/permission|denied/, sub {
        $database->change($database->privilege(1));
        $database->end_sessions;
    });
    return;
}

sub constraint {
    my ($httpd, $database) = @_;
    my $table = 'ALTER TABLE smartsupp_variable';
    $database->change('DELETE FROM smartsupp_variable',
        "$table ADD CONSTRAINT few_words CHECK (length(label) < 5)");
    refused_then_stored($httpd, 'constraint', qr/few_words/, sub {
        $database->change("$table DROP CONSTRAINT few_words");
    });
    unlike $httpd->log, qr/SMARTSUPP0301/, 'it is no outage';
    return;
}

sub column_too_narrow {
    my ($httpd, $database) = @_;
    $database->change($database->narrow(3));
    refused_then_stored($httpd, 'narrow', qr/too long/, sub {
        $database->change($database->wide);
    });
    unlike $httpd->log, qr/SMARTSUPP0301/, 'it is no outage';
    return;
}

# MariaDB quotes the characters that do not fit.
sub column_for_fewer_characters {
    my ($httpd, $database) = @_;
    $database->change('ALTER TABLE smartsupp_path MODIFY title LONGTEXT'
        . ' CHARACTER SET utf8mb3');
    refused_then_stored($httpd, 'fewer', qr/ncorrect string/, sub {
        $database->change('ALTER TABLE smartsupp_path MODIFY title LONGTEXT'
            . ' CHARACTER SET utf8mb4');
    });
    return;
}
