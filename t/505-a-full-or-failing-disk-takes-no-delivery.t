#!/usr/bin/perl
# A disk under the spool that fails at any step, or is full: what is answered
# 202 is there, all else is answered 503, and it goes on as soon as it can.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Spec ();
use File::Temp ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Fault;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(ordinary_user spew);
use SmartsuppTest::Spool;

use constant FOLDER => 'SMARTSUPP_TEST_FULL_DISK';

become_mounter() if !defined $ENV{+FOLDER};
subtest 'a disk that fails at any step' => \&fails;
subtest 'a file that fails in the drain' => \&drains_the_others;
subtest 'a small disk' => \&is_full if $ENV{+FOLDER};
done_testing;

# Run this test anew where it has a file system of 1 MiB for itself: root in a
# mount namespace, anyone else in a user namespace, too. It ends with the test.
# Where neither is allowed, the test goes on without.
sub become_mounter {
    my $user = ordinary_user();
    my $folder = File::Temp->newdir('smartsupp-XXXXXXXX', CLEANUP => 0,
        DIR => $user ? '/var/tmp' : File::Spec->tmpdir)->dirname;
    my ($uid, $gid) = $user ? @$user[1, 2] : (0, 0);
    my @enter = ('unshare', $user ? '-m' : '-rm', 'sh', '-c', 'mount -t tmpfs'
        . " -o size=1m,mode=0700,uid=$uid,gid=$gid tmpfs '$folder' &&"
        . ' exec "$@"', 'sh', $user ? () : ('unshare', '-U',
            "--map-user=$>", '--map-group=' . (split ' ', $))[0]));
    my $works = system(join(' ', map { quotemeta } @enter)
        . ' true >/dev/null 2>&1') == 0;
    local $ENV{+FOLDER} = $folder;
    my $status = $works ? system(@enter, $^X, $0, @ARGV) : 0;
    rmdir $folder;
    exit($status >> 8 || $status & 127) if $works;
    note 'no namespace: there will be no small disk';
    return;
}

# A server with its spool in that folder and no database, not started.
sub server {
    my ($folder) = @_;
    my $above = $folder // '%%ROOT%%';
    my $httpd = SmartsuppTest::Httpd->new(conf => <<"CONF");
SmartsuppSpool $above/spool
SmartsuppReplayInterval 1h
CONF
    my $spool = SmartsuppTest::Spool->of($httpd, $folder && "$folder/spool");
    $httpd->allow_log(qr/SMARTSUPP0[2345]\d\d/, qr/\[dbd:error\]/);
    chmod 0500, $httpd->path('db');
    return ($httpd, $spool);
}

# The database comes back: these channels are stored, once, and nothing else.
sub drains {
    my ($httpd, $spool, @channels) = @_;
    my $database = $httpd->database;
    $httpd->stop;
    $spool->age;
    chmod 0700, $httpd->path('db');
    $httpd->write_config($httpd->{conf} =~ s/1h$/1s/mr);
    $httpd->start;
    ok $httpd->wait_for(sub { !$spool->names('new') && !$spool->names('tmp') }),
        'the spool is drained';
    is_deeply [sort map { $_->{channel_id} } $database->rows('SELECT'
        . ' channel_id FROM smartsupp_conversation')], [sort @channels],
        'into the database';
    is $database->orphans, 0, 'as a whole';
    $httpd->done;
    return;
}

# Is a 503 as it should be.
sub is_unavailable {
    my ($answer, $name) = @_;
    my $ok = $answer->{status} == 503 && $answer->{headers}{'retry-after'}
        && !$answer->{result};
    return ok $ok, "$name: 503" || diag explain $answer;
}

# One delivery for each step and each way in which it can fail.
sub fails {
    my ($httpd, $spool) = server();
    my $fault = SmartsuppTest::Fault->new($httpd, 'spool');
    $httpd->start;
    my @taken = 'watched';
    $fault->watch;
    is post($httpd, body_of('channel.id' => @taken))->{result}, 'spooled',
        'without a fault';
    my @calls = $fault->calls('tmp');
    cmp_ok scalar @calls, '>', 5, 'has its steps';

    for my $call (@calls) {
        for my $case (cases($call)) {
            my ($what, $status, @rules) = @$case;
            my $name = "$call->{call} $call->{number}: $what";
            my $body = body_of('channel.id' => $name);
            my @before = map { $spool->names($_) } qw(tmp new);
            $fault->set(map { {start => 'tmp', number => $call->{number},
                always => 1, %$_} } @rules);
            my $answer = post($httpd, $body);
            $fault->watch;
            if ($status == 503) {
                is_unavailable($answer, $name);
                my @after = map { $spool->names($_) } qw(tmp new);
                is_deeply \@after, \@before, 'nothing is left behind'
                    if $what !~ /all that follows/;
                $answer = post($httpd, $body);
            }
            is $answer->{status}, 202, "$name: 202" or diag explain $answer;
            push @taken, $name;
            is_deeply [$spool->damaged], [], 'what is there is whole'
                or diag $name;
        }
    }
    refuses($httpd, $spool, $fault);
    drains($httpd, $spool, @taken);
    return;
}

# How a call may fail, the answer to expect, and the rules that make it so.
sub cases {
    my ($call) = @_;
    my @errors = $call->{call} eq 'open' ? qw(ENOSPC EMFILE EROFS EACCES)
        : $call->{call} eq 'rename' ? qw(ENOSPC EIO EROFS)
        : $call->{call} eq 'write' ? qw(ENOSPC EIO EDQUOT) : qw(ENOSPC EIO);
    # a folder's descriptor was only read: closing it proves nothing
    my $status = $call->{call} eq 'close' && $call->{name} eq '.' ? 202 : 503;
    my @cases = map { [$_, $status, {action => $_}] } @errors;
    push @cases, ["$errors[0], and all that follows", $status,
        {action => $errors[0], number => "$call->{number}-"}];
    push @cases, ['short', 202, {action => 'short'}],
        ['short, and then full', 503, {action => 'short'},
            {action => 'ENOSPC', number => $call->{number} + 1}],
        ['interrupted', 202, {action => 'EINTR'}] if $call->{call} eq 'write';
    return @cases;
}

# What is refused is answered so, whether it can be kept or not.
sub refuses {
    my ($httpd, $spool, $fault) = @_;
    my @before = $spool->names('tmp');
    my $count = 0;
    $fault->watch;
    is post($httpd, '{"watched"')->{status}, 400, 'a refusal';
    for my $call ($fault->calls('rejected')) {
        my $body = '{"' . ++$count;
        $fault->set({start => 'rejected', number => $call->{number},
            action => 'ENOSPC', always => 1});
        is post($httpd, $body)->{status}, 400,
            "$call->{call} $call->{number}: still a refusal";
        $fault->watch;
        is_deeply [$spool->names('tmp')], \@before, 'nothing is left behind';
        is post($httpd, $body)->{status}, 400, 'and again';
        ok $spool->read('rejected', sha256_hex($body)),
            'then it is kept';
    }
    is_deeply [$spool->damaged], [], 'whole';
    return;
}

# One of five files that cannot be read, or not be removed, keeps no other.
sub drains_the_others {
    my ($httpd, $spool) = server();
    my $fault = SmartsuppTest::Fault->new($httpd, 'spool');
    chmod 0700, $httpd->path('db');
    $httpd->write_config($httpd->{conf} =~ s/1h$/100ms/mr);
    $httpd->start;
    is post($httpd, sample())->{status}, 200, 'the database is up';
    my $stored = sub { $httpd->database->value('SELECT count(*) FROM'
        . ' smartsupp_conversation WHERE channel_id LIKE ?', "$_[0], file %") };
    for my $case ([open => 'EIO'], [open => 'EACCES'], [unlink => 'EIO']) {
        my ($call, $error) = @$case;
        my %body = map { $_ => body_of('channel.id' => "$call $error, file $_")
            } 1 .. 5;
        my $bad = SmartsuppTest::Spool::name($body{1}, 1e12);
        $fault->set({call => $call, name => $bad, action => $error,
            always => 1});
        $spool->put($body{$_}, received => 1e12 + $_ - 1) for 1 .. 5;
        ok $httpd->wait_for(sub { !grep { $_ ne $bad } $spool->names('new') }),
            "$call, $error: all others are drained";
        cmp_ok $stored->("$call $error"), '>=', 4, 'and stored';
        $fault->watch;
        ok $httpd->wait_for(sub { !$spool->names('new') }), 'and then this one';
        my @aside = grep { $_->{body} eq $body{1} }
            $spool->deliveries('rejected');
        is $stored->("$call $error") + @aside, 5, 'none is lost';
    }
    is_deeply [$spool->names('tmp')], [], 'nothing is left behind';
    $httpd->done;
    return;
}

# Deliveries until the file system is full, and more.
sub is_full {
    my $folder = $ENV{+FOLDER};
    my ($httpd, $spool) = server($folder);
    $httpd->start;
    spew("$folder/ballast", 'x' x 300_000);
    my @sent = sort { $a->[0] <=> $b->[0] } map { @$_ } parallel(4, sub {
        my ($sender) = @_;
        my @sent;
        for my $number (1 .. 20) {
            my $size = $number % 4 ? 20_000 + $sender * 1000 : 200;
            my $answer = post($httpd, note_of("$sender.$number", $size));
            push @sent, [$answer->{status}, "$sender.$number", $size,
                $answer->{headers}{'retry-after'}];
        }
        return \@sent;
    });
    my @taken = grep { $_->[0] == 202 } @sent;
    my @refused = grep { $_->[0] == 503 } @sent;
    is @taken + @refused, 80, 'all are answered 202 or 503'
        or diag join ' ', map { $_->[0] } @sent;
    cmp_ok scalar @taken, '>', 10, 'many fit';
    cmp_ok scalar @refused, '>', 10, 'many do not';
    is scalar(grep { !$_->[3] } @refused), 0, 'these are told to come later';
    is_deeply [sort map { $_->{sha256} } $spool->deliveries('new')],
        [sort map { sha256_hex(note_of(@$_[1, 2])) } @taken],
        'what is there is what was answered 202';
    is_deeply [$spool->damaged], [], 'whole';
    is_deeply [$spool->names('tmp')], [], 'nothing is left behind';

    my $late = note_of('late', 100_000);
    is_unavailable(post($httpd, $late), 'while it is full');
    unlink "$folder/ballast";
    is post($httpd, $late)->{result}, 'spooled', 'there is room again';
    drains($httpd, $spool, 'late', map { $_->[1] } @taken);
    return;
}

# A delivery with so many bytes in it.
sub note_of {
    my ($name, $size) = @_;
    return body_of('channel.id' => $name, 'visitor.note' => 'x' x $size);
}
