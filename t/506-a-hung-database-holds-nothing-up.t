#!/usr/bin/perl
# A database that hangs: its server stands still, or another process has locked
# the SQLite file. Deliveries are spooled, other URLs are served, and httpd is
# restarted, loses children, is stopped and started all the same. When the
# database goes on, each delivery is there once.
#
# All databases hang at the same time, and all httpds do each step together,
# because the steps take their time.

use strict;
use warnings;

use FindBin;
use POSIX ();
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(spew);
use SmartsuppTest::Server;
use SmartsuppTest::Spool;

use constant AT_ONCE => 120; # deliveries
use constant HELD_UP => 10;  # seconds: whoever waits so long is held up

my $conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppDatabaseWait 1s
SmartsuppReplayInterval 1s
CONF

my %server = (pgsql => 'postgresql', mysql => 'mariadb');
my (@sites, @servers, $lock);

my @kinds = SmartsuppTest::Database->kinds(qw(sqlite pgsql mysql));
make_sites($_) for @kinds;
for my $site (@sites) {
    is deliver($site), 200, "$site->{name}: the database is up" for 1 .. 5;
}
hang();
for my $site (@sites) {
    subtest "$site->{name}: many deliveries" => \&many_deliveries, $site;
}
subtest 'children are killed and others take their place' => sub {
    for my $site (@sites) {
        kill 'KILL', $site->{httpd}->children;
    }
    is_served($_) for @sites;
};
subtest 'a graceful restart' => sub { comes_back('USR1') };
subtest 'a restart'          => sub { comes_back('HUP') };
subtest 'a graceful stop, and a start' => sub { stops_and_starts('WINCH') };
subtest 'a stop, and a start'          => sub { stops_and_starts('TERM') };
go_on();
for my $site (@sites) {
    subtest "$site->{name}: all is stored" => \&all_is_stored, $site;
}
done_testing;

# One httpd for each MPM, with a database of its own.
sub make_sites {
    my ($kind) = @_;
    my $server = $server{$kind}
        && SmartsuppTest::Server->new($server{$kind})->start;
    push @servers, $server if $server;
    for my $mpm (qw(event worker prefork)) {
        my $database = $server ? SmartsuppTest::Database->new($kind,
            server => $server, shipped => 1) : $kind;
        my $httpd = SmartsuppTest::Httpd->new(database => $database,
            mpm => $mpm, modules => ['watchdog'], conf => $conf);
        spew($httpd->path('htdocs/file'), 'static');
        my $spool = SmartsuppTest::Spool->of($httpd);
        # httpd warns of killed children, and of such as are slow to go, which
        # it asks again, and shall not have to kill
        $httpd->allow_log('SMARTSUPP0301', 'SMARTSUPP0304',
            qr/\[dbd:error\]/, qr/AH1039[23]/, qr/AH00045/);
        push @sites, {name => "$kind, $mpm", httpd => $httpd->start,
            spool => $spool, kind => $kind, sent => []};
    }
    return;
}

# What the code gives, or 0 where it is held up.
sub in_time {
    my ($code) = @_;
    local $SIG{ALRM} = sub { die "held up\n" };
    alarm HELD_UP;
    my $result = eval { $code->() };
    alarm 0;
    return $result // 0;
}

sub new_body {
    my ($site) = @_;
    my $channel = 'channel ' . @{$site->{sent}};
    push @{$site->{sent}}, $channel;
    return body_of('channel.id' => $channel);
}

# The status of a new delivery.
sub deliver {
    my ($site, $body) = (@_, new_body($_[0]));
    return in_time(sub { (post($site->{httpd}, $body) // {})->{status} });
}

sub get_file {
    my ($site) = @_;
    return in_time(sub { get($site->{httpd}, '/file')->{body} });
}

sub hang {
    $_->pause for @servers;
    my @files = map { $_->{httpd}->database } grep { $_->{kind} eq 'sqlite' }
        @sites;
    pipe my $told, my $tell or die "pipe: $!\n";
    $lock = fork // die "fork: $!\n";
    if (!$lock) {
        my @handles = map { $_->writer } @files;
        $_->do('BEGIN EXCLUSIVE') for @handles;
        close $told;
        close $tell;
        sleep 1 while getppid != 1;
        POSIX::_exit(0);
    }
    close $tell;
    sysread $told, my $nothing, 1; # until it has locked
    return;
}

sub go_on {
    kill 'KILL', $lock;
    waitpid $lock, 0;
    $_->resume for @servers;
    return;
}

sub many_deliveries {
    my ($site) = @_;
    my @bodies = map { new_body($site) } 1 .. AT_ONCE;
    my @files;
    my @statuses = parallel(AT_ONCE, sub { deliver($site, $bodies[$_[0]]) },
        sub { @files = map { get_file($site) } 1 .. 20 });
    my %count;
    $count{$_}++ for @statuses;
    is_deeply \%count, {202 => AT_ONCE}, 'are spooled';
    is_deeply \@files, [('static') x 20], 'other URLs are served meanwhile';
    return;
}

# It serves files and takes deliveries.
sub is_served {
    my ($site) = @_;
    is get_file($site), 'static', "$site->{name}: other URLs are served";
    is_deeply [map { deliver($site) } 1 .. 3], [202, 202, 202],
        'deliveries are spooled';
    return;
}

sub comes_back {
    my ($signal) = @_;
    my %before = map { $_ => $_->{httpd}->generations } @sites;
    kill $signal, map { $_->{httpd}->pid } @sites;
    for my $site (@sites) {
        my $httpd = $site->{httpd};
        ok $httpd->wait_for(sub { $httpd->generations > $before{$site} }),
            "$site->{name}: is back" or diag $httpd->log;
    }
    is_served($_) for @sites;
    return;
}

sub stops_and_starts {
    my ($signal) = @_;
    kill $signal, map { $_->{httpd}->pid } @sites;
    for my $site (@sites) {
        my $httpd = $site->{httpd};
        ok $httpd->wait_for(sub {
            waitpid $httpd->pid, 1;
            return !$httpd->processes;
        }), "$site->{name}: no process is left" or diag $httpd->log;
        $httpd->kill9;
        $httpd->start;
    }
    is_served($_) for @sites;
    return;
}

sub all_is_stored {
    my ($site) = @_;
    my ($httpd, $spool, $sent) = @$site{qw(httpd spool sent)};
    my $waiting = sub { map { $spool->names($_) } qw(tmp new) };
    ok $httpd->wait_for(sub { !$waiting->() }), 'the spool is empty'
        or diag scalar(@{[$waiting->()]}), " wait\n", $httpd->log;
    is_deeply [$spool->names('rejected')], [], 'nothing is rejected';
    my $database = $httpd->database;
    is_deeply [sort map { $_->{channel_id} } $database->rows('SELECT channel_id'
        . ' FROM smartsupp_conversation')], [sort @$sent],
        'each delivery is stored, once';
    is_deeply [@{$database->counts}{qw(message path variable)}],
        [map { $_ * @$sent } 6, 2, 3], 'with its rows';
    is $database->orphans, 0, 'no orphans';
    $database->disconnect;
    unlike $httpd->log, qr/AH00046/, 'no process had to be killed';
    $httpd->done;
    return;
}
