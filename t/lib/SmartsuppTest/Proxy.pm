package SmartsuppTest::Proxy;

# A TCP proxy between httpd and a database server that hangs up at a chosen
# moment, and counts how often the server was waited for.
#
#   my $proxy = SmartsuppTest::Proxy->new($server->port);
#   my $database = SmartsuppTest::Database->new($kind,
#       through => $proxy->port);
#   $proxy->cut(after => 'COMMIT', 2);
#
# It is a process of its own, which ends with the test.

use strict;
use warnings;

use IO::Select ();
use IO::Socket::INET ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC IPPROTO_TCP TCP_NODELAY);

sub new {
    my ($class, $port) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => 0, Proto => 'tcp', Listen => 128)
        or die "no free port: $@\n";
    socketpair my $ours, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $ours;
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        $SIG{PIPE} = 'IGNORE';
        eval { serve({listener => $listener, control => $its,
            server => $port, times => 0, turns => 0, peers => {}}) };
        print STDERR $@ if $@;
        POSIX::_exit(0);
    }
    $ours->autoflush(1);
    return bless {pid => $pid, owner => $$, control => $ours,
        port => $listener->sockport}, $class;
}

sub port { return $_[0]{port} }

# Hang up so many times when httpd sends what this pattern (a string) matches:
# before the server gets it, or after the server has answered, without passing
# the answer on.
sub cut {
    my ($self, $when, $words, $times) = (@_, 1);
    $self->ask("$when $times $words");
    return;
}

# How many of these are still to come.
sub left { my ($self) = @_; return $self->ask('left') }

# How many times the server was waited for since the last call.
sub turns { my ($self) = @_; return $self->ask('turns') }

sub ask {
    my ($self, $line) = @_;
    syswrite $self->{control}, "$line\n";
    my $answer = readline($self->{control}) // die "the proxy is gone\n";
    chomp $answer;
    return $answer;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!);
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

# What follows runs in the process of the proxy. A connection is a pair of
# sockets, peers of each other: {socket, peer, to_server, tail}.

sub serve {
    my ($self) = @_;
    $self->{select} = IO::Select->new(@$self{qw(listener control)});
    while (1) {
        for my $socket ($self->{select}->can_read) {
            if ($socket == $self->{listener}) { open_pair($self) }
            elsif ($socket == $self->{control}) {
                defined sysread $socket, my $line, 4096 or return;
                length $line or return;
                syswrite $socket, obey($self, $line) . "\n";
            }
            elsif (my $end = $self->{peers}{$socket}) {
                pass_on($self, $end);
            }
        }
    }
}

sub obey {
    my ($self, $line) = @_;
    return $self->{times} if $line =~ /^left/;
    if ($line =~ /^turns/) {
        my $turns = $self->{turns};
        $self->{turns} = 0;
        return $turns;
    }
    (@$self{qw(when times words)}) = $line =~ /^(\w+) (\d+) (.*)/;
    $self->{words} = qr/$self->{words}/;
    return 'ok';
}

sub open_pair {
    my ($self) = @_;
    my $client = $self->{listener}->accept or return;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->{server}, Proto => 'tcp');
    return close $client if !$server;
    my $one = {socket => $client, to_server => 1, tail => ''};
    my $two = {socket => $server, peer => $one};
    $one->{peer} = $two;
    for my $end ($one, $two) {
        setsockopt $end->{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
        $self->{peers}{$end->{socket}} = $end;
        $self->{select}->add($end->{socket});
    }
    return;
}

sub close_pair {
    my ($self, $end) = @_;
    for my $one ($end, $end->{peer}) {
        delete $self->{peers}{$one->{socket}};
        $self->{select}->remove($one->{socket});
        close $one->{socket};
    }
    delete $end->{peer}{peer};
    delete $end->{peer};
    return;
}

sub pass_on {
    my ($self, $end) = @_;
    sysread $end->{socket}, my $bytes, 65536
        or return close_pair($self, $end);
    if ($end->{to_server}) {
        $self->{turns}++ if !$end->{asking};
        $end->{asking} = 1;
        my $seen = $end->{tail} . $bytes;
        $end->{tail} = substr $seen, -20;
        if ($self->{times} && $seen =~ $self->{words}) {
            $self->{times}--;
            $end->{tail} = '';
            return close_pair($self, $end) if $self->{when} eq 'before';
            $end->{doomed} = 1;
        }
    }
    else {
        return close_pair($self, $end) if $end->{peer}{doomed};
        $end->{peer}{asking} = 0;
    }
    while (length $bytes) {
        my $sent = syswrite $end->{peer}{socket}, $bytes;
        return close_pair($self, $end) if !defined $sent;
        substr $bytes, 0, $sent, '';
    }
    return;
}

1;
