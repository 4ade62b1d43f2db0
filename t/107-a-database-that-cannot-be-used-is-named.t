#!/usr/bin/perl
# A database that is not configured stops the start, one that cannot be
# written gets the sender a 503; either way with the remedy.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;

# All deliveries go to one process, which must find its way back.
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

start_is_refused();
file_is_read_only();
folder_is_read_only();
htaccess_finds_no_database();
file_cannot_grow();
file_is_locked();
done_testing;

sub start_is_refused {
    my $driver = "DBDriver sqlite3\n";
    my %refused = (
        'no DBDriver' => ['', 'SMARTSUPP0102', qr/add DBDriver and DBDParams/],
        'no DBDParams' => [$driver, 'SMARTSUPP0103', qr/absolute path/],
        'a relative path' => ["${driver}DBDParams db/x.db\n", 'SMARTSUPP0103',
            qr{absolute path.*db/x\.db}],
        'a missing folder' => ["${driver}DBDParams %%ROOT%%/no/x.db\n",
            'SMARTSUPP0104', qr{/no/? .*create it}],
        'a host without' => ["<VirtualHost *:%%PORT%%>\nServerName x\n${driver}"
            . "DBDParams %%ROOT%%/no/x.db\n<Location /x>\nSetHandler"
            . " smartsupp-hook\n</Location>\n</VirtualHost>\n",
            'SMARTSUPP0104', qr/create it/],
    );
    my $httpd = SmartsuppTest::Httpd->new(database => 'none');
    my $file = $httpd->path('conf/httpd.conf');
    for my $name (sort keys %refused) {
        my ($conf, $tag, $remedy) = @{$refused{$name}};
        my ($status, $output) = $httpd->write_config($conf)->configtest;
        ok $status != 0, "$name stops the start" or diag $output;
        like $output, qr/$tag: .*$remedy/, 'with tag and remedy';
        like $output, qr/\Q$file\E:\d+/, 'with file and line';
    }
    $httpd->done;
    return;
}

# A delivery that is answered 503, and what the log says of it.
sub unavailable {
    my ($httpd, $name, $why, @options) = @_;
    my $answer = post($httpd, sample(), @options);
    is $answer->{status}, 503, "$name: 503" or diag explain $answer;
    ok $answer->{headers}{'retry-after'}, 'with Retry-After';
    is $answer->{headers}{'content-type'}, 'application/problem+json',
        'and a problem';
    like $httpd->log, qr/SMARTSUPP0301: [^\n]*$why/, 'the log has the remedy';
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
    # mod_dbd's own words on it, and prefork's on its one child
    $httpd->allow_log(qr/\[dbd:error\]/, qr/AH00161/);
    return;
}

sub file_is_read_only {
    my $httpd = SmartsuppTest::Httpd->new(conf => $one_child);
    my $file = $httpd->database->params;
    SmartsuppTest::Httpd::spew($file, '');
    $httpd->give($file);
    chmod 0400, $file;
    $httpd->start;
    unavailable($httpd, 'a read-only file', qr/smartsupp\.db is not writable/);
    chmod 0600, $file;
    is post($httpd, sample())->{result}, 'stored', 'stored once it is writable';
    like $httpd->log, qr/SMARTSUPP0302: /, 'and the log says so';
    $httpd->done;
    return;
}

sub folder_is_read_only {
    my $httpd = SmartsuppTest::Httpd->new(conf => $one_child);
    my $folder = $httpd->path('db');
    chmod 0500, $folder;
    $httpd->start;
    unavailable($httpd, 'a read-only folder', qr/folder is not writable/);
    chmod 0700, $folder;
    is post($httpd, sample())->{result}, 'stored', 'stored once it is writable';
    $httpd->done;
    return;
}

# No start-up check sees a handler that is set in an .htaccess.
sub htaccess_finds_no_database {
    my $httpd = SmartsuppTest::Httpd->new(database => 'none', hook => 0,
        conf => <<'CONF');
<Directory "%%ROOT%%/htdocs">
    AllowOverride FileInfo
</Directory>
CONF
    SmartsuppTest::Httpd::spew($httpd->path('htdocs/.htaccess'),
        "SetHandler smartsupp-hook\n");
    $httpd->start;
    unavailable($httpd, '.htaccess without a database', qr/DBDriver/);
    $httpd->done;
    return;
}

# A file that may not grow stands for a full disk.
sub file_cannot_grow {
    my $httpd = SmartsuppTest::Httpd->new(
        wrapper => ['sh', '-c', 'ulimit -f 512; exec "$@"', 'sh'])->start;
    is post($httpd, sample())->{result}, 'stored', 'a small one fits';
    my $before = $httpd->database->dump;
    my $large = body_of('channel.id' => 'large',
        'visitor.note' => 'x' x 700_000);
    is post($httpd, $large)->{status}, 503, 'a large one does not: 503';
    is_deeply $httpd->database->dump, $before, 'the database is as it was';
    $httpd->expect_log(qw(SMARTSUPP0301 SMARTSUPP0212));
    is post($httpd, body_of('channel.id' => 'small'))->{result}, 'stored',
        'the next small one fits';
    $httpd->done;
    return;
}

# Another program holds the write lock for longer than a delivery waits.
sub file_is_locked {
    my $httpd = SmartsuppTest::Httpd->new(
        conf => $one_child . 'SmartsuppDatabaseWait 100ms')->start;
    # the first one may take its time to make the tables
    $httpd->wait_for(sub { post($httpd, sample())->{status} == 200 });
    my $other = $httpd->database->writer;
    $other->do('BEGIN IMMEDIATE');
    my $answer = post($httpd, body_of('channel.id' => 'later'));
    is $answer->{status}, 503, 'a locked database: 503';
    is $answer->{headers}{connection}, 'close', 'the connection is closed';
    $other->do('ROLLBACK');
    $httpd->wait_for(sub {
        $answer = post($httpd, body_of('channel.id' => 'later'));
        return $answer->{status} == 200;
    });
    like $answer->{result}, qr/^(?:stored|duplicate)$/, 'stored in the end';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_message'
        . " WHERE channel_id = 'later'"), 6, 'once';
    $httpd->expect_log('SMARTSUPP0210'); # not in time
    # SQLite may have given up as well; and prefork complains of its one child
    $httpd->allow_log('SMARTSUPP0301', qr/AH00161/);
    $httpd->done;
    return;
}
