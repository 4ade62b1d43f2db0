package SmartsuppTest::Load;

# Senders that deliver without a pause, in processes of their own, as careful
# ones do: what was not answered 200 is sent again until it is, to the next
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

# Start so many senders.
sub start {
    my ($class, $httpds, $senders) = @_;
    my $folder = File::Temp->newdir('smartsupp-XXXXXXXX', TMPDIR => 1);
    my $self = bless {httpds => $httpds, folder => $folder, owner => $$,
        answers => [], count => {}, senders => {}}, $class;
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
        for my $version (1 .. ($n % 4 ? 1 : 2)) {
            my $body = body_of(version("$sender-$n", $version));
            until (send_once($self->{httpds}[$target % @{$self->{httpds}}],
                    $body, "$sender-$n $version", $told)) {
                $target++;
                sleep PAUSE;
                return if getppid != $self->{owner}; # the test is gone
            }
        }
    }
    return;
}

sub is_over { return -e "$_[0]{folder}/over" || getppid != $_[0]{owner} }

# Send it, write down what happened; true if it is stored.
sub send_once {
    my ($httpd, $body, $name, $told) = @_;
    my $answer = eval { post($httpd, $body) } // {};
    my $status = $answer->{status} // 0; # 0: hung up
    syswrite $told, join(' ', time, $status, $answer->{result} // '-', $name)
        . "\n";
    return $status == 200;
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
# {time, status, result, channel, version}.
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
            @answer{qw(time status result channel version)}
                = split ' ', $line;
            push @{$self->{answers}}, \%answer;
            $self->{count}{$answer{status}}++;
        }
    }
    return $self->{answers};
}

# How many were answered so.
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

# The end of it: each sender is still told that its last delivery is stored.
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

# The newest version of each conversation that was answered 200.
sub stored {
    my ($self) = @_;
    my %stored;
    for my $answer (grep { $_->{status} == 200 } @{$self->answers}) {
        my ($channel, $version) = @$answer{qw(channel version)};
        $stored{$channel} = $version if $version > ($stored{$channel} // 0);
    }
    return \%stored;
}

# What is wrong in the database after the load was stopped, as sentences: what
# was answered 200 and is missing, is there twice, is of another version or
# has other children; and what nobody has sent, but for the channels @others.
sub wrong {
    my ($self, $database, @others) = @_;
    my $stored = $self->stored;
    my %rows;
    for my $row ($database->rows('SELECT channel_id, end_at FROM'
            . ' smartsupp_conversation')) {
        push @{$rows{$row->{channel_id}}}, $row->{end_at} - END_AT;
    }
    my %children = map { my ($table, $column) = @$_;
        $table => children($database, $table, $column) }
        [message => 'content'], [path => 'url'], [variable => 'value'];
    my @wrong;
    for my $channel (sort keys %$stored) {
        my $version = $stored->{$channel};
        my @versions = @{delete $rows{$channel} // []};
        push @wrong, "$channel: version $version is answered, found: "
            . (@versions ? "@versions" : 'none') if "@versions" ne $version;
        my %expected = (variable => "0 $version",
            map { my ($table, $count) = @$_;
                $table => join "\n", map { "$_ $channel $version $_" }
                    0 .. $count - 1 }
                [message => messages_of($channel, $version)],
                [path => paths_of($channel, $version)]);
        for my $table (sort keys %expected) {
            my $found = join "\n", @{delete $children{$table}{$channel} // []};
            push @wrong, "$channel: other rows in $table"
                if $found ne $expected{$table};
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
