package SmartsuppTest::Load;

# Senders that deliver without a pause, in processes of their own, as careful
# ones do: what was not taken, with 200, is sent again until it is, to the next
# httpd if there are several. What each of them was told is kept.
#
#   my $load = SmartsuppTest::Load->start([$httpd], 8);
#   $load->wait_for_more(200, 100);
#   ... a database server dies ...
#   $load->wait_for_more(200, 100);
#   $load->stop;
#   is_deeply [$load->wrong($database)], [];
#
# Every conversation is new, with children of its own, and every fourth of
# them is followed by a newer version with others.

use strict;
use warnings;

use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);

use SmartsuppTest::Delivery qw(body_of post);
use SmartsuppTest::Process qw(spew);

our @ISA = ('SmartsuppTest::Process'); # for its PATIENCE

use constant PAUSE => 0.1; # before something is sent again, in seconds
use constant END_AT => 1427470476000; # of version 0

# Start so many senders. Options:
#   taken     the statuses of what is taken, in place of [200]
#   careless  so many of the senders send each delivery only once, whatever
#             becomes of it
#   request   code that is given a body and gives the options of its POST
sub start {
    my ($class, $httpds, $senders, %options) = @_;
    my $folder = File::Temp->newdir('smartsupp-XXXXXXXX', TMPDIR => 1);
    my $self = bless {taken => [200], careless => 0,
        request => sub { () }, %options,
        httpds => $httpds, folder => $folder, owner => $$, answers => [],
        count => {}, senders => {}}, $class;
    for my $sender (1 .. $senders) {
        open my $told, '>>', "$folder/$sender" or die "$folder: $!\n";
        my $pid = fork // die "fork: $!\n";
        if (!$pid) {
            eval { $self->deliver($sender, $told) };
            print STDERR "sender $sender: $@" if $@;
            POSIX::_exit($@ ? 1 : 0);
        }
        open $self->{senders}{$pid}, '<', "$folder/$sender" or die $!;
    }
    return $self;
}

# The life of a sender: one conversation after the other until the load is
# over, none left half-way.
sub deliver {
    my ($self, $sender, $told) = @_;
    my $target = $sender;
    for (my $n = 1; !$self->is_over; $n++) {
        my $channel = "$sender-$n";
        for my $version (1 .. ($n % 4 ? 1 : 2)) {
            my $body = body_of(version($channel, $version));
            until ($self->send_once($self->{httpds}[$target
                    % @{$self->{httpds}}], $body, "$channel $version", $told)) {
                $target++;
                sleep PAUSE;
                return if getppid != $self->{owner}; # the test is gone
                last if $sender <= $self->{careless};
            }
        }
    }
    return;
}

sub is_over { return -e "$_[0]{folder}/over" || getppid != $_[0]{owner} }

# Send it, write down what happened; true if it is taken. A status of 0 is no
# answer: httpd refused the connection, hung up, or had us wait for too long.
sub send_once {
    my ($self, $httpd, $body, $name, $told) = @_;
    my $start = time;
    local $SIG{ALRM} = sub { die "hangs\n" };
    alarm $self->PATIENCE;
    my $answer = eval { post($httpd, $body, $self->{request}->($body)) };
    alarm 0;
    my $status = $answer ? $answer->{status} : 0;
    my $result = $answer ? $answer->{result} // '-'
        : $@ =~ /hangs/ ? 'hangs' : $@ =~ /cannot connect/ ? 'refused'
        : 'hung-up';
    syswrite $told, join(' ', time, $status, $result, $name,
        sprintf('%.3f', time - $start)) . "\n";
    return scalar grep { $_ == $status } @{$self->{taken}};
}

# How many messages and pages a version has, and it as changes to the sample.
sub messages_of { return 1 + $_[1] * length($_[0]) % 7 }
sub paths_of    { return $_[1] * length($_[0]) % 3 }

sub version {
    my ($channel, $version) = @_;
    return ('channel.id' => $channel, endAt => END_AT + $version,
        messages => [map { {type => 'agent', from => 'agent:3',
            sentAt => END_AT + $_, content => "$channel $version $_"} }
            0 .. messages_of($channel, $version) - 1],
        paths => [map { {url => "$channel $version $_", title => ''} }
            0 .. paths_of($channel, $version) - 1],
        'visitor.variables' => {version => {label => $channel,
            value => "$version"}});
}

# All answers so far, oldest first for each sender, as a list of
# {time, status, result, channel, version, took}, with times in seconds.
sub answers {
    my ($self) = @_;
    for my $told (values %{$self->{senders}}) {
        seek $told, 0, 1; # past the end that was met
        while (my $line = <$told>) {
            if ($line !~ /\n\z/) { # half written: later, as a whole
                seek $told, -length $line, 1;
                last;
            }
            my %answer;
            @answer{qw(time status result channel version took)}
                = split ' ', $line;
            push @{$self->{answers}}, \%answer;
            $self->{count}{$answer{status}}++;
        }
    }
    return $self->{answers};
}

# How many were answered so: {status => count}, or for one status.
sub statuses { my ($self) = @_; $self->answers; return {%{$self->{count}}} }

sub count {
    my ($self, $status) = @_;
    $self->answers;
    return $self->{count}{$status} // 0;
}

# Wait until so many more are answered with that status.
sub wait_for_more {
    my ($self, $status, $more) = @_;
    my $before = $self->count($status);
    return $self->wait_for(sub { $self->count($status) >= $before + $more })
        || die "no $more answers $status: the load hangs\n";
}

# The end of it: each sender is still told of its last delivery.
sub stop {
    my ($self) = @_;
    spew("$self->{folder}/over", '');
    my @failed;
    for my $pid (sort keys %{$self->{senders}}) {
        my $gone;
        $self->wait_for(sub { $gone ||= waitpid $pid, 1 })
            or die "a sender hangs\n";
        push @failed, $pid if $?;
    }
    die "senders failed: @failed\n" if @failed;
    $self->answers;
    return $self;
}

# The newest version of each conversation that was taken; that was sent.
sub stored {
    my ($self) = @_;
    my %taken = map { $_ => 1 } @{$self->{taken}};
    return newest(grep { $taken{$_->{status}} } @{$self->answers});
}

sub sent { my ($self) = @_; return newest(@{$self->answers}) }

sub newest {
    my %newest;
    for my $answer (@_) {
        my ($channel, $version) = @$answer{qw(channel version)};
        $newest{$channel} = $version if $version > ($newest{$channel} // 0);
    }
    return \%newest;
}

# The longest time in which nothing was taken, in seconds.
sub longest_gap {
    my ($self) = @_;
    my %taken = map { $_ => 1 } @{$self->{taken}};
    my ($longest, $last) = (0);
    for my $answer (sort { $a->{time} <=> $b->{time} } @{$self->answers}) {
        $last //= $answer->{time};
        my $gap = $answer->{time} - $last;
        $longest = $gap if $gap > $longest;
        $last = $answer->{time} if $taken{$answer->{status}};
    }
    return $longest;
}

# What is wrong in the database after the load was stopped, as sentences: what
# was taken and is missing, is there twice, is of an older version or has other
# children; and what nobody has sent, but for the channels @others. What was
# sent and not taken may be there or not.
sub wrong {
    my ($self, $database, @others) = @_;
    my ($stored, $sent) = ($self->stored, $self->sent);
    my %rows;
    for my $row ($database->rows('SELECT channel_id, end_at FROM'
            . ' smartsupp_conversation')) {
        push @{$rows{$row->{channel_id}}}, $row->{end_at} - END_AT;
    }
    my %children = map { my ($table, $column) = @$_;
        $table => children($database, $table, $column) }
        [message => 'content'], [path => 'url'], [variable => 'value'];
    my @wrong;
    for my $channel (sort keys %$sent) {
        my @versions = @{delete $rows{$channel} // []};
        my $least = $stored->{$channel} // 0;
        if (@versions ? @versions > 1 || $versions[0] < $least
                || $versions[0] > $sent->{$channel} : $least > 0) {
            push @wrong, "$channel: version $least is taken, $sent->{$channel}"
                . ' was sent, found: ' . (@versions ? "@versions" : 'none');
        }
        my %expected = @versions ? expected($channel, $versions[0]) : ();
        for my $table (sort keys %children) {
            my $found = join "\n", @{delete $children{$table}{$channel} // []};
            push @wrong, "$channel: other rows in $table"
                if $found ne ($expected{$table} // '');
        }
    }
    delete @{$_}{@others} for \%rows, values %children;
    push @wrong, map { "$_: nobody has sent it" } sort keys %rows;
    for my $table (sort keys %children) {
        push @wrong, map { "$_: nobody has sent this $table" }
            sort keys %{$children{$table}};
    }
    return @wrong;
}

# The children of a version, as `children` gives them, but as one text.
sub expected {
    my ($channel, $version) = @_;
    return (variable => "0 $version",
        map { my ($table, $count) = @$_;
            $table => join "\n", map { "$_ $channel $version $_" }
                0 .. $count - 1 }
            [message => messages_of($channel, $version)],
            [path => paths_of($channel, $version)]);
}

# The rows of a child table by channel: {channel => ['seq text', ...]}.
sub children {
    my ($database, $table, $column) = @_;
    my %found;
    push @{$found{$_->{channel_id}}}, "$_->{seq} $_->{text}"
        for $database->rows("SELECT channel_id, seq, $column AS text FROM"
            . " smartsupp_$table ORDER BY channel_id, seq");
    return \%found;
}

# The safety net: a test that died leaves no sender behind.
sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@, $!);
    for my $pid (keys %{$self->{senders}}) {
        next if waitpid($pid, 1) != 0; # reaped: it may be another's by now
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }
    return;
}

1;
