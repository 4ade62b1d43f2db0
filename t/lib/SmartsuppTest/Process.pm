package SmartsuppTest::Process;

# What all private servers of the tests have in common, httpd and databases
# alike: a folder of their own, a port chosen by the kernel, an ordinary user
# to run as, and a session of their own, so that they neither signal a test
# runner nor are told to go by its terminal.

use strict;
use warnings;

use Exporter qw(import);
use File::Path ();
use File::Spec ();
use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(ordinary_user become slurp spew);

# How long to wait for a server to do as told before giving up, in seconds.
# Only a hung one ever takes that long.
use constant PATIENCE => 60;

my @users = qw(www-data apache http httpd daemon nobody);

# A test that is told to end dies, so that its servers end with it.
for my $signal (qw(HUP INT TERM)) {
    $SIG{$signal} //= sub { die "ended by SIG$_[0]\n" };
}

# The user that servers run as: [name, uid, gid] where root calls, else undef,
# which is the caller.
sub ordinary_user {
    return undef if $> != 0;
    for my $name (@users) {
        my (undef, undef, $uid, $gid) = getpwnam $name;
        return [$name, $uid, $gid] if $uid;
    }
    die "no ordinary user to run servers as: tried @users\n";
}

# Give up root's rights for good, in a child that is about to run a server.
sub become {
    my ($user) = @_;
    my ($name, $uid, $gid) = @{$user // return};
    $) = "$gid $gid";
    POSIX::setgid($gid) && POSIX::setuid($uid) && $> == $uid && $< == $uid
        or die "cannot become $name: $!\n";
    return;
}

# A file or folder of the server, named from its own folder.
sub path { my ($self, $name) = @_; return "$self->{root}/$name" }

sub port { return $_[0]{port} }
sub pid  { return $_[0]{pid} }

# A fresh folder, where the ordinary user can reach it.
sub make_folder {
    my ($self) = @_;
    my $parent = $self->{user} ? '/var/tmp' : File::Spec->tmpdir;
    $self->{temporary} = File::Temp->newdir('smartsupp-XXXXXXXX',
        DIR => $parent, CLEANUP => 0);
    return $self->{root} = $self->{temporary}->dirname;
}

# Make a path belong to the user that the server runs as.
sub give {
    my ($self, $path) = @_;
    my $user = $self->{user} or return;
    chown $user->[1], $user->[2], $path or die "chown $path: $!\n";
    return;
}

# A free port. The socket stays bound but does not listen: the kernel then
# gives the port to nobody else, while SO_REUSEADDR lets the server have it.
sub reserve_port {
    my ($self) = @_;
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => 0, Proto => 'tcp', ReuseAddr => 1)
        or die "no free port: $@\n";
    @$self{qw(reservation port)} = ($socket, $socket->sockport);
    return;
}

# Fork and run a command in a session of its own, as the ordinary user, with
# its output in a file; gives the pid. environment: {name => value} to add.
sub spawn_command {
    my ($self, $output, $environment, @command) = @_;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    eval {
        POSIX::setsid();
        become($self->{user});
        open STDIN, '<', '/dev/null' or die "stdin: $!\n";
        open STDOUT, '>', $output or die "$output: $!\n";
        open STDERR, '>&', \*STDOUT or die "stderr: $!\n";
        chdir $self->{root} or die "chdir: $!\n";
        @ENV{keys %$environment} = values %$environment;
        exec { $command[0] } @command or die "$command[0]: $!\n";
    };
    print STDERR $@;
    POSIX::_exit(127);
}

# All processes of its session that are not zombies.
sub processes {
    my ($self) = @_;
    my $session = $self->{pid} or return;
    return map { $_->{pid} } grep { $_->{session} == $session } all_processes();
}

# Its processes by descent, the first one first: a server may give each of them
# a session of its own, as PostgreSQL does. Who has lost its parent is not
# among them.
sub tree {
    my ($self) = @_;
    my $first = $self->{pid} or return;
    my @all = all_processes();
    my (@found) = map { $_->{pid} }
        grep { $_->{pid} == $first && $_->{session} == $first } @all;
    for (my $i = 0; $i < @found; $i++) {
        push @found, map { $_->{pid} } grep { $_->{parent} == $found[$i] } @all;
    }
    return @found;
}

# Who runs on this machine, but for zombies: {pid, parent, session}.
sub all_processes {
    my @found;
    for my $file (glob '/proc/[0-9]*/stat') {
        my $line = eval { slurp($file) } // next;
        my %process;
        (@process{qw(pid state parent session)})
            = $line =~ /^(\d+) \(.*\) (\S) (\d+) \S+ (\d+)/s or next;
        push @found, \%process if $process{state} !~ /[ZX]/;
    }
    return @found;
}

# What the threads of processes wait for, as the kernel and, where there is one,
# the debugger tell: for a failure that does not come back when it is called.
sub where_they_stand {
    my ($self, @pids) = @_;
    my @told;
    for my $pid (@pids) {
        for my $thread (glob "/proc/$pid/task/*") {
            push @told, join ' ', $thread, map { eval { slurp("$thread/$_") }
                // '' } qw(wchan syscall);
        }
        push @told, grep { /^(#|Thread)/ } split /^/,
            qx(timeout 20 gdb -p $pid -batch -ex 'thread apply all bt' 2>&1);
    }
    return @told;
}

# All of its processes stand still, or go on. The first one stands still before
# the others, so that it starts no more of them.
sub pause {
    my ($self) = @_;
    my ($first) = $self->tree;
    kill 'STOP', $first // return;
    kill 'STOP', $self->tree;
    return;
}

sub resume {
    my ($self) = @_;
    kill 'CONT', reverse $self->tree;
    return;
}

# kill -9 for all of them, all at once; harmless where none is left.
sub kill9 {
    my ($self) = @_;
    my $pid = $self->{pid} or return;
    $self->pause;
    my %killed;
    $self->wait_for(sub {
        my @ours = ($self->tree, $self->processes);
        kill 'KILL', @ours;
        @killed{@ours} = ();
        waitpid $pid, 1;
        return !grep { exists $killed{$_->{pid}} } all_processes();
    });
    delete $self->{pid};
    return;
}

# True as soon as the condition is; false after PATIENCE seconds.
sub wait_for {
    my ($self, $condition) = @_;
    my $end = time + PATIENCE;
    until ($condition->()) {
        return 0 if time > $end;
        sleep 0.02;
    }
    return 1;
}

# Remove the folder, if it is a temporary one.
sub remove_folder {
    my ($self) = @_;
    my $folder = delete $self->{temporary} or return;
    return File::Path::remove_tree("$folder");
}

# The whole of a file; dies when it cannot be read.
sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return scalar(<$in>) // '';
}

# Write a whole file.
sub spew {
    my ($file, $text) = @_;
    open my $out, '>:raw', $file or die "$file: $!\n";
    print $out $text;
    close $out or die "$file: $!\n";
    return;
}

1;
