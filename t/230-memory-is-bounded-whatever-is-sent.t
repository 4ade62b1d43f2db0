#!/usr/bin/perl
# Bodies that are made to exhaust memory, 24 at a time, all of them in the
# child at once: each is answered as documented, and the child's greatest size
# stays within what 24 bodies of SmartsuppMaxBody can cost. For compressed ones
# that cost is the same, whatever they inflate to.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp);

use IO::Compress::Gzip ();

use constant MIB => 1024 * 1024; # SmartsuppMaxBody's default, too
use constant AT_ONCE => 24;
use constant ROUNDS => 2; # the second one must find the room of the first
use constant DISTINCT => 5; # of what is stored: as many as fit one batch

# What one body costs at most while it is in the child, in MiB. All terms are
# upper bounds; no body reaches more than a few of them.
#   read    its buffer doubles, and its pool keeps the smaller ones: 64 KiB to
#           2 MiB
#   values  one value for each 16 bytes: 65,536 of 64 bytes and its name, each
#           a block of malloc's (80 and 32 bytes at least)
#   texts   the tree's, a copy of the body without U+0000, and the rows'
#   rows    64 bytes for each value that is a message
use constant READ   => 4;
use constant VALUES => 65_536 * (80 + 32) / MIB;
use constant TEXTS  => 3;
use constant ROWS   => 65_536 * 64 / MIB;
use constant DECODED => READ + VALUES + TEXTS + ROWS;
# One read of 16 KiB through the filter DEFLATE, which inflates all of it at
# once, by 1,032 at most.
use constant INFLATED => 16 * 1024 * 1_032 / MIB;
# And what the one writer has in work: at most 5 bodies (4 MiB, and the one
# that passes this), for each row 12 values with their texts, and the SQL.
use constant WRITER => 5 * 65_536 * 12 * 24 / MIB;
# What httpd, SQLite and 24 threads allocate for the first deliveries: more
# than they ever did here.
use constant BASE => 32;

# Threads beyond those that the hook may take (capacity, promise 4).
my $one_child = <<'CONF';
StartServers 1
ServerLimit 1
ThreadsPerChild 32
MaxRequestWorkers 32
MinSpareThreads 1
CONF

my %identity = ('channel.id' => 'CHANNEL', paths => [], messages => [],
    'visitor.variables' => {});

# Each kind: its body (made when it is its turn), what it is answered, and what
# a body costs.
my @kinds = (
    ['1 MiB of [0,0,...', sub { filled('[', '0,', '0]') },
        400, 'json_values', READ],
    ['1 MiB of open brackets', sub { '[' x MIB }, 400, 'json_depth', READ],
    ['1 MiB of {"":{"":...', sub { substr '{"":' x (MIB / 4), 0, MIB },
        400, 'json_depth', READ],
    ['100,000 keys', sub { keys_of(100_000) }, 400, 'json_values', READ],
    ['65,000 keys', sub { keys_of(65_000) }, 422, 'missing',
        READ + VALUES + TEXTS],
    ['1 MiB of [ that are 65,000 empty arrays', sub { filled('[',
        '[],', '[]]', 64_900) }, 422, 'type', READ + VALUES],
    ['170,000 escaped U+0000', sub {
        conversation_with('"note":""', '"note":"' . '\u0000' x 170_000
            . '"') }, 200, 'stored', READ + TEXTS],
    ['60,000 messages', sub {
        conversation_with('"messages":[]', filled('"messages":[',
            '{},', '{}]', 60_000)) }, 200, 'stored', DECODED],
    ['50,000 variables', sub {
        my $names = join ',', map { "\"$_\":{}" } 1 .. 50_000;
        conversation_with('"variables":{}', "\"variables\":{$names}")
        }, 200, 'stored', DECODED],
);

for my $kind (@kinds) {
    subtest $kind->[0] => \&is_bounded, @$kind;
}
for my $kind (
    ['bombs, as mod_deflate is shipped', '', 400, READ + INFLATED * 200 / 1_032],
    ['bombs, where any ratio is allowed', 'DeflateInflateRatioLimit 10000',
        413, READ + INFLATED],
) {
    subtest $kind->[0] => \&compressed, @$kind;
}
done_testing;

# Start, so many times the piece, or as often as there is room in a MiB; end.
sub filled {
    my ($start, $piece, $end, $times) = @_;
    $times //= int((MIB - length $start . $end) / length $piece);
    return $start . $piece x $times . $end;
}

sub keys_of {
    my ($count) = @_;
    return '{' . join(',', map { "\"$_\":0" } 1 .. $count) . '}';
}

# A small conversation with a part of it replaced, filled up to a MiB.
# CHANNEL is still to be replaced, by as many characters.
sub conversation_with {
    my ($part, $by) = @_;
    my $body = body_of(%identity, 'visitor.note' => '');
    my $at = index $body, $part;
    die "no $part in $body" if $at < 0;
    substr $body, $at, length $part, $by;
    die length($body) . " bytes\n" if length $body > MIB;
    return $body . ' ' x (MIB - length $body);
}

# A line of the child's status, in MiB.
sub size {
    my ($httpd, $name) = @_;
    my ($child, @others) = $httpd->children;
    die "not one child\n" if !$child || @others;
    my ($kib) = slurp("/proc/$child/status") =~ /^$name:\s+(\d+) kB$/m;
    return $kib / 1024;
}

# Have all of them in the child but for their last byte; then that. Gives the
# answers.
sub send_at_once {
    my ($httpd, @requests) = @_;
    my @connections = map { dial($httpd)->write(substr $_, 0, -1) } @requests;
    $connections[$_]->write(substr $requests[$_], -1) for 0 .. $#requests;
    my @answers = map { $_->answer // {status => 'none'} } @connections;
    return @answers;
}

# The child has closed all connections. One that is told to stop while it frees
# the memory of many may crash in mpm_event (close_worker_sockets looks at
# sockets that other threads close), and does so without this module.
sub settle {
    my ($httpd) = @_;
    my $port = sprintf '%04X', $httpd->port;
    my ($listen, $time_wait, $closed) = ('0A', '06', '07');
    $httpd->wait_for(sub {
        return !grep { $_ ne $listen && $_ ne $time_wait && $_ ne $closed }
            slurp('/proc/net/tcp')
            =~ /^ *\d+: [0-9A-F]{8}:$port [0-9A-F]{8}:[0-9A-F]{4} (..) /mg;
    }) or die "connections stay open\n";
    return;
}

# A child that has stored something with each of its threads, once.
sub warm {
    my ($httpd) = @_;
    my @answers = send_at_once($httpd, map { request(body_of(%identity,
        'channel.id' => "warm-$_")) } 1 .. AT_ONCE);
    is_deeply [grep { ($_->{result} // '') ne 'stored' } @answers], [],
        'small ones are stored';
    return size($httpd, 'VmRSS');
}

# The greatest size so far is no more than that for each body, in MiB.
sub within {
    my ($httpd, $before, $each, $writer) = @_;
    my $allowed = BASE + AT_ONCE * $each + $writer;
    my $grown = size($httpd, 'VmHWM') - $before;
    note sprintf '%.1f MiB before, %.1f more at most, %.1f left; %.1f allowed',
        $before, $grown, size($httpd, 'VmRSS') - $before, $allowed;
    cmp_ok $grown, '<=', $allowed, 'the child has not grown by more than that';
    return;
}

sub is_bounded {
    my ($name, $body, $status, $code, $each) = @_;
    my $httpd = SmartsuppTest::Httpd->new(mpm => 'event', log_level => 'warn',
        conf => $one_child)->start;
    my $before = warm($httpd);
    my $bytes = $body->();
    for my $round (1 .. ROUNDS) {
        my %answers;
        $answers{"$_->{status} " . ($_->{json}{errors}
            ? $_->{json}{errors}[0]{code} : $_->{result} // '')}++
            for send_at_once($httpd, map {
                request($bytes =~ s/CHANNEL/sprintf '%07d', $_ % DISTINCT/er)
            } 1 .. AT_ONCE);
        my $new = $code ne 'stored' ? AT_ONCE : $round == 1 ? DISTINCT : 0;
        my %expected = ("$status $code" => $new,
            '200 duplicate' => AT_ONCE - $new);
        is_deeply \%answers, {map { $expected{$_} ? ($_ => $expected{$_})
            : () } keys %expected}, "round $round: $status $code"
            or diag explain \%answers;
    }
    within($httpd, $before, $each, $status == 200 ? WRITER : 0);
    settle($httpd);
    is post($httpd, sample())->{result}, 'stored', 'the child goes on';
    settle($httpd);
    $httpd->expect_log($status == 400 ? 'SMARTSUPP0206'
        : $status == 422 ? 'SMARTSUPP0207' : ());
    $httpd->done;
    return;
}

# So many MiB that are one of compressed data for about a thousand.
sub bomb {
    my ($mib) = @_;
    my $bytes = '';
    my $gzip = IO::Compress::Gzip->new(\$bytes, -Level => 9) or die 'gzip';
    $gzip->print('[');
    $gzip->print(' ' x MIB) for 1 .. $mib;
    $gzip->close or die 'gzip';
    return $bytes;
}

# mod_deflate's own limit for the ratio, as shipped (200, for 3 reads in a
# row), ends them with 400; without it SmartsuppMaxBody does, with 413.
sub compressed {
    my ($name, $conf, $status, $each) = @_;
    our $bomb //= bomb(100);
    note '100 MiB of blanks are ' . length($bomb) . ' bytes';
    my $httpd = SmartsuppTest::Httpd->new(mpm => 'event', log_level => 'warn',
        modules => ['deflate', 'filter'], conf => "$one_child
            <Location \"/hook\">
                SetInputFilter DEFLATE
                $conf
            </Location>")->start;
    my $before = warm($httpd);
    for my $round (1 .. ROUNDS) {
        my @answers = send_at_once($httpd, (request($bomb,
            headers => ['Content-Encoding' => 'gzip'])) x AT_ONCE);
        is_deeply [map { $_->{status} } @answers], [($status) x AT_ONCE],
            "round $round: $status";
    }
    within($httpd, $before, $each, 0);
    settle($httpd);
    is post($httpd, sample())->{result}, 'stored', 'the child goes on';
    settle($httpd);
    $httpd->allow_log(qr/AH00484/); # as many at once as it has threads
    $httpd->expect_log($status == 413 ? 'SMARTSUPP0203'
        : ('SMARTSUPP0213', qr/\[deflate:warn\].* AH02649: Inflated content/));
    $httpd->done;
    return;
}
