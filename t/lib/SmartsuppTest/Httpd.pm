package SmartsuppTest::Httpd;

# A private httpd for one test: its own ServerRoot in a temporary folder, a
# port chosen by the kernel, the configuration written in the test.
#
#   my $httpd = SmartsuppTest::Httpd->new(conf => <<'CONF')->start;
#   SmartsuppTablePrefix chat_
#   CONF
#   ... requests to $httpd->port ...
#   $httpd->expect_log('SMARTSUPP0203');
#   $httpd->done;
#
# done stops it and fails the test when the error log holds a warning or error
# that was not announced, a sanitizer's line or a crashed child. Called by
# root, httpd runs as an ordinary user. It leads a session of its own, because
# it signals its whole process group when it stops.
#
# Environment: SMARTSUPP_MPM (event, worker, prefork), SMARTSUPP_MODULE (the
# .so to load), SMARTSUPP_HTTPD_WRAPPER (words to put before httpd's command,
# such as `env LD_PRELOAD=libasan.so.8`), SMARTSUPP_KEEP (do not remove the
# folders).

use strict;
use warnings;

use Cwd ();
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use IO::Socket::INET ();
use Test::More ();
use Time::HiRes qw(sleep time);

use SmartsuppTest::Database ();
use SmartsuppTest::Process qw(ordinary_user become slurp spew);

our @ISA = ('SmartsuppTest::Process');

# Before httpd is ended at once: its event MPM then closes the connections of
# its workers under them (close_worker_sockets in event.c), and crashes if one
# is just letting go of a connection that was answered. In seconds.
use constant MOMENT => 0.05;

use constant LATE => 6; # an end that takes longer is looked into, in seconds

my $checkout = Cwd::realpath(dirname(__FILE__) . '/../../..');
my @modules = qw(log_config unixd authz_core authz_host);

my $config = <<'CONFIG';
ServerRoot "%%ROOT%%"
PidFile "%%ROOT%%/run/httpd.pid"
DefaultRuntimeDir "%%ROOT%%/run"
%%MODULES%%
ServerName localhost
Listen 127.0.0.1:%%PORT%%
DocumentRoot "%%ROOT%%/htdocs"
ErrorLog "%%ROOT%%/logs/error.log"
LogLevel %%LOGLEVEL%%
%%DATABASE%%
%%HOOK%%
%%CONF%%
CONFIG

# Our own default is shorter; no test may depend on a machine's speed.
my $patience = "\nSmartsuppDatabaseWait 60s";

my $hook = <<'CONFIG';
<Location "/hook">
    SetHandler smartsupp-hook
</Location>
CONFIG

# A server that is not started yet. All of these may be left out:
#   conf      what the test adds to the configuration, with %%PORT%%,
#             %%ROOT%% and %%DB%% (what DBDParams names) filled in
#   config    the whole configuration instead, where %%MODULES%% stands for
#             the LoadModule lines
#   hook      0: no <Location "/hook">
#   database  a kind of SmartsuppTest::Database, such an object, or 'none'
#   modules   further modules to load, such as [qw(http2 deflate)]
#   module    the file of our own module
#   load      0: the configuration itself loads our module and mod_dbd
#   mpm, log_level
#   wrapper   [words to put before httpd's command]
#   root, user  as given, instead of fresh ones; such a root is kept
sub new {
    my ($class, %options) = @_;
    my $self = bless {
        conf      => '',
        config    => $config,
        hook      => 1,
        database  => 'sqlite',
        modules   => [],
        load      => 1,
        module    => $ENV{SMARTSUPP_MODULE}
            // "$checkout/build/.libs/mod_smartsupp_hook.so",
        mpm       => $ENV{SMARTSUPP_MPM} // 'event',
        log_level => 'info smartsupp_hook:debug',
        wrapper   => [],
        user      => ordinary_user(),
        announced => [],
        owner     => $$,
        passing   => Test::More->builder->is_passing,
        %options,
    }, $class;
    # most tests need neither spool nor protection
    $self->allow_log(qw(SMARTSUPP0114 SMARTSUPP0115));
    $self->make_root;
    $self->reserve_port;
    $self->{database} = SmartsuppTest::Database->new($self->{database},
        folder => $self->path('db'))
        if !ref $self->{database} && $self->{database} ne 'none';
    $self->write_config($self->{conf});
    return $self;
}

# A server whose folder is there already, and which may be running; nothing
# is written. Options: user.
sub existing {
    my ($class, $root, %options) = @_;
    my $self = bless {root => $root, owner => $$, %options}, $class;
    my $config = eval { slurp($self->path('conf/httpd.conf')) } // '';
    ($self->{port}) = $config =~ /^Listen .*:(\d+)$/m;
    return $self;
}

sub database { return $_[0]{database} }
sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/hook') }

# The ServerRoot with its folders and a copy of our module, so that a rebuild
# does not change it under a running server.
sub make_root {
    my ($self) = @_;
    $self->make_folder if !$self->{root};
    my @folders = map { $self->path($_) } qw(conf db htdocs logs run);
    make_path(@folders);
    chmod 0755, $self->{root}, @folders;
    for my $folder (map { $self->path($_) } qw(db logs run)) {
        chmod 0700, $folder;
        $self->give($folder);
    }
    my $module = $self->path('mod_smartsupp_hook.so');
    unlink $module;
    copy($self->{module}, $module)
        or die "cannot copy $self->{module}: $! (run make first)\n";
    chmod 0755, $module;
    return;
}

# (Re)write the configuration with another part of the test's own; takes
# effect at the next start, restart or configtest.
sub write_config {
    my ($self, $conf) = @_;
    my $database = $self->{database};
    my %value = (
        MODULES  => $self->load_modules,
        LOGLEVEL => $self->{log_level},
        DATABASE => ref $database ? $database->config . $patience : '',
        HOOK     => $self->{hook} ? $hook : '',
        CONF     => $conf,
        ROOT     => $self->{root},
        PORT     => $self->{port},
        DB       => ref $database ? $database->params : '',
    );
    my $text = $self->{config};
    1 while $text =~ s/%%([A-Z]+)%%/$value{$1} \/\/ die "no %%$1%%\n"/ge;
    spew($self->path('conf/httpd.conf'), $text);
    return $self;
}

# What apxs knows: the program and the folder of its modules.
sub apxs {
    my ($name) = @_;
    our %answers;
    return $answers{$name} //= do {
        my ($apxs) = grep { -x } map { ("$_/apxs", "$_/apxs2") }
            split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/bin';
        my $answer = `$apxs -q $name`;
        chomp $answer;
        length $answer ? $answer : die "apxs -q $name says nothing\n";
    };
}

sub program { return apxs('SBINDIR') . '/' . apxs('PROGNAME') }

# The LoadModule lines for what is not compiled in.
sub load_modules {
    my ($self) = @_;
    our $static //= join '', map { /^\s+(?:mod_)?(\w+)\.c/ ? " $1 " : () }
        do { my $httpd = program(); `$httpd -l` };
    my $folder = apxs('LIBEXECDIR');
    my @names = (@modules, $self->{load} ? 'dbd' : ());
    unshift @names, "mpm_$self->{mpm}"
        if $static !~ / (?:mpm_)?(?:event|worker|prefork) /;
    my $lines = '';
    for my $name (grep { $static !~ / $_ / } @names, @{$self->{modules}}) {
        $lines .= "LoadModule ${name}_module \"$folder/mod_$name.so\"\n";
    }
    return $lines if !$self->{load};
    return $lines . 'LoadModule smartsupp_hook_module '
        . qq{"$self->{root}/mod_smartsupp_hook.so"};
}

# Start it, wait until it accepts; dies with the error log if it does not.
sub start {
    my ($self) = @_;
    # at its end event closes what it polls while a last connection lingers
    $self->allow_log(qr/AH03092/);
    unlink $self->path('run/httpd.pid'); # a stale one may name anyone
    my $pid = $self->{pid}
        = $self->spawn($self->path('logs/start.log'), '-DFOREGROUND');
    my $up = $self->wait_for(sub {
        die $self->failure('httpd ended at start') if waitpid($pid, 1) == $pid;
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $self->{port}, Proto => 'tcp') or return 0;
        close $socket;
        return $self->pid_from_file == $pid;
    });
    die $self->failure('httpd does not accept') if !$up;
    return $self;
}

# Run httpd with these arguments, with its output in a file; gives the pid.
sub spawn {
    my ($self, $output, @arguments) = @_;
    my $database = $self->{database};
    return $self->spawn_command($output,
        ref $database ? $database->environment : {}, @{$self->{wrapper}},
        split(' ', $ENV{SMARTSUPP_HTTPD_WRAPPER} // ''),
        program(), '-d', $self->{root},
        '-f', $self->path('conf/httpd.conf'), @arguments);
}

# The exit status and the output of a configtest.
sub configtest {
    my ($self) = @_;
    my $output = $self->path('logs/configtest.log');
    waitpid $self->spawn($output, '-t'), 0;
    return ($? >> 8 || $? & 127, slurp($output));
}

# Read the configuration again, at once or gracefully. A child of before that
# was just being made goes on accepting for a moment; it is waited for.
sub restart { return $_[0]->reload('HUP') }

sub graceful {
    my ($self) = @_;
    my @before = $self->children;
    $self->reload('USR1');
    $self->wait_for(sub { !$self->listening(@before) })
        or die $self->failure('children of before go on listening');
    return $self;
}

# Which of these processes hold a socket that listens on our port.
sub listening {
    my ($self, @pids) = @_;
    my $port = sprintf '%04X', $self->{port};
    my %inode = map { $_ => 1 } map { slurp($_)
        =~ /^ *\d+: \w+:$port \w+:0000 0A (?:\S+ +){5}(\d+)/mg }
        grep { -e } '/proc/net/tcp', '/proc/net/tcp6';
    return grep {
        my @files = map { readlink // '' } glob "/proc/$_/fd/*";
        grep { /^socket:\[(\d+)\]/ && $inode{$1} } @files;
    } @pids;
}

sub reload {
    my ($self, $signal) = @_;
    # where one restart follows another, httpd may lose count of a child
    $self->allow_log(qr/AH00546/);
    my $before = $self->generations;
    sleep MOMENT if $signal eq 'HUP';
    kill $signal, $self->{pid} or die "httpd is gone\n";
    $self->wait_for(sub { $self->generations > $before })
        or die $self->failure("httpd did not come back after SIG$signal");
    return $self;
}

# How often it has begun to serve, by its log.
sub generations {
    my ($self) = @_;
    return scalar(() = $self->log =~ /resuming normal operations/g);
}

# Stop it in good order; true when no process of it is left. What does not go
# within PATIENCE is killed, and so are children whose parent is gone: they
# listen to nobody else.
sub stop {
    my ($self) = @_;
    my $pid = $self->{pid} or return 1;
    my $gone = 1;
    sleep MOMENT;
    if (kill 'TERM', grep { $_ == $pid } $self->processes) {
        my $late = time + LATE;
        $gone = $self->wait_for(sub {
            waitpid $pid, 1;
            my @left = $self->processes;
            if (@left && $late && time >= $late) {
                Test::More::diag($self->where_they_stand(@left));
                $late = 0;
            }
            return !@left;
        });
    }
    $self->kill9;
    return $gone;
}

# kill -9 for the parent alone. Its children know nothing of it and serve on,
# until kill9 ends them; before that nobody else gets the port.
sub kill_parent {
    my ($self) = @_;
    kill 'KILL', $self->{pid} or die "httpd is gone\n";
    waitpid $self->{pid}, 0;
    return $self;
}

# kill -9 for parent and children alike; harmless where none is left.
sub kill9 {
    my ($self) = @_;
    $self->SUPER::kill9;
    unlink $self->path('run/httpd.pid');
    return;
}

# Its processes but for the parent.
sub children {
    my ($self) = @_;
    return grep { $_ != $self->{pid} } $self->processes;
}

# The pid in the pid file, or 0.
sub pid_from_file {
    my ($self) = @_;
    my $text = eval { slurp($self->path('run/httpd.pid')) } // '';
    return $text =~ /^(\d+)\s*$/ ? $1 : 0;
}

# Take over a server that runs already in this root: its pid, or 0. The pid in
# the file may be another's by now, and the parent gone while its children
# live: one process of that session must run with our configuration.
sub attach {
    my ($self) = @_;
    $self->{pid} = $self->pid_from_file or return 0;
    my $ours = $self->path('conf/httpd.conf');
    for my $pid ($self->processes) {
        my $command = eval { slurp("/proc/$pid/cmdline") } // '';
        return $self->{pid} if index($command, $ours) >= 0;
    }
    return $self->{pid} = 0;
}

# The error log so far.
sub log { return eval { slurp($_[0]->path('logs/error.log')) } // '' }

# A message to die with: what happened and what httpd said of it.
sub failure {
    my ($self, $what) = @_;
    my $start = eval { slurp($self->path('logs/start.log')) } // '';
    return "$what (mpm $self->{mpm}, $self->{root}):\n$start" . $self->log;
}

# Announce lines of the error log, by tag or pattern. The first must come, at
# least once, the second may.
sub expect_log { my ($self, @what) = @_; return $self->announce(1, @what) }
sub allow_log  { my ($self, @what) = @_; return $self->announce(0, @what) }

sub announce {
    my ($self, $must, @what) = @_;
    push @{$self->{announced}}, map { {must => $must, name => $_,
        pattern => ref $_ ? $_ : qr/\b\Q$_\E:/} } @what;
    return $self;
}

# The lines of the log that have to be announced: warnings and worse, and all
# that httpd itself did not write (sanitizers, libraries, crashed children).
sub grave_lines {
    my ($self) = @_;
    my $start = eval { slurp($self->path('logs/start.log')) } // '';
    return grep {
        !/^\[[^]]+\] \[[\w-]*:(?:notice|info|debug|trace\d)\]/
            || /exit signal|AH00(?:050|051|052)\b/
    } grep { /\S/ } split /\n/, $start . $self->log;
}

# Stop, look at the error log, remove the folder: one test result.
sub done {
    my ($self) = @_;
    my @wrong = $self->stop ? () : ('a process outlived the stop');
    my @lines = $self->grave_lines;
    for my $announced (@{$self->{announced}}) {
        my $seen = $announced->{pattern};
        push @wrong, "missing: $announced->{name}"
            if $announced->{must} && $self->log !~ $seen;
        @lines = grep { $_ !~ $seen } @lines;
    }
    push @wrong, map { "not announced: $_" } @lines;
    Test::More::ok(!@wrong, 'the error log holds only what was announced')
        or $self->{failed} = 1;
    Test::More::diag($_) for @wrong;
    $self->{finished} = 1;
    $self->remove;
    return !$self->{failed};
}

# Remove the temporary folder, unless someone may want to look into it.
sub remove {
    my ($self) = @_;
    return $self->remove_folder if !$self->{temporary} || !($ENV{SMARTSUPP_KEEP}
        || $self->{failed}
        || $self->{passing} && !Test::More->builder->is_passing);
    my $folder = delete $self->{temporary};
    return Test::More::diag("kept: $folder");
}

# The safety net: a test that died leaves no server behind.
sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if $self->{finished} || $$ != $self->{owner} || !$self->{temporary};
    $self->{failed} ||= $self->{pid};
    $self->stop;
    $self->remove;
    return;
}

# A file of conf/ as shipped, with the database in %%ROOT%%/db.
sub shipped {
    my ($name) = @_;
    my $text = slurp("$checkout/conf/$name");
    $text =~ s{/var/lib/smartsupp_hook\b}{%%ROOT%%/db}g;
    $text =~ s{\@LIBEXECDIR\@(?=/mod_smartsupp_hook)}{%%ROOT%%}g;
    $text =~ s{\@LIBEXECDIR\@}{apxs('LIBEXECDIR')}ge;
    return $text;
}

1;
