package SmartsuppBench::Trace;

# How often a contestant and its database server wait for the disk, and how
# often the one talks to the other, per delivery: counted by strace while some
# deliveries go in.
#
#   my $counts = SmartsuppBench::Trace->new($bench)->count($contestant,
#       $connections);
#
# gives {deliveries, fsyncs, round_trips}, the latter two per delivery;
# round_trips is undef where nobody is talked to.

use strict;
use warnings;

use Time::HiRes qw(sleep);

use SmartsuppBench::Body ();
use SmartsuppTest::Delivery qw(dial parallel request);
use SmartsuppTest::Process qw(slurp);

our @ISA = ('SmartsuppTest::Process');

use constant DELIVERIES => 192; # divides by 1 and 16
use constant WARM_UP => 2;      # deliveries a connection

my $syncs = 'fsync,fdatasync,sync_file_range,msync';
my $sends = 'sendto,sendmsg,write,writev';

# Why there can be no trace, or undef.
sub missing {
    return undef if grep { -x "$_/strace" } split /:/, $ENV{PATH};
    return 'strace is missing';
}

sub new {
    my ($class) = @_;
    my $self = bless {owner => $$}, $class;
    $self->make_folder;
    return $self;
}

sub count {
    my ($self, $contestant, $connections) = @_;
    my $body = SmartsuppBench::Body->new(2);
    my $each = DELIVERIES / $connections;
    $contestant->clear;
    my @first = map { $body->first } 1 .. $connections;
    $self->post_all($contestant, $body, $each, @first);
    return {deliveries => $each * $connections,
        fsyncs => $self->{fsyncs} / $each / $connections,
        round_trips => $contestant->database_server
            ? $self->{round_trips} / $each / $connections : undef};
}

# Deliver from as many processes as there are numbers: first to warm up, then
# traced.
sub post_all {
    my ($self, $contestant, $body, $each, @first) = @_;
    pipe my $ready, my $is_ready or die "pipe: $!\n";
    pipe my $go, my $goes or die "pipe: $!\n";
    parallel(scalar @first, sub {
        close $goes;
        my $channel = $first[$_[0]];
        my $connection = dial($contestant->address);
        deliver($contestant, $connection, $body, $channel++) for 1 .. WARM_UP;
        syswrite $is_ready, '.';
        sysread $go, my $nothing, 1; # until it is closed
        deliver($contestant, $connection, $body, $channel++) for 1 .. $each;
        return 1;
    }, sub {
        close $go;
        close $is_ready;
        for (@first) {
            sysread $ready, my $sign, 1 or die "a sender has failed\n";
        }
        $self->attach($contestant);
        close $goes;
    });
    $self->detach($contestant);
    return;
}

sub deliver {
    my ($contestant, $connection, $body, $channel) = @_;
    my $answer = $connection->write(request($body->with($channel),
        path => $contestant->path))->answer;
    my $status = $answer->{status} // 'not at all';
    die "a delivery was answered $status\n" if $status !~ /^2/;
    return;
}

sub attach {
    my ($self, $contestant) = @_;
    my $server = $contestant->database_server;
    my @pids = ($contestant->receivers, $server ? $server->tree : ());
    my $log = $self->path('log');
    $self->{pid} = $self->spawn_command($log, {}, 'strace', '-f', '-yy',
        '-s', 0, '-e', "trace=$syncs,$sends", '-o', $self->path('calls'),
        map { ('-p', $_) } @pids);
    $self->wait_for(sub {
        die 'strace ended: ', slurp($log) if waitpid $self->{pid}, 1;
        my $said = eval { slurp($log) } // '';
        return @pids <= (() = $said =~ /attached\b/g);
    }) or die "strace does not attach\n";
    sleep 0.2; # to the threads as well
    return;
}

sub detach {
    my ($self, $contestant) = @_;
    sleep 0.2; # what is on its way
    kill 'INT', $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    my $server = $contestant->database_server;
    my $to = $server ? qr/->127\.0\.0\.1:@{[$server->port]}\]>/ : qr/(?!)/;
    @$self{qw(fsyncs round_trips)} = (0, 0);
    for my $line (split /\n/, slurp($self->path('calls'))) {
        next if $line !~ /^\d+ +(\w+)\(/; # the second half of a call
        my $call = $1;
        $self->{fsyncs}++ if ",$syncs," =~ /,$call,/;
        $self->{round_trips}++ if ",$sends," =~ /,$call,/ && $line =~ $to;
    }
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@, $!);
    # not kill9, which would stop whom it watches first
    if ($self->{pid}) {
        kill 'KILL', $self->{pid};
        waitpid $self->{pid}, 0;
    }
    $self->remove_folder;
    return;
}

1;
