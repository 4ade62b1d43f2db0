#!/usr/bin/perl
# Senders deliver without a pause, while at random children of httpd are killed,
# httpd itself is, with or without its children, it is restarted, gracefully or
# not, and the database is stopped, killed, or stands still for a while. In the
# end each delivery that was answered 2xx is stored, once, as the newest of its
# versions; and nothing that nobody has sent.
#
# Environment: SMARTSUPP_CHAOS_SECONDS (for each database), SMARTSUPP_SEED (a
# number that was noted before; what is chosen is the same then, how it meets
# the deliveries is not).

use strict;
use warnings;

use FindBin;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Server;
use SmartsuppTest::Spool;

use constant SENDERS => 6;
use constant CARELESS => 3; # of them; the others send again what is not taken
use constant SOME => 50;    # deliveries before it begins and after it ends

my $seconds = $ENV{SMARTSUPP_CHAOS_SECONDS} // 60;
my $seed = $ENV{SMARTSUPP_SEED} // POSIX::floor(time) ^ $$;
note "SMARTSUPP_SEED=$seed";
srand $seed;

my $conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppDatabaseWait 1s
SmartsuppReplayInterval 1s
<IfModule mpm_event_module>
    StartServers 3
    ServerLimit 16
    ThreadsPerChild 5
    MinSpareThreads 10
    MaxSpareThreads 20
    MaxRequestWorkers 30
</IfModule>
CONF

# What happens to httpd, the likelier ones more often.
my %blows = (
    kills_child    => \&kill_child,
    kills_parent   => \&kill_parent,
    kills_all      => \&kill_all,
    graceful       => sub { $_[0]{httpd}->graceful },
    restarts       => sub { $_[0]{httpd}->restart },
    stops          => sub { $_[0]{httpd}->stop; start($_[0]) },
);
my @blows = (('kills_child') x 6, ('kills_parent') x 2, qw(kills_all restarts
    stops), ('graceful') x 2);

# What happens to the database, and how it ends.
my $start = sub { $_[0]{server}->start };
my %troubles = (
    served => {
        database_stops   => [sub { $_[0]{server}->stop }, $start],
        database_aborts  => [sub { $_[0]{server}->abort }, $start],
        database_killed  => [sub { $_[0]{server}->kill9 }, $start],
        database_hangs   => [sub { $_[0]{server}->pause },
            sub { $_[0]{server}->resume }],
    },
    embedded => {
        database_locked  => [\&lock_file, \&unlock_file],
        database_closed  => [sub { chmod 0, $_[0]{httpd}->path('db') },
            sub { chmod 0700, $_[0]{httpd}->path('db') }],
    },
);

my %server = (pgsql => 'postgresql', mysql => 'mariadb');
my @kinds = SmartsuppTest::Database->kinds(qw(sqlite pgsql mysql));
for my $case ((map { [$_, 'event'] } @kinds),
    [$kinds[rand @kinds], 'prefork']) {
    subtest "@$case" => \&nothing_is_lost, @$case;
}
done_testing;

sub nothing_is_lost {
    my ($kind, $mpm) = @_;
    my $server = $server{$kind}
        && SmartsuppTest::Server->new($server{$kind})->start;
    my $httpd = SmartsuppTest::Httpd->new(mpm => $mpm, conf => $conf,
        modules => ['watchdog'], database => $server
            ? SmartsuppTest::Database->new($kind, server => $server,
                shipped => 1) : $kind);
    my $spool = SmartsuppTest::Spool->of($httpd);
    my $site = {httpd => $httpd, server => $server, did => {}};
    # what httpd and the database's library have to say of all this; a file
    # that was being written in tmp/ when a child was killed is set aside
    $httpd->allow_log('SMARTSUPP0301', 'SMARTSUPP0304', 'SMARTSUPP0504',
        qr/\[dbd:error\]/, qr/AH1039[23]/, qr/AH00045/, qr/AH03490/,
        qr/^(?:WARNING|FATAL|DETAIL|HINT|\t)/, qr/terminating connection/,
        qr/server closed the connection|before or while processing/);
    start($site);

    my $load = SmartsuppTest::Load->start([$httpd], SENDERS,
        careless => CARELESS, taken => [200, 202]);
    $load->wait_for_more(200, SOME);
    rage($site, time + $seconds);
    $load->wait_for_more(200, SOME);
    $load->stop;
    figures($site, $load);
    ok !grep({ $_->{result} eq 'hangs' } @{$load->answers}), 'nobody hangs';
    my %other = %{$load->statuses};
    delete @other{0, 200, 202};
    is_deeply \%other, {}, 'the spool takes what the database cannot';

    $spool->age; # what a crash has left is looked after in a minute
    my $waiting = sub { map { $spool->names($_) } qw(tmp new) };
    ok $httpd->wait_for(sub { !$waiting->() }), 'the spool is empty'
        or diag scalar(@{[$waiting->()]}), " wait\n", $httpd->log;
    is_deeply [grep { !/\.damaged\z/ || $spool->read('rejected', $_) }
        $spool->names('rejected')], [], 'no whole delivery is rejected';
    my $database = $httpd->database;
    my @wrong = $load->wrong($database);
    is_deeply \@wrong, [], 'what was answered 2xx is stored, once, and nothing'
        . ' that nobody has sent' or diag join "\n", splice @wrong, 0, 20;
    is $database->orphans, 0, 'no orphans';
    $database->disconnect;
    $httpd->done;
    return;
}

# Blow after blow, and troubles that come and go, until the time is over and
# all is well again.
sub rage {
    my ($site, $end) = @_;
    my $troubles = $troubles{$site->{server} ? 'served' : 'embedded'};
    my ($trouble, $over);
    while (time < $end || $trouble) {
        sleep 0.1 + rand 1.2;
        if ($trouble && (time > $over || time > $end)) {
            $troubles->{$trouble}[1]->($site);
            undef $trouble;
        }
        elsif (!$trouble && rand() < 0.3) {
            $trouble = (sort keys %$troubles)[rand keys %$troubles];
            $over = time + rand 6;
            $troubles->{$trouble}[0]->($site);
            $site->{did}{$trouble}++;
        }
        else {
            my $blow = $blows[rand @blows];
            $blows{$blow}->($site);
            $site->{did}{$blow}++;
        }
    }
    return;
}

# httpd obeys signals once it says that it serves.
sub start {
    my ($site) = @_;
    my $httpd = $site->{httpd};
    my $before = $httpd->generations;
    $httpd->start;
    $httpd->wait_for(sub { $httpd->generations > $before })
        or die $httpd->failure('httpd does not serve');
    return;
}

sub kill_child {
    my ($site) = @_;
    my @children = $site->{httpd}->children;
    kill 'KILL', $children[rand @children] if @children;
    return;
}

# The children serve on for a while, and keep the port.
sub kill_parent {
    my ($site) = @_;
    $site->{httpd}->kill_parent;
    sleep rand 1;
    return kill_all($site);
}

sub kill_all {
    my ($site) = @_;
    $site->{httpd}->kill9;
    return start($site);
}

# Another process has the SQLite file for itself.
sub lock_file {
    my ($site) = @_;
    pipe my $told, my $tell or die "pipe: $!\n";
    $site->{lock} = fork // die "fork: $!\n";
    if (!$site->{lock}) {
        eval {
            my $handle = $site->{httpd}->database->writer;
            $handle->sqlite_busy_timeout(1000 * $site->{httpd}->PATIENCE);
            $handle->do('BEGIN EXCLUSIVE');
            close $tell;
            close $told;
            sleep 0.1 while getppid != 1;
        };
        POSIX::_exit(0);
    }
    close $tell;
    sysread $told, my $nothing, 1; # until it has locked
    return;
}

sub unlock_file {
    my ($site) = @_;
    my $pid = delete $site->{lock};
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return;
}

# What there was, in figures.
sub figures {
    my ($site, $load) = @_;
    my $count = $load->statuses;
    my %unanswered;
    $unanswered{$_->{result}}++ for grep { !$_->{status} } @{$load->answers};
    note scalar keys %{$load->sent}, ' conversations sent, ',
        scalar keys %{$load->stored}, ' of them taken; answers: ',
        join ', ', map { "$_: $count->{$_}" } grep { $_ } sort keys %$count;
    note 'no answer: ', join ', ',
        map { "$_: $unanswered{$_}" } sort keys %unanswered;
    note join ', ', map { "$_: $site->{did}{$_}" } sort keys %{$site->{did}};
    note sprintf 'longest time without 2xx: %.1f s; for an answer: %.1f s',
        $load->longest_gap,
        (sort { $b <=> $a } map { $_->{took} } @{$load->answers})[0];
    return;
}
