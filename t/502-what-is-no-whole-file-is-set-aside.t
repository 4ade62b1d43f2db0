#!/usr/bin/perl
# Files that a crash, a full disk or somebody's hand has left in the spool, met
# by a server that drains it: each of them is set aside and told of, none of
# them keeps the whole ones from being stored, and the figures are right.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use IO::Socket::UNIX ();
use List::Util qw(sum0);
use POSIX qw(mkfifo);
use Socket qw(SOCK_STREAM);
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp spew);
use SmartsuppTest::Spool;

my $conf = <<'CONF';
SmartsuppSpool %%ROOT%%/spool
SmartsuppReplayInterval 200ms
<Location "/status">
    SetHandler smartsupp-status
</Location>
CONF

# A body that is an error in none but the way that a test wants.
sub body { return body_of('channel.id' => $_[0]) }

# Files that are no whole delivery, by what is wrong with them.
sub torn_files {
    my $body = body('torn');
    my $file = SmartsuppTest::Spool::file($body);
    my $header = length($file) - length $body;
    return (
        'empty'                => '',
        'half a header'        => substr($file, 0, $header / 2),
        'a header alone'       => substr($file, 0, $header),
        'all but a newline'    => substr($file, 0, $header - 1),
        'half a body'          => substr($file, 0, $header + 1000),
        'all but a byte'       => substr($file, 0, -1),
        'a byte more'          => "${file}x",
        'zeros in the body'    => substr($file, 0, -100) . "\0" x 100,
        'zeros all over'       => "\0" x length $file,
        'another body'         => $file =~ s/torn/tarn/r,
        'another SHA-256'      => SmartsuppTest::Spool::file($body,
            sha256 => sha256_hex('x')),
        'another length'       => SmartsuppTest::Spool::file($body,
            length => length($body) + 1),
        'a huge length'        => SmartsuppTest::Spool::file($body,
            length => '18446744073709551616'),
        'a wrong check'        => SmartsuppTest::Spool::file($body,
            check => sha256_hex('x')),
        'a changed header'     => $file =~ s/^received 1/received 2/mr,
        'a later version'      => SmartsuppTest::Spool::file($body)
            =~ s/\A(\S+) 1\n/$1 2\n/r,
        'two files'            => $file . $file,
        'what is not ours'     => "Dear administrator,\n",
        'a long line'          => 'smartsupp-spool ' . '1' x 100_000,
    );
}

subtest 'files are torn' => \&files_are_torn;
subtest 'things are no files' => \&things_are_no_files;
subtest 'names are other ones' => \&names_are_other_ones;
subtest 'a crash has left them' => \&crash_has_left_them;
subtest 'files vanish' => \&files_vanish;
subtest 'one that cannot be read' => \&cannot_be_read;
subtest 'one that cannot be moved' => \&cannot_be_moved;
done_testing;

# A server that has drained already, and its spool.
sub server {
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf);
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->start;
    is post($httpd, body('before'))->{result}, 'stored', 'the database is up';
    return ($httpd, $spool);
}

# Move a file into new/ as a whole, as if it had always been there.
sub place {
    my ($spool, $name, $bytes) = @_;
    $spool->write('tmp', 'to be placed', $bytes);
    rename $spool->path('tmp', 'to be placed'), $spool->path('new', $name)
        or die "rename: $!\n";
    return $name;
}

# Whole deliveries, older and newer than what a test has between them.
sub around {
    my ($spool, $when) = @_;
    $spool->put(body("$when $_"), received => ($when eq 'older' ? 1e12 : 2e12)
        + $_) for 1 .. 3;
    return map { "$when $_" } 1 .. 3;
}

# All that was put is done with, and these channels are stored, as a whole.
sub drained {
    my ($httpd, $spool, @channels) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'all is done with'
        or diag explain [$spool->names('new')];
    is_deeply [sort map { $_->{channel_id} } $httpd->database->rows('SELECT'
        . ' channel_id FROM smartsupp_conversation')], [sort 'before',
        @channels], 'the whole ones are stored';
    is $httpd->database->orphans, 0, 'as a whole';
    return;
}

# What the log has set aside, by name.
sub told {
    my ($httpd) = @_;
    my %told;
    $told{$_}++ for $httpd->log
        =~ m{SMARTSUPP0504: [^\n]* is in rejected/ now: ([^\n]*)$}mg;
    return \%told;
}

# What the spool says of itself is what is there.
sub figures_are_right {
    my ($httpd, $spool, $damaged) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($server) = @{get($httpd, '/status?format=json')->{json}{servers}};
    my %figures = (%{$server->{spool}}, damaged =>
        $server->{rejected}{damaged});
    my @files = grep { -f && !-l } map { $spool->path('rejected', $_) }
        $spool->names('rejected');
    my $bytes = 0;
    $bytes += -s for @files;
    is_deeply [@figures{qw(damaged deliveries bytes rejected_deliveries
        rejected_bytes)}], [$damaged, 0, 0, scalar @files, $bytes],
        'the figures are right' or diag explain \%figures;
    return;
}

sub files_are_torn {
    my ($httpd, $spool) = server();
    my %torn = torn_files();
    my (%name, $number);
    my @older = around($spool, 'older');
    for my $what (sort keys %torn) {
        $name{$what} = place($spool, sprintf('%013d-%s', 15e11 + $number++,
            sha256_hex($what)), $torn{$what});
    }
    my @newer = around($spool, 'newer');
    is post($httpd, body('meanwhile'))->{result}, 'stored', 'it goes on';
    drained($httpd, $spool, @older, @newer, 'meanwhile');

    is_deeply [$spool->names('rejected')], [sort map { "$_.damaged" }
        values %name], 'the torn ones are set aside';
    is_deeply [grep { slurp($spool->path('rejected', "$name{$_}.damaged"))
        ne $torn{$_} } sort keys %torn], [], 'each as it was';
    is_deeply told($httpd), {map { $_ => 1 } values %name}, 'and told of, once';
    figures_are_right($httpd, $spool, scalar keys %torn);

    # the same name again
    place($spool, $name{empty}, 'x');
    drained($httpd, $spool, @older, @newer, 'meanwhile');
    is slurp($spool->path('rejected', "$name{empty}.damaged.2")), 'x',
        'another of a name is kept beside the first';
    figures_are_right($httpd, $spool, 1 + keys %torn);
    $httpd->expect_log('SMARTSUPP0504');
    $httpd->done;
    return;
}

sub things_are_no_files {
    my ($httpd, $spool) = server();
    my $whole = $httpd->path('db/whole');
    spew($whole, SmartsuppTest::Spool::file(body('outside')));
    $httpd->give($whole);
    my @older = around($spool, 'older');
    my $new = sub { $spool->path('new', $_[0]) };
    my %made = (
        'a folder' => sub { mkdir $_[0], 0700; $httpd->give($_[0]) },
        'a full folder' => sub {
            mkdir $_[0], 0700;
            spew("$_[0]/file", 'x');
            $httpd->give($_[0]);
        },
        'a link to a whole file' => sub { symlink $whole, $_[0] },
        'a dangling link' => sub { symlink '/nowhere', $_[0] },
        'a link to itself' => sub { symlink $_[0], $_[0] },
        'a link to a folder' => sub { symlink $httpd->path('db'), $_[0] },
        'a fifo' => sub { mkfifo $_[0], 0600; $httpd->give($_[0]) },
        'a socket' => sub {
            my $short = $httpd->path('db/s'); # its path must not be long
            IO::Socket::UNIX->new(Local => $short, Type => SOCK_STREAM,
                Listen => 1) or die "socket: $!\n";
            rename $short, $_[0] or die "rename: $!\n";
        },
    );
    # one of each with a name that a delivery could have
    my $proper = sub { SmartsuppTest::Spool::name($_[0], 15e11) };
    for my $what (sort keys %made) {
        $made{$what}->($new->($_)) for $what, $proper->($what);
    }
    my @newer = around($spool, 'newer');
    drained($httpd, $spool, @older, @newer);
    my @names = map { ($_, $proper->($_)) } keys %made;
    is_deeply [$spool->names('rejected')], [sort map { "$_.damaged" } @names],
        'they are set aside';
    ok -p $spool->path('rejected', 'a fifo.damaged'), 'as they were';
    ok -e $whole, 'and where a link leads to stays';
    is_deeply told($httpd), {map { $_ => 1 } @names}, 'the log tells, once';
    figures_are_right($httpd, $spool, scalar @names);
    $httpd->expect_log('SMARTSUPP0504');
    $httpd->done;
    return;
}

# What is inside of a file counts: a whole one is stored, whatever its name.
sub names_are_other_ones {
    my ($httpd, $spool) = server();
    my @older = around($spool, 'older');
    my $put = sub {
        my ($name, $channel) = @_;
        place($spool, $name, SmartsuppTest::Spool::file(body($channel),
            server => 'elsewhere', reason => 'moved back by hand'));
    };
    my $other = sha256_hex('other');
    $put->("1427470439703-$other", 'the name of another body');
    $put->('9999999999999-' . sha256_hex(body('another time')), 'another time');
    $put->('0000000000000-' . sha256_hex(body('no time')), 'no time');
    $put->(sha256_hex(body('as in rejected')), 'as in rejected');
    $put->('copy of a delivery', 'words');
    $put->('.hidden', 'hidden');
    $put->("\xff\n\e[31m", 'bytes');
    $put->('x' x 255, 'long');
    my @channels = ('the name of another body', 'another time', 'no time',
        'as in rejected', 'words', 'hidden', 'bytes', 'long');
    # the same delivery, received twice, and thrice with a name of its own
    $spool->put(body('twice'), received => $_) for 14e11, 14e11 + 1;
    $put->('another name', 'twice');
    # and torn ones with such names
    my %torn = map { $_ => 1 } '.torn', 'notes.txt', 'y' x 255, "\x07bell";
    place($spool, $_, "not a delivery: $_") for keys %torn;
    my @newer = around($spool, 'newer');
    drained($httpd, $spool, @older, @newer, @channels, 'twice');
    is $httpd->database->value("SELECT count(*) FROM smartsupp_message WHERE"
        . " channel_id = 'twice'"), 6, 'twice is stored once';
    is_deeply [$spool->names('rejected')], [sort map { substr($_, 0,
        255 - length '.damaged.999') . '.damaged' } keys %torn],
        'the torn ones are set aside';
    unlike $httpd->log, qr/[\x00-\x08\x0b-\x1f\x7f]/, 'the log is clean';
    figures_are_right($httpd, $spool, scalar keys %torn);
    $httpd->expect_log('SMARTSUPP0504');
    $httpd->done;
    return;
}

# In tmp/, where somebody may be writing just now; and all of it there before
# the start.
sub crash_has_left_them {
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf);
    my $spool = SmartsuppTest::Spool->new($httpd->path('spool'), $httpd)->make;
    my %torn = torn_files();
    my $number = 0;
    $spool->write('tmp', 'left ' . $number++, $torn{$_}) for sort keys %torn;
    $spool->write('tmp', "whole $_", SmartsuppTest::Spool::file(
        body("left $_"), received => 14e11 + $_)) for 1 .. 3;
    mkdir $spool->path('tmp', 'folder');
    $httpd->give($spool->path('tmp', 'folder'));
    symlink $httpd->path('conf/httpd.conf'), $spool->path('tmp', 'link');
    $spool->age;
    # a link has a time of its own
    system('touch', '-h', '-d', '@1000000000', $spool->path('tmp', 'link')) == 0
        or die "touch: $?\n";
    $spool->write('tmp', 'young', SmartsuppTest::Spool::file(body('young')));
    $spool->write('tmp', 'young and torn', 'smartsupp-spool 1');
    my @older = around($spool, 'older');
    $httpd->start;
    ok $httpd->wait_for(sub { !grep { !/young/ } $spool->names('tmp') }),
        'the old ones are taken' or diag explain [$spool->names('tmp')];
    post($httpd, body('before'));
    drained($httpd, $spool, @older, 'left 1', 'left 2', 'left 3');
    is_deeply [$spool->names('tmp')], ['young', 'young and torn'],
        'what may still be written is not';
    is_deeply [$spool->names('rejected')], [sort map { "$_.damaged" }
        'folder', 'link', map { "left $_" } 0 .. $number - 1],
        'torn ones are set aside';
    is sum0($httpd->log =~ /SMARTSUPP0506: [^\n]*: (\d+);/g),
        3 + 2 + $number, 'the log tells how many';
    unlike $httpd->log, qr/SMARTSUPP0504/, 'and nothing else';
    $spool->age;
    ok $httpd->wait_for(sub { !$spool->names('tmp') && !$spool->names('new') }),
        'once they are old, they are';
    is $httpd->database->value('SELECT count(*) FROM smartsupp_conversation'
        . " WHERE channel_id = 'young'"), 1, 'and stored';
    $httpd->done;
    return;
}

# Another drainer, or somebody, takes files away while they are listed.
sub files_vanish {
    my ($httpd, $spool) = server();
    my @names = map { $spool->put(body("vanishes $_"), received => 12e11 + $_) }
        1 .. 150;
    my %gone;
    for my $n (reverse 1 .. 150) { # they are taken from the other end
        $gone{"vanishes $n"} = 1 if $n % 2
            && unlink $spool->path('new', $names[$n - 1]);
    }
    ok $httpd->wait_for(sub { !$spool->names('new') }), 'all is done with';
    my %stored = map { $_->{channel_id} => 1 } $httpd->database->rows('SELECT'
        . ' channel_id FROM smartsupp_conversation');
    is_deeply [grep { !$stored{$_} && !$gone{$_} } map { "vanishes $_" }
        1 .. 150], [], 'what was left to it is stored';
    note scalar(keys %gone), ' were taken away';
    is_deeply [$spool->names('rejected')], [], 'nothing is set aside';
    # what was counted and then taken away is corrected by the next count
    $httpd->wait_for(sub {
        my $status = get($httpd, '/status?format=json')->{json};
        return $status->{servers}[0]{spool}{deliveries} == 0;
    });
    figures_are_right($httpd, $spool, 0);
    unlike $httpd->log, qr/SMARTSUPP05(?!08)/, 'and nothing is said';
    $httpd->done;
    return;
}

# A file of another user, such as one that an administrator has moved back
# with cp: nobody will ever read it, and nothing waits for it.
sub cannot_be_read {
    my ($httpd, $spool) = server();
    my @older = around($spool, 'older');
    my $name = $spool->write('tmp', SmartsuppTest::Spool::name(body('closed'),
        15e11), SmartsuppTest::Spool::file(body('closed'), received => 15e11));
    chmod 0000, $spool->path('tmp', $name);
    rename $spool->path('tmp', $name), $spool->path('new', $name);
    my @newer = around($spool, 'newer');
    drained($httpd, $spool, @older, @newer);
    is_deeply [$spool->names('rejected')], ["$name.damaged"], 'it is set aside';
    is_deeply told($httpd), {$name => 1}, 'the log tells, once';
    figures_are_right($httpd, $spool, 1);
    # put right by hand
    chmod 0600, $spool->path('rejected', "$name.damaged");
    rename $spool->path('rejected', "$name.damaged"), $spool->path('new',
        "$name.damaged");
    drained($httpd, $spool, @older, @newer, 'closed');
    $httpd->expect_log('SMARTSUPP0504');
    $httpd->done;
    return;
}

# What cannot be set aside stays where it is, and nothing waits for it either.
sub cannot_be_moved {
    my ($httpd, $spool) = server();
    my @older = around($spool, 'older');
    chmod 0500, $spool->path('rejected');
    my $name = place($spool, SmartsuppTest::Spool::name('torn', 15e11), 'torn');
    my @newer = around($spool, 'newer');
    $httpd->wait_for(sub { $spool->names('new') == 1 });
    is_deeply [$spool->names('new')], [$name], 'the others are done with';
    my $tries = sub { my $count = () = $httpd->log
        =~ /SMARTSUPP0504: [^\n]* cannot be moved/g; $count };
    ok $httpd->wait_for($tries), 'the log tells';
    is post($httpd, '{')->{status}, 400, 'what is refused is';
    chmod 0700, $spool->path('rejected');
    drained($httpd, $spool, @older, @newer);
    is_deeply [$spool->names('rejected')], ["$name.damaged"], 'in the end';
    $httpd->expect_log(qw(SMARTSUPP0504 SMARTSUPP0206 SMARTSUPP0214));
    $httpd->done;
    return;
}
