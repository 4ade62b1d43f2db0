#!/usr/bin/perl
# A child that is killed at any step of what it does in the spool: while it
# puts a delivery there, keeps one that was refused, or drains it. The steps
# are those that it was seen to do.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Fault;
use SmartsuppTest::Httpd;
use SmartsuppTest::Spool;

# Enough children, so that nobody has to wait for one.
my $conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 1h
ListenBacklog 100
<IfModule mpm_prefork_module>
    StartServers 6
    MinSpareServers 6
    MaxSpareServers 10
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers 6
    ServerLimit 12
    ThreadsPerChild 3
    MinSpareThreads 15
    MaxSpareThreads 30
    MaxRequestWorkers 36
</IfModule>
CONF

subtest 'put, and keep what is refused' => \&put;
subtest 'drain' => \&drain;
done_testing;

# A server, not started, with folders that fail on demand.
sub server {
    my ($conf, @folders) = @_;
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf);
    my $fault = SmartsuppTest::Fault->new($httpd, @folders);
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->allow_log(qr/SMARTSUPP0[2345]\d\d/, qr/\[dbd:error\]/,
        qr/exit signal Killed/, qr/children are killed successively/);
    return ($httpd, $fault, $spool);
}

# What was set aside as damaged and is not.
sub whole_aside {
    my ($spool) = @_;
    return grep { $spool->read('rejected', $_) }
        grep { /\.damaged/ } $spool->names('rejected');
}

# How many rows a conversation has in each table.
sub stored {
    my ($database, $body) = @_;
    my ($channel) = $body =~ /"channel":\{[^}]*"id":"([^"]+)"/
        or die "no channel: $body\n";
    my %count = map { $_ => $database->value("SELECT count(*) FROM"
        . " smartsupp_$_ WHERE channel_id = ?", $channel) }
        qw(conversation message path variable);
    return join ' ', @count{qw(conversation message path variable)};
}

# Before and after each call.
sub steps {
    my (@calls) = @_;
    return map { my $call = $_; map { +{%$call, when => $_} }
        qw(before after) } @calls;
}

sub label {
    my ($step) = @_;
    return "$step->{when} $step->{call} $step->{number} in $step->{folder}";
}

sub put {
    my ($httpd, $fault, $spool) = server($conf, 'spool');
    chmod 0500, $httpd->path('db'); # no database
    $httpd->start;
    my $new = sub { body_of('channel.id' => $_[0]) };
    my $bad = sub { qq({"accountId":208,"channel":"$_[0]",) };
    my (%answered, %bodies);

    for my $case ([put => 202, $new, 'tmp', 'new'],
        [refuse => 400, $bad, 'rejected', 'rejected']) {
        my ($what, $status, $body, $start, $place) = @$case;
        $fault->watch;
        is deliver($httpd, $bodies{$what} = $body->($what)), $status,
            "$what: $status without a crash";
        $answered{$what} = $status;
        my @calls = $fault->calls($start);
        # that all is on the disk in this order is what no kill can show
        like join(', ', map { "$_->{call} $_->{folder}" } @calls),
            qr/\bopen\ tmp,\ (?:write\ tmp,\ )+fsync\ tmp,\ close\ tmp,
            \ rename\ $place,\ open\ $place,\ fsync\ $place,
            \ close\ $place\z/x, 'has its steps';
        for my $step (steps(@calls)) {
            my $name = "$what, " . label($step);
            $fault->set({start => $start, number => $step->{number},
                when => $step->{when}, action => 'kill'});
            $answered{$name} = deliver($httpd, $bodies{$name}
                = $body->($name));
            ok $fault->hit, $name;
        }
    }
    is_deeply [$spool->damaged], [], 'what is there is whole';
    $fault->set(map { {start => 'tmp', number => 3 * $_, action => 'kill'} }
        1 .. 6);
    my @answers = parallel(6, sub {
        my ($sender) = @_;
        return [map { my $name = "sender $sender, $_";
            [$name, deliver($httpd, $new->($name))] } 1 .. 10];
    });
    for my $answer (map { @$_ } @answers) {
        my ($name, $status) = @$answer;
        $answered{$name} = $status;
        $bodies{$name} = $new->($name);
    }
    is_deeply [grep { !$fault->hit($_) } 1 .. 6], [], 'six crashes among many';

    $httpd->stop;
    $spool->age;
    chmod 0700, $httpd->path('db');
    $httpd->write_config($conf =~ s/1h$/1s/mr);
    $fault->watch;
    $httpd->start;
    ok $httpd->wait_for(sub { !$spool->names('new') && !$spool->names('tmp')
        }), 'all is drained' or diag $httpd->log;
    my $database = $httpd->database;
    is deliver($httpd, $new->('once more')), 200, 'the database is up';
    my $once = stored($database, $new->('once more'));
    my @good = grep { !/^refuse/ } sort keys %bodies;
    is_deeply [grep { $answered{$_} == 202
        && stored($database, $bodies{$_}) ne $once } @good], [],
        'what was answered 202 is stored, once';
    is_deeply [grep { stored($database, $bodies{$_}) !~ /^(?:0 0 0 0|$once)$/ }
        @good], [], 'all else is, too, or not at all';
    for my $name (sort keys %bodies) {
        my $expected = $name =~ /^refuse/ ? 400 : 200;
        my $status = deliver($httpd, $bodies{$name});
        $status == $expected or is $status, $expected, "$name once more";
    }
    is_deeply [grep { stored($database, $bodies{$_}) ne $once } @good], [],
        'sent again, each of them is stored once';
    is_deeply [map { $spool->names($_) } qw(new tmp)], [], 'nothing is left';
    my @refused = map { $bodies{$_} } grep { /^refuse/ } keys %bodies;
    is_deeply [sort grep { !/\.damaged/ } $spool->names('rejected')],
        [sort map { sha256_hex($_) } @refused],
        'what was refused is kept, once each';
    is_deeply [grep { !/\.damaged/ } $spool->damaged], [], 'and whole';
    is_deeply [whole_aside($spool)], [], 'only torn files are set aside';
    is $database->orphans, 0, 'no orphans';
    $httpd->done;
    return;
}

# The status, or 0 where there was no answer.
sub deliver {
    my ($httpd, $body) = @_;
    return (post($httpd, $body) // {})->{status} // 0;
}

# Each server drains four deliveries at once with the others, so that the pauses
# of one do not add to those of the others. The fourth is no conversation.
sub drain {
    my @servers = map { [server($conf =~ s/1h$/100ms/mr, 'spool', 'db')] }
        1 .. 4;
    $_->[0]->start for @servers;
    for my $server (@servers) {
        is deliver($server->[0], body_of('channel.id' => 'first')), 200,
            'the database is up';
    }
    my $once = stored($servers[0][0]->database, body_of('channel.id'
        => 'first'));
    my @steps = drain_steps($servers[0], $once);

    while (my @some = splice @steps, 0, scalar @servers) {
        for my $i (0 .. $#some) {
            my ($httpd, $fault, $spool) = @{$servers[$i]};
            my $step = $some[$i];
            my %file = files(drain_label($step));
            $fault->set({%$step, action => 'kill',
                name => $step->{file} && $file{$step->{file}}{name}});
            put_files($spool, %file);
        }
        is_drained($servers[$_], $once, drain_label($some[$_]))
            for 0 .. $#some;
    }
    for my $server (@servers) {
        my ($httpd, $fault, $spool) = @$server;
        $fault->watch;
        $spool->age;
        ok $httpd->wait_for(sub { !$spool->names('tmp')
            && !$spool->names('new') }), 'the spool is empty';
        is_deeply [whole_aside($spool)], [], 'only torn files are set aside';
        is_deeply [grep { !/\.damaged/ } $spool->damaged], [],
            'all else is whole';
        is $httpd->database->orphans, 0, 'no orphans';
        $httpd->done;
    }
    return;
}

# The steps of a drain, as seen when there was no crash: all that concern a
# file of the spool, by its number, and some of those in the database.
sub drain_steps {
    my ($server, $once) = @_;
    my ($httpd, $fault, $spool) = @$server;
    my %file = files('watched');
    my %number = map { $file{$_}{name} => $_ } keys %file;
    $fault->watch;
    put_files($spool, %file);
    is_drained($server, $once, 'watched');
    my @calls = $fault->calls;
    my @steps = map { {call => $_->{call}, folder => 'new',
        file => $number{$_->{name}}} } grep { $number{$_->{name}} } @calls;
    my %seen = map { ("$_->{call} $_->{file}" => 1) } @steps;
    is_deeply [grep { !$seen{$_} } map { ("open $_", "close $_", "unlink $_") }
        1 .. 4], [], 'each file is opened, closed, and unlinked'
        or diag explain \@calls;
    my @database = grep { $_->{folder} eq 'db' } @calls;
    cmp_ok scalar @database, '>', 4, 'the database is written';
    # what keeps the fourth
    my @kept = grep { $_->{folder} =~ /^(?:tmp|rejected)$/ } @calls;
    cmp_ok scalar @kept, '>', 7, 'what is refused is kept';
    my %count;
    push @steps, map { {call => $_->{call}, folder => $_->{folder},
        number => ++$count{"$_->{call} $_->{folder}"}} } @kept;
    # whoever would drain, but does not; the database, from its middle on
    push @steps, {call => 'open', folder => 'new'}, {call => 'flock'},
        {call => 'write', folder => 'db'}, {call => 'fsync', folder => 'db'},
        {folder => 'db', number => int(@database / 2)};
    return steps(@steps);
}

sub drain_label {
    my ($step) = @_;
    return join ' ', map { $_ // () } @$step{qw(when number call folder file)};
}

# The files of a drain, by number.
sub files {
    my ($label) = @_;
    my %file = map { $_ => {body => body_of('channel.id' => "$label, file $_"),
        received => 1e12 + $_} } 1 .. 3;
    $file{4} = {body => qq({"channel":"$label",), received => 1e12 + 4};
    $_->{name} = SmartsuppTest::Spool::name(@$_{qw(body received)})
        for values %file;
    return %file;
}

sub put_files {
    my ($spool, %file) = @_;
    $spool->put($file{$_}{body}, received => $file{$_}{received})
        for sort keys %file;
    return;
}

# The first three are stored, the fourth is kept.
sub is_drained {
    my ($server, $once, $label) = @_;
    my ($httpd, $fault, $spool) = @$server;
    my $crashes = $label ne 'watched';
    my $ok = $httpd->wait_for(sub { !$spool->names('new')
        && (!$crashes || $fault->hit) });
    my %file = files($label);
    my @wrong = grep { stored($httpd->database, $file{$_}{body}) ne $once }
        1 .. 3;
    my $kept = $spool->read('rejected', sha256_hex($file{4}{body}));
    ok $ok && !@wrong && $kept, $label
        or diag !$ok ? 'it is not drained, or no child crashed'
            : @wrong ? "not stored once: @wrong" : 'file 4 is not kept';
    return;
}
