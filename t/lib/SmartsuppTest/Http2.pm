package SmartsuppTest::Http2;

# A sender with one HTTP/2 connection (RFC 9113, with prior knowledge) and many
# streams on it, whose frames it mixes; curl sends one after the other.
#
#   my $sender = SmartsuppTest::Http2->connect($httpd);
#   is_deeply [$sender->post(@bodies)], [(200) x @bodies];
#   my $stream = $sender->begin($body, 1_000); # not all of it
#   $sender->reset($stream);

use strict;
use warnings;

use IO::Select;

use SmartsuppTest::Delivery qw(dial);

use constant {DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4,
    PING => 6, GOAWAY => 7, WINDOW_UPDATE => 8};
use constant {END_STREAM => 1, ACK => 1, END_HEADERS => 4};
use constant {HEADER_TABLE_SIZE => 1, MAX_CONCURRENT_STREAMS => 3,
    INITIAL_WINDOW_SIZE => 4};
use constant WINDOW => 65_535; # at first, of a stream and of all of them
use constant PIECE => 1_000;   # of a body, in one frame
use constant CANCEL => 8;

sub connect {
    my ($class, $httpd) = @_;
    my $self = bless {connection => dial($httpd), next => 1, window => WINDOW,
        initial => WINDOW, most => 0, streams => {}}, $class;
    $self->{connection}->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    # no table: then each block can be read by itself
    $self->frame(SETTINGS, 0, 0, pack 'n N', HEADER_TABLE_SIZE, 0);
    $self->read while !$self->{most};
    return $self;
}

sub frame {
    my ($self, $type, $flags, $stream, $payload) = @_;
    $self->{connection}->write(substr(pack('N', length $payload), 1)
        . pack('CCN', $type, $flags, $stream) . $payload);
    return;
}

# The status that a block begins with (RFC 7541): one of those that have an
# index, or three digits, plain or in Huffman's code.
sub status_of {
    my ($block) = @_;
    $block =~ s/\A[\x20-\x3f]+//; # the table's size
    my ($first, $length, $value) = unpack 'C C a*', $block;
    my @indexed = (200, 204, 206, 304, 400, 404, 500);
    return $indexed[$first - 0x88] if $first >= 0x88 && $first <= 0x8e;
    return substr $value, 0, $length if !($length & 0x80);
    my $bits = unpack 'B*', substr $value, 0, $length & 0x7f;
    my $digits = '';
    while ($bits =~ s/\A(000[01][01]|01[01]{4})//) {
        my $code = oct "0b$1";
        $digits .= length $1 == 5 ? $code : $code - 22; # 3 is 011001
    }
    return $digits;
}

# A header block whose fields are all literal, and indexed nowhere.
sub block {
    my (@fields) = @_;
    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $block .= "\x10" . join '', map { pack 'C/a', $_ } $name, $value;
    }
    return $block;
}

# Open a stream for a delivery; nothing of the body is sent.
sub open {
    my ($self, $body) = @_;
    my $id = $self->{next};
    $self->{next} += 2;
    $self->frame(HEADERS, END_HEADERS, $id, block(':method' => 'POST',
        ':scheme' => 'http', ':path' => '/hook', ':authority' => 'localhost',
        'content-length' => length $body));
    $self->{streams}{$id} = {id => $id, rest => $body,
        window => $self->{initial}};
    return $self->{streams}{$id};
}

# Send some of its body, as far as the windows allow. True if that was some.
sub send_some {
    my ($self, $stream, $most) = @_;
    my $length = length $stream->{rest};
    for my $limit ($most // PIECE, $stream->{window}, $self->{window}) {
        $length = $limit if $length > $limit;
    }
    return 0 if $length <= 0;
    my $piece = substr $stream->{rest}, 0, $length, '';
    $_->{window} -= $length for $stream, $self;
    $self->frame(DATA, length $stream->{rest} ? 0 : END_STREAM, $stream->{id},
        $piece);
    return 1;
}

# Deliver all of these, as many at once as the server takes; their statuses,
# or 'reset' or 'closed'.
sub post {
    my ($self, @bodies) = @_;
    my (@streams, @sending);
    while (@bodies || grep { !$_->{end} } @streams) {
        my $open = grep { !$_->{end} } values %{$self->{streams}};
        while (@bodies && $open++ < $self->{most}) {
            push @streams, $self->open(shift @bodies);
        }
        my $sent = 0;
        $sent += $self->send_some($_)
            for grep { !$_->{end} && length $_->{rest} } @streams;
        while (!$sent || $self->is_readable) {
            $self->read or return map { $_->{end} // 'closed' } @streams;
            last if !$sent;
        }
    }
    return map { $_->{end} } @streams;
}

sub begin {
    my ($self, $body, $length) = @_;
    my $stream = $self->open($body);
    for (; $length > 0; $length -= PIECE) {
        $self->send_some($stream, $length < PIECE ? $length : PIECE);
    }
    return $stream;
}

# Give a stream up.
sub reset {
    my ($self, $stream) = @_;
    $self->frame(RST_STREAM, 0, $stream->{id}, pack 'N', CANCEL);
    $stream->{end} //= 'reset';
    return;
}

sub is_readable {
    my ($self) = @_;
    return length $self->{connection}{buffer} >= 9
        || IO::Select->new($self->{connection}{socket})->can_read(0);
}

# Read a frame, and do what it asks for. False at the end.
sub read {
    my ($self) = @_;
    my $head = $self->{connection}->take(9);
    return 0 if length $head < 9;
    my ($type, $flags, $id) = unpack 'x3 C C N', $head;
    my $payload = $self->{connection}->take(unpack 'N', "\0$head");
    my $stream = $self->{streams}{$id};
    if ($type == SETTINGS && !($flags & ACK)) {
        $self->settings(unpack '(n N)*', $payload);
    }
    elsif ($type == PING && !($flags & ACK)) {
        $self->frame(PING, ACK, 0, $payload);
    }
    elsif ($type == WINDOW_UPDATE) {
        ($stream // $self)->{window} += unpack 'N', $payload;
    }
    elsif ($type == HEADERS && $stream) {
        $stream->{status} = status_of($payload);
    }
    elsif ($type == RST_STREAM && $stream) {
        $stream->{end} //= $stream->{status} // 'reset';
    }
    elsif ($type == DATA) { # what was read may come again
        $self->frame(WINDOW_UPDATE, 0, 0, pack 'N', length $payload)
            if length $payload;
    }
    $stream->{end} //= $stream->{status} // 'none'
        if $stream && $flags & END_STREAM && ($type == DATA
        || $type == HEADERS);
    return 1;
}

sub settings {
    my ($self, %settings) = @_;
    $self->{most} = $settings{+MAX_CONCURRENT_STREAMS} // 100;
    if (my $window = $settings{+INITIAL_WINDOW_SIZE}) {
        $_->{window} += $window - $self->{initial}
            for values %{$self->{streams}};
        $self->{initial} = $window;
    }
    $self->frame(SETTINGS, ACK, 0, '');
    return;
}

1;
