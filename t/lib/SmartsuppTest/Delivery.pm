package SmartsuppTest::Delivery;

# What Smartsupp sends: bodies, and ways to send them, from the plain POST to
# the sender that stalls in the middle. All over a bare socket, so that a test
# decides about every byte.

use strict;
use warnings;

use Cwd ();
use Exporter qw(import);
use File::Basename qw(dirname);
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Storable qw(dclone);

our @EXPORT = qw(sample conversation body_of chunked post get request
    dial parallel);

my $data = Cwd::realpath(dirname(__FILE__) . '/../../data');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# The published sample, byte for byte (or another file of t/data).
sub sample {
    my ($name) = (@_, 'conversation.json');
    open my $in, '<:raw', "$data/$name" or die "$data/$name: $!\n";
    local $/;
    return scalar <$in>;
}

# The sample as a structure with some of it changed, told by path:
#   conversation('channel.id' => 'x', endAt => undef, messages => [])
# A value of \'absent' takes the key away.
sub conversation {
    my @changes = @_;
    our $sample //= $json->decode(sample());
    my $root = dclone($sample);
    while (my ($path, $value) = splice @changes, 0, 2) {
        my @keys = split /\./, $path;
        my $last = pop @keys;
        my $parent = $root;
        $parent = ref $parent eq 'ARRAY' ? $parent->[$_]
            : ($parent->{$_} //= {}) for @keys;
        if (ref $parent eq 'ARRAY') { $parent->[$last] = $value }
        elsif (ref $value eq 'SCALAR' && $$value eq 'absent') {
            delete $parent->{$last};
        }
        else { $parent->{$last} = $value }
    }
    return $root;
}

# The body for a structure; with changes as above, for the changed sample.
sub body_of {
    return $json->encode(@_ == 1 ? $_[0] : conversation(@_));
}

# The same bytes with Transfer-Encoding: chunked, in pieces of that size.
sub chunked {
    my ($body, $size) = (@_, 1000);
    my $out = '';
    for (my $at = 0; $at < length $body; $at += $size) {
        my $piece = substr $body, $at, $size;
        $out .= sprintf "%x\r\n%s\r\n", length $piece, $piece;
    }
    return "${out}0\r\n\r\n";
}

# The bytes of a request. Options: method, path, headers (a list of name and
# value; it may take back Host or Content-Length with undef).
sub request {
    my ($body, %options) = @_;
    my $method = $options{method} // 'POST';
    my $path = $options{path} // '/hook';
    my %given = @{$options{headers} // []};
    my @headers = @{$options{headers} // []};
    unshift @headers, Host => 'localhost' if !exists $given{Host};
    unshift @headers, 'Content-Length' => length $body
        if defined $body && !exists $given{'Content-Length'}
        && !exists $given{'Transfer-Encoding'};
    my $text = "$method $path HTTP/1.1\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n" if defined $value;
    }
    return "$text\r\n" . ($body // '');
}

# Send one delivery on a connection of its own and give the answer:
# {status, headers (lower case), body, json, result}. Options as for request.
sub post {
    my ($httpd, $body, %options) = @_;
    my @headers = (Connection => 'close', @{$options{headers} // []});
    return dial($httpd)->write(request($body, %options,
        headers => \@headers))->answer;
}

sub get {
    my ($httpd, $path, %options) = @_;
    return post($httpd, undef, method => 'GET', path => $path, %options);
}

# Run code in N processes at once: code(0) ... code(N-1). Gives what each
# returned, which must fit JSON. meanwhile runs here as soon as they are made.
sub parallel {
    my ($count, $code, $meanwhile) = @_;
    my @pipes;
    for my $i (0 .. $count - 1) {
        pipe my $read, my $write or die "pipe: $!\n";
        my $pid = fork // die "fork: $!\n";
        push(@pipes, [$pid, $read]), next if $pid;
        close $read;
        my $result = eval { $code->($i) };
        print $write $json->encode($@ ? {died => "$@"} : $result);
        close $write;
        POSIX::_exit(0);
    }
    $meanwhile->() if $meanwhile;
    return map {
        my ($pid, $read) = @$_;
        my $text = do { local $/; <$read> };
        waitpid $pid, 0;
        my $result = $json->decode($text);
        die "in process: $result->{died}"
            if ref $result eq 'HASH' && exists $result->{died};
        $result;
    } @pipes;
}

# A connection to the server.
sub dial {
    my ($httpd) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $httpd->port, Proto => 'tcp')
        or die "cannot connect to httpd: $@\n";
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    return bless {socket => $socket, buffer => ''},
        'SmartsuppTest::Delivery::Connection';
}

package SmartsuppTest::Delivery::Connection;

# Send bytes. A server that has hung up meanwhile is no error here: what it
# said can still be read.
sub write {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {
        my $sent = syswrite $self->{socket}, $bytes;
        last if !defined $sent;
        substr $bytes, 0, $sent, '';
    }
    return $self;
}

# The next answer, or undef when the server closed without one. An interim
# one (100 Continue) is an answer too.
sub answer {
    my ($self) = @_;
    my $head = $self->up_to(qr/\A(.*?\r\n)\r\n/s) // return undef;
    my ($status) = $head =~ m{\AHTTP/1\.1 (\d+)} or die "not HTTP: $head\n";
    my %headers;
    $headers{lc $1} = $2 while $head =~ /^([^:\r\n]+):[ \t]*([^\r\n]*)\r$/mg;
    my $answer = {status => $status, headers => \%headers,
        result => $headers{'smartsupp-result'}, body => ''};
    return $answer if $status < 200;
    $answer->{body} = $self->body(\%headers);
    $answer->{json} = eval { JSON::PP->new->utf8->decode($answer->{body}) };
    return $answer;
}

# The body that belongs to these headers.
sub body {
    my ($self, $headers) = @_;
    my $length = $headers->{'content-length'};
    return $self->take($length) if defined $length;
    return $self->take if ($headers->{'transfer-encoding'} // '') ne 'chunked';
    my $body = '';
    while (my $size = hex($self->up_to(qr/\A([0-9a-f]+)[^\r]*\r\n/i) // 0)) {
        $body .= $self->take($size);
        $self->take(2);
    }
    $self->take(2);
    return $body;
}

# What a pattern's first group matches at the start of the stream; it is
# consumed with the whole match. undef when the stream ends before.
sub up_to {
    my ($self, $pattern) = @_;
    while (1) {
        return $1 if $self->{buffer} =~ s/$pattern//;
        $self->fill or return undef;
    }
}

# So many bytes, or all until the server closes.
sub take {
    my ($self, $length) = @_;
    while (!defined $length || length $self->{buffer} < $length) {
        $self->fill or last;
    }
    return substr $self->{buffer}, 0, $length // length $self->{buffer}, '';
}

sub fill {
    my ($self) = @_;
    return sysread $self->{socket}, $self->{buffer}, 65536,
        length $self->{buffer};
}

# True when the server has closed and said no more.
sub closed { my ($self) = @_; return $self->take eq '' }

# Hang up at once, with a reset, as a sender that crashes does.
sub abort {
    my ($self) = @_;
    setsockopt $self->{socket}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
        pack 'ii', 1, 0;
    close $self->{socket};
    return;
}

1;
