#!/usr/bin/perl
# While a thousand connections are held open, a hundred senders are slow, and
# others break off or break HTTP in every way, all deliveries that are sent
# properly are answered 200 and stored once. Nothing is stored that was cut off.

use strict;
use warnings;

use FindBin;
use IO::Select;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Load;
use SmartsuppTest::Process qw(spew);

use constant IDLE => 1_000;
use constant SLOW => 100;
use constant PAUSE => 0.3; # between two bytes of a slow one
use constant ENOUGH => 10; # slow ones that are seen to end
use constant BOUND => 30; # seconds to wait for them
use constant SENDERS => 3; # who do it properly
use constant OTHER_FILES => 500; # that httpd or we may have open

# As many files as may be: Perl alone cannot raise the limit.
if (files() < IDLE + OTHER_FILES && !$ENV{SMARTSUPP_FILES_RAISED}++) {
    exec 'sh', '-c', 'ulimit -n ' . (IDLE + OTHER_FILES) . ' || '
        . 'ulimit -n "$(ulimit -Hn)"; exec "$@"', 'sh', $^X, $0;
}

sub files { return POSIX::sysconf(POSIX::_SC_OPEN_MAX()) }

# Slow ones hold threads, as is httpd's way; idle ones do not.
my $httpd = SmartsuppTest::Httpd->new(mpm => 'event',
    modules => ['reqtimeout'], conf => <<'CONF');
StartServers 2
ServerLimit 4
ThreadsPerChild 64
MaxRequestWorkers 256
MaxSpareThreads 256
AsyncRequestWorkerFactor 50
ListenBacklog 1024
KeepAlive on
KeepAliveTimeout 300
MaxKeepAliveRequests 0
RequestReadTimeout header=3,MinRate=1000 body=3,MinRate=1000
LogLevel core:info
<Location "/hook/closed">
    Require all denied
</Location>
<Location "/hook/signed">
    SmartsuppSecret file:conf/secret
</Location>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName broken
    DBDParams "%%ROOT%%/db/broken"
</VirtualHost>
CONF
spew($httpd->path('conf/secret'), 'secret');
spew($httpd->path('db/broken'), 'no database ' x 1_000);
$httpd->give($httpd->path('db/broken'));
$httpd->start;
my $database = $httpd->database;
my %stored; # channels that were told so here
my %maybe;  # and those that were read whole, but nobody was told
post($httpd, body_of('channel.id' => 'first'));
$stored{first} = 1;

my @idle = idle();
my $slow = slow();
my $load = SmartsuppTest::Load->start([$httpd], SENDERS);

subtest 'uploads that are aborted' => \&aborted;
subtest 'what stands behind a request' => \&pipelined;
subtest 'lengths that lie' => \&lengths;
subtest 'chunks' => \&chunks;
subtest 'trailers' => \&trailers;
subtest 'Expect' => \&expect;
subtest 'headers' => \&headers;
subtest 'idle and slow ones' => \&idle_and_slow;
subtest 'the others' => \&others;
$httpd->expect_log(map { "SMARTSUPP0$_" } qw(202 203 204 206 207 213 217 301
    212));
$httpd->done;
done_testing;

# A delivery's channel, new each time, and its body.
sub fresh {
    our $number;
    my $channel = 'c' . ++$number;
    return ($channel, body_of('channel.id' => $channel));
}

# Send these bytes, and no more after them; the statuses of all answers.
sub statuses {
    my ($bytes) = @_;
    my $connection = dial($httpd)->write($bytes);
    shutdown $connection->{socket}, 1;
    my @answers;
    while (my $answer = $connection->answer) {
        push @answers, $answer->{status};
    }
    return "@answers";
}

sub is_stored {
    my ($channel) = @_;
    return $database->value('SELECT count(*) FROM smartsupp_conversation'
        . ' WHERE channel_id = ?', $channel);
}

# A case of one delivery: what it is, its bytes, what is answered (a pattern),
# the channel, and whether that is stored then.
sub case {
    my ($name, $bytes, $expected, $channel, $is_stored) = @_;
    like statuses($bytes), qr/\A(?:$expected)\z/, $name;
    is is_stored($channel), $is_stored ? 1 : 0,
        $is_stored ? 'and stored' : 'and not stored';
    $stored{$channel} = 1 if $is_stored;
    return;
}

# The same where httpd may take it or not.
sub either {
    my ($name, $bytes, $expected, $channel) = @_;
    like statuses($bytes), qr/\A(?:$expected)\z/, $name;
    $maybe{$channel} = 1;
    return;
}

# Connections that have had an answer and say no more.
sub idle {
    my $wanted = IDLE;
    $wanted = files() - OTHER_FILES if files() < IDLE + OTHER_FILES;
    note "$wanted idle connections";
    my @connections;
    while (@connections < $wanted) {
        my @some = map { dial($httpd) } 1 .. 50;
        $_->write(request(undef, method => 'GET')) for @some;
        my @wrong = grep { $_->answer->{status} != 405 } @some;
        die "not 405\n" if @wrong;
        push @connections, @some;
    }
    return @connections;
}

# Slow senders, always so many of them, in a process of their own: half of
# them are slow with the header, the others with the body. When it is written
# to, it ends as soon as enough of them were answered, and tells how they ended:
# {status => count}.
sub slow {
    pipe my $read, my $told or die "pipe: $!\n";
    pipe my $until, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $_ for $read, $write;
        my $ended = eval { slow_ones($until) } // {died => $@};
        print $told join ' ', %$ended;
        close $told;
        POSIX::_exit(0);
    }
    close $_ for $told, $until;
    return {pid => $pid, told => $read, end => $write};
}

sub slow_ones {
    my ($until) = @_;
    my (%senders, %ended, $deadline);
    my $number = 0;
    until ($deadline && (($ended{408} // 0) >= ENOUGH || time > $deadline)) {
        $deadline //= time + BOUND if IO::Select->new($until)->can_read(0);
        while (keys %senders < SLOW) {
            my $name = 'slow-' . ++$number;
            my $bytes = request(body_of('channel.id' => $name));
            my $at = $number % 2 ? 5 : index($bytes, "\r\n\r\n") + 10;
            $senders{$name} = {bytes => $bytes, at => $at,
                connection => dial($httpd)->write(substr $bytes, 0, $at)};
        }
        sleep PAUSE;
        for my $name (keys %senders) {
            my $sender = $senders{$name};
            my $socket = $sender->{connection}{socket};
            if (IO::Select->new($socket)->can_read(0)) {
                my $answer = $sender->{connection}->answer;
                $ended{$answer ? $answer->{status} : 'none'}++;
                delete $senders{$name};
                next;
            }
            $sender->{connection}->write(substr $sender->{bytes},
                $sender->{at}++, 1);
        }
    }
    return \%ended;
}

# In each phase, by a reset and in good order.
sub aborted {
    my ($channel, $body) = fresh();
    my %form = (
        'a body' => request($body),
        'chunks' => request(chunked($body, 200),
            headers => ['Transfer-Encoding' => 'chunked']),
    );
    for my $form (sort keys %form) {
        my $bytes = $form{$form};
        my $head = index($bytes, "\r\n\r\n") + 4;
        my %phase = (
            'in the request line' => 7,
            'after the request line' => index($bytes, "\r\n") + 2,
            'in a header' => $head - 20,
            'before the empty line' => $head - 2,
            'before the body' => $head,
            'after a byte of it' => $head + 1,
            'in a length of a chunk' => $head + 207,
            'in its middle' => $head + int((length($bytes) - $head) / 2),
            'before its last byte' => length($bytes) - 1,
        );
        for my $phase (sort { $phase{$a} <=> $phase{$b} } keys %phase) {
            my $part = substr $bytes, 0, $phase{$phase};
            my $reset = dial($httpd)->write($part);
            sleep 0.02; # for what it has to read; any time will do
            $reset->abort;
            dial($httpd)->write($part); # and closed, with no half of it open
            like statuses($part), qr/\A(?:400|408|)\z/, "$form, $phase";
        }
    }
    is is_stored($channel), 0, 'nothing is stored';

    # what was read whole may be stored, though nobody waits for the answer
    for my $form (sort keys %form) {
        for my $how ('abort', 'close') {
            my ($other) = fresh();
            (my $bytes = $form{$form}) =~ s/$channel"/$other"/;
            $bytes =~ s/\n\r\n\K.*/chunked($body =~ s{$channel"}{$other"}r)/es
                if $form eq 'chunks';
            $bytes =~ s/(Content-Length: )\d+/$1 . (length($body)
                + length($other) - length $channel)/e;
            my $connection = dial($httpd)->write($bytes);
            $connection->abort if $how eq 'abort';
            $maybe{$other} = 1;
        }
    }
    return;
}

# Behind a delivery that is stored, and one that is refused.
sub pipelined {
    my %garbage = (
        'words' => "garbage\r\n\r\n",
        'NULs' => "\0" x 100,
        'TLS' => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . 'x' x 500,
        'no method' => " / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        'HTTP/9.9' => "POST /hook HTTP/9.9\r\nHost: localhost\r\n\r\n",
        'no Host' => "POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        'JSON' => sample(),
        '100 kB without a line' => 'x' x 100_000,
        'high bytes' => "\xff" x 1_000 . "\r\n\r\n",
    );
    for my $name (sort keys %garbage) {
        my ($channel, $body) = fresh();
        case($name, request($body) . $garbage{$name}, '200(?: [45]\d\d)?',
            $channel, 1);
    }
    my ($before, $body) = fresh();
    my ($behind, $other) = fresh();
    case('empty lines', request($body) . "\r\n\r\n\r\n" . request($other),
        '200 200', $behind, 1);
    $stored{$before} = 1;

    # httpd closes the connection after some, and goes on after others
    for my $refused (
        ['no JSON', request('x'), 400],
        ['no body', request(undef), 400],
        ['too large', request('[' . ' ' x 1_048_576), 413],
        ['no database', request(sample(), headers => [Host => 'broken']), 503],
        ['an error in chunks', request("5\r\n12345zz\r\n", headers =>
            ['Transfer-Encoding' => 'chunked']), 400],
        ['no conversation', request('{}'), '422 200', 1],
        ['a GET', request(undef, method => 'GET'), '405 200', 1],
        ['a GET with a body', request('{}', method => 'GET'), '405 200', 1],
        ['encoded', request('x', headers => ['Content-Encoding' => 'br']),
            '415 200', 1],
        ['not allowed', request(sample(), path => '/hook/closed'),
            '403 200', 1],
        ['not signed', request(sample(), path => '/hook/signed'),
            '403 200', 1],
        ['nobody', request(sample(), path => '/nobody'), '404 200', 1],
    ) {
        my ($name, $first, $expected, $is_stored) = @$refused;
        my ($channel, $body) = fresh();
        case("behind: $name", $first . request($body), $expected, $channel,
            $is_stored);
    }
    $httpd->expect_log('SMARTSUPP0205');
    $httpd->allow_log(qr/AH01630: client denied by server configuration/);
    return;
}

sub lengths {
    my ($channel, $body) = fresh();
    my $length = length $body;
    my $with = sub { return request($body, headers => [map {
        ('Content-Length' => $_) } @_]) };
    for my $wrong (
        ['longer', $length + 1, '400|408|'],
        ['far longer', '9' x 12, '413'], # LimitRequestBody, 1 GiB by default
        ['shorter', $length - 1, '400'],
        ['zero', 0, '400'],
        ['negative', "-$length", '400'],
        ['with a sign', "+$length", '400'],
        ['past 64 bits', '9' x 30, '400|413'],
        ['hexadecimal', sprintf('0x%x', $length), '400'],
        ['a fraction', "$length.0", '400'],
        ['empty', '', '400'],
        ['a word', 'many', '400'],
        ['a list', "$length, " . ($length + 1), '400'],
    ) {
        case($wrong->[0], $with->($wrong->[1]), $wrong->[2], $channel, 0);
    }
    case('two different', $with->($length, $length + 1), '400', $channel, 0);
    case('two different, the short one first', $with->($length - 1, $length),
        '400', $channel, 0);
    either('twice the same', $with->($length, $length), '200|400', $channel);
    ($channel, $body) = fresh();
    case('no length', request($body, headers => ['Content-Length' => undef]),
        '400', $channel, 0);

    # the rest is another request, as HTTP has it, whatever it was meant for
    my ($first, $one) = fresh();
    ($channel, $body) = fresh();
    case('a delivery behind a shorter one', request($one . request($body),
        headers => ['Content-Length' => length $one]), '200 200', $channel, 1);
    $stored{$first} = 1;
    ($channel, $body) = fresh();
    case('a delivery inside a longer one', request("x" . request($body),
        headers => ['Content-Length' => 1 + length request($body)]),
        '400', $channel, 0);
    return;
}

sub chunks {
    my @te = ('Transfer-Encoding' => 'chunked');
    my $send = sub { my ($chunks, @headers) = @_;
        return request($chunks, headers => [@headers ? @headers : @te]) };
    # taken, and what is behind it in place of the length in a chunk's line
    for my $taken (
        ['an extension', ';name=value'], ['a quoted one', ';a="b;c"'],
        ['many', ';a=b' x 50],
        ['leading zeros', '', '00'],
    ) {
        my ($name, $extension, $zeros) = @$taken;
        my ($channel, $body) = fresh();
        case($name, $send->(sprintf "%s%x%s\r\n%s\r\n0\r\n\r\n", $zeros // '',
            length $body, $extension, $body), '200', $channel, 1);
    }
    my ($channel, $body) = fresh();
    my $size = sprintf '%x', length $body;
    for my $wrong (
        ['an extension of 1 MB', "$size;" . 'x' x 1_000_000 . "\r\n"],
        ['an extension without an end', "$size;" . 'x' x 10_000],
        ['a NUL in it', "$size;\0\r\n", '200|400'],
        ['a control in it', "$size;\x01\r\n", '200|400'],
        ['a line break in it', "$size;a=\"\n\"\r\n"],
        ['a carriage return in it', "$size;a=\rb\r\n"],
        ['a thousand zeros', '0' x 1_000 . "$size\r\n", '200|400'],
        ['a sign', "+$size\r\n"], ['a negative one', "-$size\r\n"],
        ['a prefix', "0x$size\r\n"], ['a blank before it', " $size\r\n"],
        ['past 64 bits', 'f' x 17 . "\r\n"], ['2^63', "8$size" . '0' x 12
            . "\r\n"], ['2^64 - 1', 'f' x 16 . "\r\n"],
        ['no number', "\r\n"],
    ) {
        my ($name, $line, $expected) = @$wrong;
        my ($channel, $body) = fresh();
        $expected //= '400|408|413|';
        my $bytes = $send->("$line$body\r\n0\r\n\r\n");
        if ($expected =~ /200/) { either($name, $bytes, $expected, $channel) }
        else                    { case($name, $bytes, $expected, $channel, 0) }
    }
    case('a length that is too short', $send->("5\r\n$body\r\n0\r\n\r\n"),
        '400|', $channel, 0);
    case('no last chunk', $send->("$size\r\n$body\r\n"), '400|408|', $channel,
        0);
    case('no line after the last chunk', $send->("$size\r\n$body\r\n0\r\n"),
        '400|408|', $channel, 0);

    # both: the length is nothing, and the connection not used again
    my ($both, $other) = fresh();
    like statuses(request(chunked($other), headers => [@te,
        'Content-Length' => 5]) . request($body)), qr/\A(?:200|400)\z/,
        'chunks and a length: the request behind is not read';
    is is_stored($channel), 0, 'nor stored';
    $maybe{$both} = 1;
    like statuses(request($body, headers => [@te,
        'Content-Length' => length $body])), qr/\A(?:400|413)\z/,
        'a length and no chunks';
    # httpd looks at the last one, and at no other
    either("Transfer-Encoding: $_", $send->(chunked((fresh())[1]),
        'Transfer-Encoding' => $_), '200|400|501', 'c' . our $number)
        for 'gzip, chunked', 'chunked, chunked';
    for my $coding ('identity', 'chunked, gzip', 'xchunked', 'chunked;q=1',
        'cow', "\x0bchunked", '') {
        my ($channel, $body) = fresh();
        case("Transfer-Encoding: $coding", $send->(chunked($body),
            'Transfer-Encoding' => $coding), '400|413|501|400 400', $channel,
            0);
    }
    $httpd->allow_log(qr/AH0\d+: (?:Invalid|Bad) [Cc]hunk/,
        qr/AH0\d+: (?:Unknown Transfer-Encoding|Transfer-Encoding)/);
    return;
}

# They are read, limited like headers, and are none.
sub trailers {
    my @te = ('Transfer-Encoding' => 'chunked');
    my $with = sub { my ($body, $trailers, %options) = @_;
        return request(chunked($body) =~ s/\r\n\z/$trailers\r\n/r, %options,
            headers => \@te) };
    my ($channel, $body) = fresh();
    case('some', $with->($body, "A: b\r\nContent-Encoding: br\r\n"
        . "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
        . "Host: broken\r\n"), '200', $channel, 1);
    ($channel, $body) = fresh();
    require Digest::SHA;
    case('a signature', $with->($body, 'X-Smartsupp-Hmac: '
        . Digest::SHA::hmac_sha256_hex($body, 'secret') . "\r\n",
        path => '/hook/signed'), '403', $channel, 0);
    case('too many', $with->($body, "A: b\r\n" x 200), '400|', $channel, 0);
    case('too long', $with->($body, 'A: ' . 'b' x 10_000 . "\r\n"), '400|',
        $channel, 0);
    case('no colon', $with->($body, "A\r\n"), '400|', $channel, 0);
    case('cut off', substr($with->($body, "A: b\r\nB: c\r\n"), 0, -6),
        '400|408|', $channel, 0);
    return;
}

sub expect {
    my $ask = sub { my ($body, $expect, %options) = @_;
        return request($body, %options, headers => [Expect => $expect]) };
    my ($channel, $body) = fresh();
    case('100-continue and no body', $ask->($body, '100-continue')
        =~ s/\r\n\r\n\K.*//sr, '(?:100 )?(?:400|408)|100|', $channel, 0);
    case('100-continue and half a body', substr($ask->($body, '100-continue'),
        0, -100), '(?:100 )?(?:400|408)|100|', $channel, 0);
    case('something else', $ask->($body, '200-ok'), '417', $channel, 0);
    case('100-continue twice', $ask->($body, '100-continue, 100-continue'),
        '417', $channel, 0);
    # nothing is asked for where nothing would be taken
    case('where it is not allowed', $ask->($body, '100-continue',
        path => '/hook/closed') =~ s/\r\n\r\n\K.*//sr, '403', $channel, 0);
    case('with HTTP/1.0', $ask->($body, '100-continue')
        =~ s{HTTP/1.1}{HTTP/1.0}r, '200', $channel, 1);
    ($channel, $body) = fresh();
    my ($other, $another) = fresh();
    case('two, one behind the other', $ask->($body, '100-Continue')
        . $ask->($another, '100-continue'), '(?:(?:100 )?200 ?){2}', $other,
        1);
    $stored{$channel} = 1;
    for my $end ('abort', 'close') {
        my $connection = dial($httpd)->write($ask->($body, '100-continue')
            =~ s/\r\n\r\n\K.*//sr);
        is $connection->answer->{status}, 100, "100, then $end";
        $connection->abort if $end eq 'abort';
    }
    return;
}

# Floods of them, up to httpd's limits and beyond.
sub headers {
    my $with = sub { my ($body, $count, $length) = @_;
        return request($body, headers => [map { ("X-$_", 'x' x $length) }
            1 .. $count]) };
    my ($channel, $body) = fresh();
    case('98 of 8,000 bytes', $with->($body, 98, 8_000), '200', $channel, 1);
    ($channel, $body) = fresh();
    case('101 of them', $with->($body, 101, 1), '400', $channel, 0);
    case('100,000 of them', $with->($body, 100_000, 1), '400', $channel, 0);
    case('one of 9,000 bytes', $with->($body, 1, 9_000), '400', $channel, 0);
    case('one of 1 MB', $with->($body, 1, 1_000_000), '400', $channel, 0);
    case('a line of 9,000 bytes', request($body, path => '/hook?'
        . 'x' x 9_000), '414', $channel, 0);
    either('a folded one', request((fresh())[1], headers => [A => "b\r\n c"]),
        '200|400', 'c' . our $number);
    case('no colon', request($body) =~ s/\r\n/\r\nHeader\r\n/r, '400',
        $channel, 0);
    case('a blank before the colon', request($body, headers =>
        ['A ' => 'b']), '400', $channel, 0);
    case('a NUL', request($body, headers => [A => "b\0c"]), '400', $channel,
        0);
    case('two Hosts', request($body) =~ s/\r\n/\r\nHost: localhost\r\n/r,
        '400', $channel, 0);
    return;
}

# The idle ones were kept all the time and still deliver; the slow ones did
# not come through.
sub idle_and_slow {
    my $kept = 0;
    for my $n (1 .. @idle) {
        my $answer = $idle[$n - 1]->write($n % 100
            ? request(undef, method => 'GET')
            : request(body_of('channel.id' => "idle-$n")))->answer;
        $stored{"idle-$n"} = 1 if $answer && $answer->{status} == 200;
        $kept++ if $answer && $answer->{status} == ($n % 100 ? 405 : 200);
    }
    is $kept, scalar @idle, 'all idle ones were kept, and are answered';

    syswrite $slow->{end}, '.'; # closing is not enough: others have it, too
    my %ended = split ' ', do { local $/; readline $slow->{told} };
    waitpid $slow->{pid}, 0;
    note explain \%ended;
    cmp_ok $ended{408} // 0, '>=', ENOUGH, 'slow ones get 408';
    is_deeply [sort grep { !/^(?:408|none)$/ } keys %ended], [],
        'or no answer';
    is $database->value('SELECT count(*) FROM smartsupp_conversation WHERE'
        . " channel_id LIKE 'slow-%'"), 0, 'none of them is stored';
    return;
}

sub others {
    $load->wait_for_more(200, 20);
    $load->stop;
    is_deeply [keys %{$load->statuses}], [200],
        'were answered 200, all of them' or diag explain $load->statuses;
    note $load->count(200) . ' deliveries';
    my @here = (keys %stored, keys %maybe);
    is_deeply [$load->wrong($database, @here)], [], 'and are stored once';
    my %found = map { $_->{channel_id} => 1 } $database->rows('SELECT'
        . ' channel_id FROM smartsupp_conversation');
    delete @found{keys %{$load->sent}};
    is_deeply [grep { !$found{$_} } sort keys %stored], [],
        'so are those that were told so here';
    is_deeply [grep { !$stored{$_} && !$maybe{$_} } sort keys %found], [],
        'and no others';
    is $database->orphans, 0, 'with all that belongs to them';
    return;
}
