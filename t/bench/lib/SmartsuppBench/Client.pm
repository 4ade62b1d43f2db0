package SmartsuppBench::Client;

# The sender: wrk, as an ordinary user.
#
#   my $client = SmartsuppBench::Client->new;
#   my $result = $client->deliver($url, $body, connections => 16,
#       seconds => 3);
#
# gives {requests, taken (2xx), failed ({kind => how many}), seconds, p50, p99,
# p99_9, max}, with the times in microseconds.

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use JSON::PP ();

use SmartsuppBench::Body ();
use SmartsuppTest::Process qw(ordinary_user slurp spew);

our @ISA = ('SmartsuppTest::Process');

use constant TIMEOUT => 20; # s; what takes longer has failed

my $script = dirname(__FILE__) . '/../../wrk.lua';

sub new {
    my ($class) = @_;
    my $self = bless {user => ordinary_user(), owner => $$}, $class;
    $self->make_folder;
    $self->give($self->{root});
    chmod 0755, $self->{root};
    $self->copy_of($script, 0644);
    return $self;
}

# A file in our folder, which the ordinary user can reach.
sub copy_of {
    my ($self, $file, $mode) = @_;
    my $copy = $self->path(basename($file));
    if (!-e $copy) {
        copy($file, $copy) or die "$file: $!\n";
        chmod $mode, $copy;
    }
    return $copy;
}

# A file with that body, for a program to read.
sub file {
    my ($self, $text) = @_;
    my $file = $self->path('body.json');
    spew($file, $text);
    chmod 0644, $file;
    return $file;
}

sub deliver {
    my ($self, $url, $body, %how) = @_;
    $self->run_to_end({}, 'wrk', '--latency', '-t', $how{threads} // 1,
        '-c', $how{connections}, '-d', $how{seconds} . 's',
        '--timeout', TIMEOUT . 's', '-s', $self->path('wrk.lua'), $url, '--',
        $self->file($body->text), $body->first);
    my $output = slurp($self->path('output'));
    my ($line) = $output =~ /^bench (.*)$/m
        or die "wrk has no result:\n$output";
    my $result = JSON::PP->new->decode($line);
    my %failed = map { my $count = delete $result->{$_};
        $count ? ($_ => $count) : () } qw(status connect read write timeout);
    return {%$result, taken => $result->{requests} - ($failed{status} // 0),
        failed => \%failed};
}

# Run a program as the ordinary user, with its output in a file. It ends with
# this object.
sub run_to_end {
    my ($self, $environment, @command) = @_;
    $self->{pid} = $self->spawn_command($self->path('output'), $environment,
        @command);
    waitpid $self->{pid}, 0;
    my $status = $?;
    delete $self->{pid};
    die "$command[0] failed:\n" . slurp($self->path('output')) if $status;
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@, $!);
    $self->kill9;
    $self->remove_folder;
    return;
}

1;
