#!/usr/bin/perl
# Every way to run httpd: each MPM, started by root or by an ordinary user,
# restarted and stopped by signal and by command under load; with many virtual
# hosts, HTTP/2, behind a proxy, with each kind of mutex, in a chroot.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use File::Path qw(make_path);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Http2;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Process qw(ordinary_user slurp spew);
use SmartsuppTest::Spool;

use constant SENDERS => 3;
use constant SOME => 20;     # deliveries between two commands
use constant STREAMS => 100; # of one HTTP/2 connection

my $is_root = $> == 0;
my $user = ordinary_user(); # [name, uid, gid], where root calls

my $spool = <<'CONF';
SmartsuppSpool %%ROOT%%/state/spool
SmartsuppReplayInterval 100ms
CONF

for my $mpm (qw(event worker prefork)) {
    subtest "$mpm, under load" => \&commands, $mpm;
}
subtest 'virtual hosts' => \&virtual_hosts;
for my $mpm (qw(event worker)) {
    subtest "HTTP/2, $mpm" => \&http2, $mpm;
}
subtest 'behind a proxy' => \&behind_a_proxy;
for my $mechanism (qw(flock fcntl sysvsem posixsem pthread)) {
    subtest "Mutex $mechanism" => \&mutex, $mechanism;
}
for my $mpm (qw(event worker prefork)) {
    subtest "in a chroot, $mpm" => \&chroot, $mpm;
}
done_testing;

# A server, not started, whose parent is root where root runs the test: as a
# distribution starts it.
sub server {
    my ($conf, %options) = @_;
    $conf .= "User $user->[0]\nGroup #$user->[2]\n" if $is_root;
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf, user => undef,
        %options);
    mkdir $httpd->path($_) or die "$_: $!\n" for qw(state locks);
    $httpd->{user} = $user;
    $httpd->give($httpd->path($_)) for qw(db state locks);
    $httpd->{user} = undef;
    return $httpd;
}

# The fields of a process's status.
sub status {
    my ($pid) = @_;
    return {map { /^(\w+):\s*(.*)$/ } split /\n/, slurp("/proc/$pid/status")};
}

# Owner and mode of files that are there.
sub owned {
    my ($httpd, @names) = @_;
    return [map { my @stat = stat $httpd->path($_) or die "$_: $!\n";
        sprintf '%s %d %04o', $_, $stat[4], $stat[2] & 07777 } @names];
}

# Who runs as whom, and who owns what.
sub privileges {
    my ($httpd) = @_;
    my $uid = $is_root ? $user->[1] : $>;
    my @children = map { status($_) } $httpd->children;
    cmp_ok scalar @children, '>', 0, 'there are children';
    is_deeply [map { [split ' ', $_->{Uid}] } @children],
        [([($uid) x 4]) x @children], 'all of them are an ordinary user';
    is_deeply [grep { !/^0+$/ } map { @$_{qw(CapPrm CapEff)} } @children], [],
        'without capabilities' if $is_root;
    my @folders = ('state/spool', map { "state/spool/$_" }
        qw(tmp new rejected));
    is_deeply owned($httpd, @folders), [map { "$_ $uid 0700" } @folders],
        'the spool is theirs alone';
    my @files = map { $_ =~ s{.*/(?=db/)}{}r } glob $httpd->path('db/*');
    cmp_ok scalar @files, '>=', 1, 'there is a database';
    is_deeply [grep { !/ $uid \d+$/ } @{owned($httpd, @files)}], [],
        'which is theirs' or diag explain owned($httpd, @files);
    return if !$is_root;
    is status($httpd->pid)->{Uid}, join("\t", (0) x 4), 'the parent is root';
    is_deeply [map { (split)[1] } @{owned($httpd, 'logs/error.log',
        'run/httpd.pid')}], [0, 0], 'and has log and pid file';
    return;
}

# httpd's own command, run as the server was.
sub command {
    my ($httpd, $word) = @_;
    my $output = $httpd->path('logs/command.log');
    waitpid $httpd->spawn($output, '-k', $word), 0;
    is $?, 0, "httpd -k $word" or diag slurp($output);
    return;
}

# A restart, by signal or command; true once it serves again.
sub again {
    my ($httpd, $how) = @_;
    my $before = $httpd->generations;
    if ($how =~ /^[A-Z]/) { kill $how, $httpd->pid }
    else                  { command($httpd, $how) }
    ok $httpd->wait_for(sub { $httpd->generations > $before }),
        "$how: it serves again";
    return;
}

# A stop; true when no process, and no file of one, is left.
sub ends {
    my ($httpd, $how) = @_;
    if ($how =~ /^[A-Z]/) { kill $how, $httpd->pid }
    else                  { command($httpd, $how) }
    ok $httpd->wait_for(sub {
        waitpid $httpd->pid, 1;
        return !$httpd->processes;
    }), "$how: no process is left";
    is_deeply [map { -e $httpd->path($_) ? $_ : () } 'run/httpd.pid'], [],
        'nor its pid file';
    return;
}

# As a daemon, as init scripts do it.
sub start_as_daemon {
    my ($httpd) = @_;
    command($httpd, 'start');
    ok $httpd->wait_for(sub {
        $httpd->{pid} = $httpd->pid_from_file or return 0;
        return scalar $httpd->children;
    }), 'it serves';
    return;
}

sub commands {
    my ($mpm) = @_;
    # enough children from the start, and some more while old ones end
    my $httpd = server($spool . <<'CONF', mpm => $mpm)->start;
<IfModule mpm_prefork_module>
    StartServers 4
    MinSpareServers 4
</IfModule>
CONF
    is post($httpd, sample())->{result}, 'stored', 'a delivery';
    privileges($httpd);
    my $load = SmartsuppTest::Load->start([$httpd], SENDERS,
        taken => [200, 202]);
    for my $how ('USR1', 'graceful') {
        $load->wait_for_more(200, SOME);
        again($httpd, $how);
    }
    $load->wait_for_more(200, SOME);
    is_deeply [grep { !/^20[02]$/ } keys %{$load->statuses}], [],
        'every delivery is taken' or diag explain $load->statuses;
    for my $how ('HUP', 'restart') {
        again($httpd, $how);
        $load->wait_for_more(200, SOME);
    }
    for my $how ('WINCH', 'graceful-stop', 'TERM', 'stop') {
        ends($httpd, $how);
        $how eq 'TERM' ? start_as_daemon($httpd) : $httpd->start;
        $load->wait_for_more(200, SOME);
    }
    privileges($httpd);
    $load->stop;
    is_deeply [grep { !/^(?:0|20[02])$/ } keys %{$load->statuses}], [],
        'nobody was told of an error' or diag explain $load->statuses;
    note explain $load->statuses;
    my $waiting = SmartsuppTest::Spool->new($httpd->path('state/spool'));
    ok $httpd->wait_for(sub { !$waiting->names('new') }),
        'the spool is empty';
    is_deeply [$load->wrong($httpd->database, '55039')], [],
        'what was taken is stored, once';
    ok $httpd->stop, 'no process is left';
    $httpd->done;
    return;
}

# A delivery to a host, signed with a secret.
sub deliver {
    my ($httpd, $host, $secret, $channel) = @_;
    my $body = body_of('channel.id' => $channel);
    my $answer = post($httpd, $body, headers => [Host => $host,
        'X-Smartsupp-Hmac' => hmac_sha256_hex($body, $secret)]);
    return $answer->{result} // $answer->{status};
}

# The channels in the tables of that prefix.
sub channels {
    my ($database, $prefix) = @_;
    return join ' ', sort map { $_->{channel_id} } $database->rows(
        "SELECT channel_id FROM ${prefix}conversation");
}

# By name, on one port. The first one only inherits; `prefix` has the main
# server's database; `inner` has all of its own but the spool, which is off.
sub virtual_hosts {
    my %host = (
        heir   => {secret => 'main', prefix => 'main_', db => 'db'},
        one    => {secret => 'one', prefix => 'one_', db => 'db-one',
            spool => 'spool-one'},
        two    => {secret => 'two', prefix => 'two_', db => 'db-two',
            spool => 'spool-two'},
        prefix => {secret => 'main', prefix => 'prefix_', db => 'db',
            spool => 'spool-prefix'},
        inner  => {secret => 'inner', prefix => 'main_', db => 'db-inner',
            spool => 'off'},
    );
    my $conf = <<'CONF';
SmartsuppTablePrefix main_
SmartsuppSpool %%ROOT%%/state/spool
SmartsuppReplayInterval 100ms
<Location "/hook">
    SmartsuppSecret file:conf/main
</Location>
CONF
    for my $name (sort keys %host) {
        my $own = $host{$name};
        $conf .= "<VirtualHost 127.0.0.1:%%PORT%%>\nServerName $name\n";
        $conf .= "SmartsuppTablePrefix $own->{prefix}\n"
            if $own->{prefix} ne 'main_';
        $conf .= qq{DBDParams "%%ROOT%%/$own->{db}/smartsupp.db"\n}
            if $own->{db} ne 'db';
        $conf .= 'SmartsuppSpool ' . ($own->{spool} eq 'off' ? 'off'
            : "%%ROOT%%/state/$own->{spool}") . "\n" if $own->{spool};
        $conf .= "<Location \"/hook\">\nSmartsuppSecret file:conf/"
            . "$own->{secret}\n</Location>\n" if $own->{secret} ne 'main';
        $conf .= "</VirtualHost>\n";
    }
    my $httpd = server($conf);
    my %database = (db => $httpd->database);
    for my $folder (map { "db-$_" } qw(one two inner)) {
        mkdir $httpd->path($folder);
        chown @$user[1, 2], $httpd->path($folder) if $user;
        $database{$folder} = SmartsuppTest::Database->new('sqlite',
            folder => $httpd->path($folder));
    }
    spew($httpd->path("conf/$_"), "secret of $_\n") for qw(main one two inner);
    $httpd->start;
    my @names = sort keys %host;
    my %secret = map { $_ => "secret of $_" } qw(main one two inner);

    my %expected;
    for my $name (@names) {
        for my $secret (sort keys %secret) {
            my $is_own = $host{$name}{secret} eq $secret;
            is deliver($httpd, $name, $secret{$secret}, "$name-$secret"),
                $is_own ? 'stored' : 403, "$name, with the secret of $secret";
            $expected{$name}{"$name-$secret"} = 1 if $is_own;
        }
    }
    my @wrong = map { @$_ } parallel(4, sub {
        my ($sender) = @_;
        return [map { my ($name, $n) = /^(\w+)-(\d+)/; my $result
            = deliver($httpd, $name, $secret{$host{$name}{secret}},
            "$name-$sender-$n"); $result eq 'stored' ? () : "$_: $result" }
            map { my $n = $_; map { "$_-$n" } @names } 1 .. 5];
    });
    is_deeply \@wrong, [], 'all of them at once, from several senders';
    for my $name (@names) {
        my $own = $expected{$name};
        @$own{map { my $n = $_; map { "$name-$_-$n" } 0 .. 3 } 1 .. 5} = ();
        is channels($database{$host{$name}{db}}, $host{$name}{prefix}),
            join(' ', sort keys %$own), "$name has just its own";
    }
    is_deeply [map { join ' ', sort grep { !/sqlite/ } map { /^([a-z]+_)/ }
        grep { /_conversation$/ } $database{$_}->tables } sort keys %database],
        ['main_ prefix_', 'main_', 'one_', 'two_'], 'and no other tables';
    is deliver($httpd, 'stranger', $secret{main}, 'stranger'), 'stored',
        'an unknown host is the first one, which inherits';
    is $database{db}->value("SELECT count(*) FROM main_conversation WHERE"
        . " channel_id = 'stranger'"), 1, 'from the main server';

    # each has its own spool, and one that is down concerns nobody else
    my %spool = map { $_ => SmartsuppTest::Spool->new($httpd->path(
        "state/$_")) } 'spool', map { "spool-$_" } qw(one two prefix);
    is_deeply owned($httpd, map { "state/$_" } sort keys %spool), [map {
        'state/' . $_ . ' ' . ($user ? $user->[1] : $>) . ' 0700' }
        sort keys %spool], 'four spools';
    chmod 0, map { $httpd->path($_) } qw(db-one db-inner);
    $httpd->graceful; # who has the file open goes on
    my %result = map { $_ => deliver($httpd, $_,
        $secret{$host{$_}{secret}}, "$_-later") } @names;
    is_deeply \%result, {heir => 'stored', one => 'spooled', two => 'stored',
        prefix => 'stored', inner => 503}, 'two databases are down';
    is_deeply {map { $_ => scalar $spool{$_}->names('new') } keys %spool},
        {spool => 0, 'spool-one' => 1, 'spool-two' => 0, 'spool-prefix' => 0},
        'what cannot be stored is in the spool of its host';
    like +($spool{'spool-one'}->deliveries('new'))[0]{server}, qr/^one:/,
        'under its name';
    chmod 0700, map { $httpd->path($_) } qw(db-one db-inner);
    ok $httpd->wait_for(sub { !$spool{'spool-one'}->names('new') }),
        'it is stored later';
    is $database{'db-one'}->value("SELECT count(*) FROM one_conversation"
        . " WHERE channel_id = 'one-later'"), 1, 'where it belongs';
    $httpd->expect_log(qw(SMARTSUPP0219 SMARTSUPP0301 SMARTSUPP0212))
        ->allow_log(qr/\[dbd:error\]/, 'SMARTSUPP0507');
    $httpd->done;
    return;
}

# Many streams of one connection, all at once; some that are given up, and a
# connection that is cut.
sub http2 {
    my ($mpm) = @_;
    my $httpd = server($spool . "Protocols h2c http/1.1\n", mpm => $mpm,
        modules => ['http2'])->start;
    my $database = $httpd->database;
    my $sender = SmartsuppTest::Http2->connect($httpd);
    my $waiting = SmartsuppTest::Spool->new($httpd->path('state/spool'));
    my $count = sub {
        $httpd->wait_for(sub { !$waiting->names('new') });
        return $database->value('SELECT count(*) FROM smartsupp_conversation');
    };
    # where they are more than the threads that the hook may take, the spool
    # takes the others
    my %answers;
    $answers{$_}++ for $sender->post(map { body_of('channel.id' =>
        "stream-$_", 'visitor.note' => 'x' x (500 * $_)) } 1 .. STREAMS);
    note explain \%answers;
    is_deeply [grep { !/\A20[02]\z/ } keys %answers], [], 'all are taken';
    is $count->(), STREAMS, 'and stored';

    my $body = body_of('channel.id' => 'broken', 'visitor.note'
        => 'x' x 20_000);
    my @given_up = map { $sender->begin($body, $_) } 1, 5_000, 20_000;
    my @bodies = map { body_of('channel.id' => "beside-$_") } 1 .. 10;
    is_deeply [grep { !/\A20[02]\z/ } $sender->post(@bodies)], [],
        'others beside some that stand still';
    $sender->reset($_) for @given_up;
    is_deeply [grep { !/\A20[02]\z/ } $sender->post(@bodies)], [],
        'and after these are given up';
    my $cut = SmartsuppTest::Http2->connect($httpd);
    $cut->begin($body, 10_000) for 1 .. 3;
    $cut->{connection}->abort;
    # not each of them has come to a thread before it ended
    $httpd->wait_for(sub { $httpd->log =~ /SMARTSUPP0213/ });
    is post($httpd, sample())->{result}, 'stored', 'the server goes on';
    is $count->(), STREAMS + 10 + 1, 'what was cut off is not stored';
    is $database->orphans, 0, 'no orphans';
    $httpd->expect_log('SMARTSUPP0213');
    $httpd->done;
    return;
}

# The address is the one that the proxy tells, where it is trusted.
sub behind_a_proxy {
    my $httpd = server($spool . <<'CONF', modules => ['remoteip']);
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
<Location "/hook">
    Require ip 192.0.2.0/24
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName open
    RemoteIPHeader X-Nobody-Sends-This
</VirtualHost>
CONF
    $httpd->start;
    my $from = sub {
        my ($channel, @headers) = @_;
        my $answer = post($httpd, body_of('channel.id' => $channel),
            headers => \@headers);
        return $answer->{result} // $answer->{status};
    };
    is $from->('a', 'X-Forwarded-For' => '192.0.2.7'), 'stored',
        'an address that is let in';
    is $from->('b', 'X-Forwarded-For' => '203.0.113.9'), 403, 'one that is not';
    is $from->('c'), 403, 'the proxy itself';
    is $from->('d', 'X-Forwarded-For' => '192.0.2.7, 203.0.113.9'), 403,
        'one that was forged before it';
    is $from->('e', 'X-Forwarded-For' => 'word'), 403, 'no address';
    is $from->('f', 'X-Forwarded-For' => '192.0.2.7', Host => 'open'), 403,
        'where the header is not believed';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'),
        1, 'one is stored';
    post($httpd, '[]', headers => ['X-Forwarded-For' => '192.0.2.8']);
    like $httpd->log, qr/\[client 192\.0\.2\.8(?::\d+)?\] SMARTSUPP0207:/,
        'a line of the log tells the address';
    like $httpd->log, qr/\[client 192\.0\.2\.7(?::\d+)?\] stored:/,
        'and so does that of the stored one';
    $httpd->expect_log('SMARTSUPP0207', qr/AH01630/);
    $httpd->done;
    return;
}

# Several children take turns at the SQLite file.
sub mutex {
    my ($mechanism) = @_;
    my $httpd = server("Mutex $mechanism:%%ROOT%%/locks smartsupp-sqlite\n"
        . $spool, mpm => 'prefork')->start;
    my %count;
    $count{$_}++ for map { @$_ } parallel(4, sub {
        my ($sender) = @_;
        return [map { post($httpd, body_of('channel.id' => "$sender-$_"))
            ->{result} } 1 .. 10];
    });
    is_deeply \%count, {stored => 40}, 'several children store';
    my @files = map { s{.*/(?=locks/)}{}r } glob $httpd->path('locks/*');
    is scalar @files, $mechanism eq 'flock' ? 1 : 0,
        'files: ' . join ' ', @files;
    my $uid = $user ? $user->[1] : $>;
    is_deeply [grep { !/ $uid 0[46]\d\d$/ } @{owned($httpd, @files)}], [],
        'which are the children\'s' or diag explain owned($httpd, @files);
    # a restart removes the file under a child that is just being made
    $httpd->allow_log('SMARTSUPP0303') if @files;
    $httpd->graceful;
    is post($httpd, sample())->{result}, 'stored', 'after a graceful restart';
    $httpd->done;
    return;
}

# The children see only what is inside, the parent only what is outside: the
# paths must lead to the same folders for both. Children of event and worker
# need libgcc_s when a thread of theirs ends, with or without this module.
sub chroot {
    my ($mpm) = @_;
    plan skip_all => 'needs root' if !$is_root;
    chomp(my $library = `gcc -print-file-name=libgcc_s.so.1`);
    my $httpd = server($spool . <<"CONF", mpm => $mpm);
LoadFile "$library"
ChrootDir %%ROOT%%/jail
CONF
    my $root = $httpd->path('');
    for my $name (qw(db state)) {
        my $inside = $httpd->path("jail$root$name");
        make_path($inside);
        chown @$user[1, 2], $inside;
        rmdir $httpd->path($name) or die "$name: $!\n";
        symlink $inside, $httpd->path($name) or die "$name: $!\n";
    }
    $httpd->start;
    ok $httpd->wait_for(sub { # one that was just forked goes there yet
        return !grep { (readlink("/proc/$_/root") // '')
            ne $httpd->path('jail') } $httpd->children;
    }), 'the children are inside';
    is post($httpd, sample())->{result}, 'stored', 'a delivery is stored';
    privileges($httpd);
    my $inside = $httpd->path("jail${root}db");
    chmod 0, $inside;
    $httpd->graceful;
    is post($httpd, body_of('channel.id' => 'later'))->{result}, 'spooled',
        'another is spooled';
    chmod 0755, $inside;
    my $waiting = SmartsuppTest::Spool->new($httpd->path('state/spool'));
    ok $httpd->wait_for(sub { !$waiting->names('new') }), 'and stored later';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'),
        2, 'in the file inside';
    ok -f "$inside/smartsupp.db", 'which is there';
    $httpd->expect_log('SMARTSUPP0301')
        ->allow_log(qr/\[dbd:error\]/, 'SMARTSUPP0507');
    $httpd->done;
    return;
}
