#!/usr/bin/perl
# Whatever keeps the database from taking deliveries: they are answered 202
# and wait in the spool, and are stored once it is over, each once, as of the
# time when it was received. And what the spool itself needs.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use List::Util qw(sum0);
use Test::More;
use Time::HiRes qw(time);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(ordinary_user slurp spew);
use SmartsuppTest::Server;
use SmartsuppTest::Spool;

my $spool_conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 200ms
CONF

# Who has told of an outage must be the one who tells of its end.
my $one_child = <<'CONF';
StartServers 1
ServerLimit 1
<IfModule mpm_prefork_module>
    MaxRequestWorkers 1
</IfModule>
<IfModule !mpm_prefork_module>
    ThreadsPerChild 25
    MinSpareThreads 1
    MaxRequestWorkers 25
</IfModule>
CONF

my %server; # by dialect: ours, because we stop it
for my $kind (SmartsuppTest::Database->kinds) {
    for my $fault (faults($kind)) {
        subtest "$kind, $fault->{name}" => sub { waits($kind, $fault) };
    }
}
subtest 'without a spool' => \&no_spool;
subtest 'full' => \&full;
subtest 'refused folders' => \&refused_folders;
subtest 'a spool that fails later' => \&fails_later;
subtest 'one folder for two servers' => \&shared_folder;
subtest 'httpd is started by root' => \&started_by_root;
done_testing;

# What may befall a database of that kind: {name, conf, from_start, on, off,
# restarts}. on and off get httpd and the database.
sub faults {
    my ($kind) = @_;
    my $package = SmartsuppTest::Database::package_of($kind);
    my $name = $package->server_name;
    return ($name ? served_faults($name) : file_faults($kind),
        {name => 'tables of another shape', on => sub {
            my ($httpd, $database) = @_;
            $database->change(
                'ALTER TABLE smartsupp_message RENAME COLUMN content TO x');
            $httpd->write_config("$httpd->{conf}SmartsuppSchema check\n")
                ->restart;
        }, off => sub {
            $_[1]->change(
                'ALTER TABLE smartsupp_message RENAME COLUMN x TO content');
        }});
}

sub served_faults {
    my ($name) = @_;
    my $server = $server{$name}
        //= SmartsuppTest::Server->new($name)->start;
    my $down = sub { $_[1]->disconnect; $server->stop };
    my $up = sub { $server->start };
    my $locks = $name eq 'mariadb' ? ['LOCK TABLES smartsupp_conversation'
        . ' WRITE', 'UNLOCK TABLES'] : ['BEGIN; LOCK TABLE'
        . ' smartsupp_conversation', 'ROLLBACK'];
    return ({name => 'down', on => $down, off => $up},
        {name => 'down from the start', from_start => 1, on => $down,
            off => $up},
        {name => 'read-only', on => sub {
            $server->administer($_[1]->read_only(1));
            $_[1]->end_sessions;
        }, off => sub {
            $server->administer($_[1]->read_only(0));
            $_[1]->end_sessions;
        }},
        {name => 'a privilege is missing', on => sub {
            $_[1]->change(privilege($_[1], 0));
            $_[1]->end_sessions;
        }, off => sub {
            $_[1]->change(privilege($_[1], 1));
            $_[1]->end_sessions;
        }},
        locked(@$locks));
}

# For events, too.
sub privilege {
    my ($database, $given) = @_;
    return ($database->privilege($given), $database->dialect eq 'mariadb' ? ()
        : $database->privilege($given) =~ s/_message/_event/r);
}

# What httpd has open stays so, and ODBC does not tell; hence the restarts.
sub file_faults {
    my ($kind) = @_;
    my $restarts = $kind ne 'sqlite';
    my $mode = sub {
        my ($httpd, $folder, $file) = @_;
        chmod $file, $httpd->path('db/smartsupp.db');
        chmod $folder, $httpd->path('db');
    };
    my $away = sub {
        my ($httpd, $database) = @_;
        $database->disconnect;
        rename $httpd->path('db'), $httpd->path('away') or die "rename: $!\n";
        $httpd->restart if $restarts;
    };
    my $back = sub {
        my ($httpd) = @_;
        rename $httpd->path('away'), $httpd->path('db') or die "rename: $!\n";
    };
    return ({name => 'the folder is away', on => $away, off => $back},
        {name => 'the folder is not writable', from_start => 1,
            on => sub { $mode->($_[0], 0500, 0600) },
            off => sub { $mode->($_[0], 0700, 0600) }},
        {name => 'read-only', restarts => $restarts, on => sub {
            my ($httpd, $database) = @_;
            $database->disconnect;
            $mode->($httpd, 0500, 0400);
            $httpd->restart;
        }, off => sub {
            my ($httpd) = @_;
            $mode->($httpd, 0700, 0600);
            $httpd->restart if $restarts;
        }},
        locked('BEGIN IMMEDIATE', 'ROLLBACK'));
}

# Another session has a lock for longer than a delivery waits.
sub locked {
    my ($lock, $unlock) = @_;
    my $holder;
    return {name => 'locked', conf => "SmartsuppDatabaseWait 300ms\n",
        on => sub {
            $holder = $_[1]->writer;
            $holder->do($lock);
        }, off => sub {
            $holder->do($unlock);
            $holder->disconnect;
        }};
}

# A version of a conversation, with messages of its own.
sub version {
    my ($channel, $end_at, $count) = @_;
    return body_of('channel.id' => $channel, endAt => $end_at,
        messages => [map { {type => 'agent', from => 'agent:3',
            sentAt => 1427470476000, content => "$end_at.$_"} } 1 .. $count]);
}

# A delivery that has to be spooled: the answer, and the file. Gives the time
# that the file has.
sub spooled {
    my ($httpd, $spool, $name, $body, %identity) = @_;
    my %before = map { $_ => 1 } $spool->names('new');
    my $start = time;
    my $answer = post($httpd, $body);
    my $end = time;
    is $answer->{status}, 202, "$name: 202" or diag explain $answer;
    my %headers = %{$answer->{headers}};
    is_deeply [@headers{qw(smartsupp-result content-type retry-after)}],
        ['spooled', 'application/json', undef], 'with its headers';
    is_deeply $answer->{json}, {result => 'spooled', warnings => [],
        %identity}, 'and its body';

    my @files = grep { !$before{$_} } $spool->names('new');
    is @files, 1, 'one file more waits';
    is_deeply [$spool->damaged], [], 'named and owned as it should be';
    my $file = $spool->read('new', $files[0] // '') // {received => 0};
    is_deeply [@$file{qw(body reason server)}], [$body, undef,
        'localhost'], 'which holds what was sent';
    ok $file->{received} >= int(1000 * $start)
        && $file->{received} <= 1000 * $end, 'and when'
        or diag "$start <= $file->{received} <= $end";
    return $file->{received};
}

sub conversation_spooled {
    my ($httpd, $spool, $channel, $body) = @_;
    return spooled($httpd, $spool, $channel, $body, account => 208,
        channel => $channel, begin => 1427470439703);
}

# Deliver it until it is stored, by whatever way.
sub stored {
    my ($httpd, $spool, $body) = @_;
    $httpd->wait_for(sub { post($httpd, $body)->{status} == 200
        && !$spool->names('new') }) or die $httpd->failure('it is not stored');
    return;
}

sub waits {
    my ($kind, $fault) = @_;
    my $dialect = SmartsuppTest::Database::package_of($kind)->server_name;
    my $httpd = SmartsuppTest::Httpd->new(conf => $spool_conf . $one_child
        . ($fault->{conf} // ''), database => $dialect
        ? SmartsuppTest::Database->new($kind, server => $server{$dialect})
        : $kind);
    my $database = $httpd->database;
    my $spool = SmartsuppTest::Spool->of($httpd);
    $fault->{on}->($httpd, $database) if $fault->{from_start};
    $httpd->start;
    if (!$fault->{from_start}) {
        stored($httpd, $spool, version('first', 1000, 3));
        $fault->{on}->($httpd, $database);
    }
    my $logged = length $httpd->log;

    my $first = version('first', 2000, 2);
    my $older = version('older', 1000, 9);
    my $event = sample('rest-event.json');
    my %received = (
        first => conversation_spooled($httpd, $spool, 'first', $first),
        older => conversation_spooled($httpd, $spool, 'older', $older),
        # the same millisecond would give the same file
        twice => conversation_spooled($httpd, $spool, 'twice',
            version('twice', 1000, 1)),
        newer => conversation_spooled($httpd, $spool, 'older',
            version('older', 2000, 4)),
        event => spooled($httpd, $spool, 'an event', $event,
            account => 881987),
    );
    my $again = conversation_spooled($httpd, $spool, 'twice',
        version('twice', 1000, 1));
    is post($httpd, '{')->{status}, 400, 'what is no JSON: 400, as ever';
    is_deeply [map { "$_->{body} $_->{reason}" } $spool->deliveries(
        'rejected')], ['{ 400 json_eof at byte 1'], 'and it is kept';
    my $files = () = $spool->names('new');
    like $httpd->log, qr/SMARTSUPP0301: /, 'the log has the outage';

    $fault->{off}->($httpd, $database);
    # the drain goes on meanwhile, or has not begun
    my $newest = version('older', 3000, 2);
    my $answer;
    $httpd->wait_for(sub {
        $answer = post($httpd, $newest);
        return $answer->{status} == 200;
    });
    is $answer->{status}, 200, 'the newest is stored at once'
        or diag $httpd->log;
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'all is drained'
        or diag $httpd->log;
    my $log = sub { substr $httpd->log, $logged };
    ok $httpd->wait_for(sub { # more, where the newest was spooled first
        $files <= sum0($log->() =~ /SMARTSUPP0508: (\d+) /g);
    }), 'and the log tells' or diag $httpd->log;
    like $log->(), qr/SMARTSUPP0302: /, 'of the end of the outage, too'
        if !$fault->{restarts};
    is_deeply [$spool->names('tmp')], [], 'nothing is left';

    is_conversation($database, 'first', $first, 2000, 2, $received{first});
    is_conversation($database, 'older', $newest, 3000, 2);
    is_conversation($database, 'twice', version('twice', 1000, 1), 1000, 1,
        $received{twice}, $again);
    is_deeply [$database->rows('SELECT body, body_sha256, received_at FROM'
        . ' smartsupp_event')], [{body => $event, body_sha256 =>
        sha256_hex($event), received_at => $received{event}}], 'the event';
    is_deeply $database->counts, {conversation => 3, message => 5, path => 6,
        variable => 9, event => 1,
        schema_version => $database->counts->{schema_version}},
        'each is there once';
    is $database->orphans, 0, 'as a whole';
    stale_ones($httpd, $spool);

    $database->disconnect;
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0206));
    # mod_dbd's words, those that apr_dbd_odbc prints, and prefork's
    $httpd->allow_log(qr/\[dbd:error\]/, qr/\[dbd_odbc\]/, qr/^ *\w{5} *$/,
        qr/^\tIs the server running/, qr/AH00161/);
    $httpd->done;
    return;
}

# The conversation is that version, received at one of these times.
sub is_conversation {
    my ($database, $channel, $body, $end_at, $count, @received) = @_;
    my ($row) = $database->rows('SELECT * FROM smartsupp_conversation WHERE'
        . ' channel_id = ?', $channel);
    utf8::encode($row->{body}); # DBI gives characters
    is_deeply [@$row{qw(end_at body body_sha256)}], [$end_at, $body,
        sha256_hex($body)], "$channel is as it was sent";
    is_deeply $database->handle->selectcol_arrayref('SELECT content FROM'
        . ' smartsupp_message WHERE channel_id = ? ORDER BY seq', undef,
        $channel), [map { "$end_at.$_" } 1 .. $count], 'with its messages';
    ok !!(grep { $row->{received_at} == $_ } @received),
        'and the time when it was received' or diag "$row->{received_at}"
        . " is not @received" if @received;
    return;
}

# Older versions that were received before, and come out of the spool now.
sub stale_ones {
    my ($httpd, $spool) = @_;
    my $before = $httpd->database->dump;
    $spool->put(version('older', 1500, 7), received => 1e12);
    $spool->put(version('older', 3000, 1), received => 1e12 + 1);
    $spool->put(version('first', 2000, 2) . ' ', received => 1e12 + 2);
    $spool->put(sample('rest-event.json'), received => 1e12 + 3);
    ok $httpd->wait_for(sub { !$spool->names('new') }),
        'older ones are drained';
    is_deeply $httpd->database->dump, $before, 'and change nothing';
    return;
}

# No database, no spool; and a server that does without what it inherits.
sub no_spool {
    my $httpd = SmartsuppTest::Httpd->new(conf => $spool_conf . <<'CONF');
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName without
    SmartsuppSpool off
</VirtualHost>
CONF
    my $spool = SmartsuppTest::Spool->of($httpd);
    chmod 0500, $httpd->path('db');
    $httpd->start;
    my $without = sub { post($httpd, $_[0], headers => [Host => 'without']) };
    is post($httpd, sample())->{result}, 'spooled', 'with a spool';
    my $answer = $without->(sample());
    is $answer->{status}, 503, 'without: 503';
    ok $answer->{headers}{'retry-after'}, 'with Retry-After';
    is_deeply [map { $_->{code} } @{$answer->{json}{errors}}],
        ['database_unavailable'], 'and its code';
    is $without->('{')->{status}, 400, 'and 400';
    is_deeply [map { scalar $spool->names($_) } qw(new rejected)], [1, 0],
        'nothing is kept';
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212 SMARTSUPP0206));
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->done;
    return;
}

# A body of that many bytes.
sub large {
    my ($channel, $length) = @_;
    my $body = body_of('channel.id' => $channel, 'visitor.note' => '');
    my $note = 'x' x ($length - length $body);
    return $body =~ s/"note":""/"note":"$note"/r;
}

sub full {
    my $conf = "${spool_conf}SmartsuppSpoolMaxSize 8m\n";
    # the size is exact where nobody counts it anew meanwhile
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf =~ s/200ms/1h/r);
    my $spool = SmartsuppTest::Spool->of($httpd);
    chmod 0500, $httpd->path('db');
    $httpd->start;
    sleep 3; # the drainer has counted once, as it does at its start
    my $is_full = sub {
        my ($body) = @_;
        my $answer = post($httpd, $body);
        is $answer->{status}, 503, 'full: 503';
        is_deeply [$answer->{headers}{connection}, $answer->{result}],
            ['close', undef], 'the connection is closed';
        ok $answer->{headers}{'retry-after'}, 'with Retry-After';
        is_deeply [map { $_->{code} } @{$answer->{json}{errors}}],
            ['spool_full'], 'and its code';
    };
    # the largest that fits would with its header be too large for a ninth
    my @sizes = ((1024 * 1024) x 7, 1024 * 1024 - 8 * 400);
    my $count = 0;
    is post($httpd, large('large ' . $count++, $_))->{result}, 'spooled',
        "$_ bytes" for @sizes;
    $is_full->(large('one more', 5000));
    my $bytes = sum0(map { -s $spool->path('new', $_) } $spool->names('new'));
    cmp_ok $bytes, '<=', 8 * 1024 * 1024, 'no more than the limit';
    is scalar $spool->names('new'), $count, 'all that was taken';
    is_deeply [$spool->names('tmp')], [], 'and nothing else';
    is post($httpd, '{')->{status}, 400, 'what is refused is';
    is_deeply [$spool->names('rejected')], [sha256_hex('{')],
        'and is kept as long as it fits';
    $httpd->expect_log('SMARTSUPP0216');

    chmod 0700, $httpd->path('db');
    $httpd->write_config($conf)->graceful;
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'drained';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'),
        $count, 'and stored';
    $httpd->database->disconnect;
    rename $httpd->path('db'), $httpd->path('away');
    is post($httpd, large('again', 1024 * 1024))->{result}, 'spooled',
        'there is room again';

    # a quarter of it for what is rejected
    for my $n (1 .. 3) {
        is post($httpd, "$n" . 'x' x 900_000)->{status}, 400, 'no JSON: 400';
    }
    is scalar $spool->names('rejected'), 3, 'a quarter is kept';
    $httpd->expect_log('SMARTSUPP0214', 'SMARTSUPP0206', 'SMARTSUPP0301');
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->done;
    return;
}

# A start that must fail.
sub refused_start {
    my ($httpd, $name, $tag, $words) = @_;
    my $started = eval { $httpd->start; 1 };
    my ($status, $said) = ($?, $@);
    ok !$started && $status != 0, "$name stops the start"
        or return $httpd->done;
    delete $httpd->{pid};
    like $said, qr/$tag: [^\n]*$words/, 'with the reason';
    $httpd->allow_log($tag, qr/AH00014/, qr/AH00016/, qr/AH00020/);
    $httpd->done;
    return;
}

sub refused_folders {
    my $folder = sub {
        my ($name, $mode) = @_;
        return sub {
            my ($httpd) = @_;
            my $spool = SmartsuppTest::Spool->new($httpd->path('spool'), $httpd)
                ->make;
            chmod $mode, $spool->path($name || ());
        };
    };
    my %refused = (
        'a file' => ['SMARTSUPP0401', qr{/spool is not a folder}, sub {
            spew($_[0]->path('spool'), '');
        }],
        'a symbolic link' => ['SMARTSUPP0401', qr{/spool is a symbolic link},
            sub {
                mkdir $_[0]->path('db/spool');
                $_[0]->give($_[0]->path('db/spool'));
                symlink $_[0]->path('db/spool'), $_[0]->path('spool');
            }],
        'one in it' => ['SMARTSUPP0401', qr{/spool/new is a symbolic link},
            sub {
                my ($httpd) = @_;
                my $spool = SmartsuppTest::Spool->of($httpd);
                symlink $httpd->path('db'), $spool->path('new');
            }],
        'a file in it' => ['SMARTSUPP0401', qr{/spool/tmp is not a folder},
            sub {
                my ($httpd) = @_;
                SmartsuppTest::Spool->of($httpd)->write('', 'tmp', '');
            }],
        'a folder that is read-only' => ['SMARTSUPP0402', qr/written/,
            $folder->('tmp', 0500)],
        'one that cannot be read' => ['SMARTSUPP0401', qr{/spool/new},
            $folder->('new', 0300)],
        'one to be made in a folder of another user' => ['SMARTSUPP0401',
            qr/cannot be made/, sub { chmod 0555, $_[0]->path('.') }],
    );
    for my $name (sort keys %refused) {
        my ($tag, $words, $make) = @{$refused{$name}};
        my $httpd = SmartsuppTest::Httpd->new(conf => $spool_conf);
        $make->($httpd);
        refused_start($httpd, $name, $tag, $words);
    }

    my $httpd = SmartsuppTest::Httpd->new(
        conf => $spool_conf =~ s{/spool}{/no/spool}r);
    my ($status, $output) = $httpd->configtest;
    ok $status != 0, 'without the folder that it is to be in, no configtest';
    like $output, qr{SMARTSUPP0112: .*/no/? .*create it}, 'with the remedy';
    like $output, qr/httpd\.conf:\d+/, 'and the line';
    refused_start($httpd, 'nor is', 'SMARTSUPP0112', qr{/no});

    SKIP: {
        my $program = SmartsuppTest::Httpd::program();
        skip "mod_watchdog is part of this httpd", 1
            if `$program -l` =~ /watchdog/;
        my $httpd = SmartsuppTest::Httpd->new(conf => $spool_conf);
        refused_start($httpd, 'no mod_watchdog', 'SMARTSUPP0111',
            qr/LoadModule watchdog_module/);
    }
    return;
}

# Started well, the server goes on without.
sub fails_later {
    my $httpd = SmartsuppTest::Httpd->new(conf => $spool_conf);
    my $spool = SmartsuppTest::Spool->of($httpd);
    chmod 0500, $httpd->path('db');
    $httpd->start;
    is post($httpd, body_of('channel.id' => 'before'))->{result}, 'spooled',
        'a good spool';
    chmod 0500, $spool->path('tmp');
    for my $when ('a spool that cannot be written', 'after a restart') {
        my $answer = post($httpd, sample());
        is $answer->{status}, 503, "$when: 503";
        is_deeply [map { $_->{code} } @{$answer->{json}{errors}}],
            ['spool_failed'], 'and its code';
        $httpd->restart;
    }
    chmod 0700, $spool->path('tmp');
    is post($httpd, sample())->{result}, 'spooled', 'repaired, it takes more';
    chmod 0700, $httpd->path('db');
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'drained';
    is $httpd->database->counts->{conversation}, 2, 'and stored';
    $httpd->expect_log(qw(SMARTSUPP0216 SMARTSUPP0301 SMARTSUPP0402));
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->done;
    return;
}

sub shared_folder {
    my $httpd = SmartsuppTest::Httpd->new(hook => 0, conf => $spool_conf);
    my $location = '<Location /hook>' . "\nSetHandler smartsupp-hook\n"
        . "</Location>\n";
    my $hosts = sub {
        my ($in_two, $everywhere) = @_;
        return $spool_conf . ($everywhere // '') . join '', map {
            "<VirtualHost 127.0.0.1:%%PORT%%>\nServerName $_->[0]\n$_->[1]"
            . "</VirtualHost>\n" } ['one', $everywhere ? '' : $location],
            ['two', $in_two . ($everywhere ? '' : $location)];
    };
    my $other = "DBDriver sqlite3\nDBDParams %%ROOT%%/db/other.db\n";
    my %refused = (
        'another database' => $other,
        'another prefix'   => "SmartsuppTablePrefix two_\n",
        'a slash more'     => "${other}SmartsuppSpool %%ROOT%%/spool/\n",
        'another spelling' => "${other}SmartsuppSpool %%ROOT%%/db/../spool\n",
        'a relative path'  => "${other}SmartsuppSpool spool\n",
    );
    for my $name (sort keys %refused) {
        my ($status, $output) = $httpd->write_config($hosts->($refused{$name}))
            ->configtest;
        ok $status != 0, "$name: no configtest" or diag $output;
        like $output, qr/SMARTSUPP0113: .*own .*httpd\.conf:\d+/,
            'with the remedy';
    }
    for my $name ('', "${other}SmartsuppSpool %%ROOT%%/db/spool\n",
        "${other}SmartsuppSpool off\n") {
        my ($status, $output) = $httpd->write_config($hosts->($name))
            ->configtest;
        is $status, 0, $name || 'the same' or diag $output;
    }

    # a hook for all hosts is found when it starts
    chmod 0500, $httpd->path('db');
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->write_config($hosts->($other, $location))->start;
    my $answer = sub { post($httpd, sample(), headers => [Host => $_[0]]) };
    is $answer->('one')->{result}, 'spooled', 'one has the spool';
    is $answer->('two')->{status}, 503, 'the other, which only inherits it,'
        . ' does not';
    is_deeply [map { $_->{server} } $spool->deliveries('new')],
        ["one:$httpd->{port}"], 'the file tells whose it is';
    $httpd->expect_log(qw(SMARTSUPP0403 SMARTSUPP0301 SMARTSUPP0212));
    $httpd->allow_log(qr/\[dbd:error\]/);
    $httpd->stop;

    # nor may two come into one by a way round: refused, or without
    symlink '.', $httpd->path('round');
    $httpd->write_config($hosts->(
        "${other}SmartsuppSpool %%ROOT%%/round/spool\n"));
    $httpd->start;
    is_deeply [sort map { $answer->($_)->{status} } qw(one two)], [202, 503],
        'a folder under two names is one';
    $httpd->done;
    return;
}

sub started_by_root {
    return plan skip_all => 'not called by root' if $> != 0;
    my ($name, $uid, $gid) = @{ordinary_user()};
    my $group = getgrgid $gid;
    my ($other) = grep { my $id = getpwnam $_; $id && $id != $uid }
        qw(daemon bin nobody games);
    my $server = sub {
        my ($make) = @_;
        my $httpd = SmartsuppTest::Httpd->new(user => undef,
            conf => "User $name\nGroup $group\n$spool_conf");
        $make->($httpd->path('spool')) if $make;
        return $httpd;
    };
    my $folder = sub {
        my ($mode, @owner) = @_;
        return sub {
            mkdir $_[0];
            chmod $mode, $_[0];
            chown @owner, $_[0] if @owner;
        };
    };

    my %given = ('a new folder' => undef, "root's own" => $folder->(0755),
        'the user\'s' => $folder->(0755, $uid, $gid));
    for my $case (sort keys %given) {
        my $httpd = $server->($given{$case})->start; # db/ is root's
        my $spool = SmartsuppTest::Spool->new($httpd->path('spool'));
        is post($httpd, sample())->{result}, 'spooled', "$case: spooled";
        is post($httpd, '{')->{status}, 400, 'or refused';
        my @paths = ($spool->path, map({ $spool->path($_) } qw(tmp new
            rejected)), map { my $in = $_; map { $spool->path($in, $_) }
            $spool->names($in) } qw(new rejected));
        is_deeply [map { my @stat = stat; sprintf '%04o %d',
            $stat[2] & 07777, $stat[4] } @paths],
            [("0700 $uid") x 4, ("0600 $uid") x 2], "all of it is $name\'s";
        chown $uid, $gid, $httpd->path('db');
        ok $httpd->wait_for(sub { !$spool->names('new') }), 'drained';
        $httpd->restart;
        is post($httpd, sample())->{result}, 'duplicate', 'and stored';
        $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0206));
        $httpd->allow_log(qr/\[dbd:error\]/);
        $httpd->done;
    }

    my $filled = sub {
        mkdir $_[0];
        spew("$_[0]/file", '');
    };
    refused_start($server->($folder->(0700, (getpwnam $other)[2, 3])),
        "a folder of $other", 'SMARTSUPP0401',
        qr/belongs to the user $other, not to $name/);
    refused_start($server->($filled), "root's that is not empty",
        'SMARTSUPP0401', qr/belongs to the user root, not to $name/);
    my $httpd = $server->(sub {});
    $httpd->{conf} =~ s{/spool}{/closed/spool};
    mkdir $httpd->path('closed'), 0700;
    $httpd->write_config($httpd->{conf});
    refused_start($httpd, 'one that the user cannot reach', 'SMARTSUPP0402',
        qr/the user that httpd runs as/);
    return;
}
