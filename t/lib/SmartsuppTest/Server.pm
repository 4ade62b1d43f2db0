package SmartsuppTest::Server;

# A private database server, in a temporary folder and on a free port of the
# loopback, as an ordinary user. There are two ways to have one:
#
#   SmartsuppTest::Server->shared('postgresql')
#       The one that a run of tests shares: t/with-servers has started it. A
#       test that runs without t/with-servers starts it for itself.
#   SmartsuppTest::Server->new('postgresql')->start
#       The test's own, which it may stop, start, restart, kill9, pause and
#       resume.
#
# It ends with the process that has started it, whatever becomes of that. Its
# settings are those that the durability of a real one needs.

use strict;
use warnings;

use DBI ();
use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path);
use JSON::PP ();
use Scalar::Util qw(weaken);
use Time::HiRes qw(time);

use SmartsuppTest::Process qw(ordinary_user slurp spew);

our @ISA = ('SmartsuppTest::Process');

my %package = (
    postgresql => 'SmartsuppTest::Server::PostgreSQL',
    mariadb    => 'SmartsuppTest::Server::MariaDB',
);

# The user whom httpd logs in as: no superuser.
use constant USER => 'smartsupp';

# That user's password, which stands in httpd.conf; the administrator's, who
# may run programs, does not.
sub user_password { return sha256_hex("$_[0]{password} " . USER) }

# A server that is not started yet. settings: {name => value} for it.
sub new {
    my ($class, $name, %options) = @_;
    my $package = $package{$name} // die "no server is called $name\n";
    eval "require $package; 1" or die $@;
    my $self = bless {name => $name, owner => $$, user => ordinary_user(),
        settings => {}, password => sha256_hex(join ' ', time, $$, rand),
        %options}, $package;
    our @made;
    push @made, $self;
    weaken($made[-1]);
    return $self;
}

# The shared one.
sub shared {
    my ($class, $name) = @_;
    our %shared;
    return $shared{$name} //= defined $ENV{SMARTSUPP_SERVERS}
        ? $class->new($name)->find($ENV{SMARTSUPP_SERVERS})
        : $class->new($name)->start;
}

# Tell of this server, which runs, in a folder; find one that was told of.
sub tell {
    my ($self, $folder, $error) = @_;
    my $file = "$folder/$self->{name}";
    spew("$file.new", JSON::PP->new->encode({error => $error,
        map { $_ => $self->{$_} } qw(port password)}));
    rename "$file.new", $file or die "$file: $!\n";
    return;
}

sub find {
    my ($self, $folder) = @_;
    my $file = "$folder/$self->{name}";
    $self->wait_for(sub { -e $file })
        or die "nobody has started $self->{name}: no $file\n";
    my $told = JSON::PP->new->decode(slurp($file));
    die $told->{error} if $told->{error};
    @$self{qw(port password owner)} = (@$told{qw(port password)}, 0);
    return $self;
}

# Start it, and the first time make it; returns when it serves.
sub start {
    my ($self) = @_;
    $self->make if !$self->{root};
    $self->run_server;
    $self->wait_for(sub {
        die $self->failure('it ended') if waitpid($self->{pid}, 1);
        return $self->serves;
    }) or die $self->failure('it does not serve');
    $self->set_up if !$self->{set_up}++;
    return $self;
}

# The same without waiting: it may refuse everybody for a while.
sub run_server {
    my ($self) = @_;
    # the signal is sent by the kernel when this process is no more
    $self->{pid} = $self->spawn_command($self->path('log'), {},
        'setpriv', '--pdeathsig', $self->abort_signal, $self->command);
    return $self;
}

sub serves {
    my ($self) = @_;
    return eval { $self->connect->disconnect };
}

# Its folder, with an empty data folder.
sub make {
    my ($self) = @_;
    $self->make_folder;
    my $data = $self->path('data');
    make_path($data);
    $self->give($_) for $self->{root}, $data;
    chmod 0700, $self->{root}, $data;
    $self->reserve_port;
    $self->run_tool($self->make_command);
    return;
}

# Run a program to its end, as the server's user.
sub run_tool {
    my ($self, @command) = @_;
    my $pid = $self->spawn_command($self->path('log'), {}, @command);
    waitpid $pid, 0;
    die $self->failure("$command[0] failed") if $?;
    return;
}

# Stop it as an administrator would; who is connected is sent away.
sub stop {
    my ($self) = @_;
    return $self->end($self->stop_signal);
}

# The fast end, which loses nothing that was committed.
sub abort { my ($self) = @_; return $self->end($self->abort_signal) }

sub end {
    my ($self, $signal) = @_;
    my $pid = $self->{pid} or return $self;
    $self->resume;
    kill $signal, $pid;
    $self->wait_for(sub { waitpid $pid, 1; return !$self->processes });
    $self->kill9;
    return $self;
}

sub restart { my ($self) = @_; return $self->stop->start }

# A DBI handle as its administrator; texts are characters.
sub connect {
    my ($self, $database) = @_;
    return $self->login($database, 'admin');
}

sub login {
    my ($self, $database, $user) = @_;
    return DBI->connect($self->dsn($database), $user,
        $user eq USER ? $self->user_password : $self->{password},
        {RaiseError => 1, PrintError => 0, PrintWarn => 0,
            AutoInactiveDestroy => 1, $self->attributes});
}

# Run the administrator's statements.
sub administer {
    my ($self, @sql) = @_;
    my $handle = $self->connect;
    $handle->do($_) for @sql;
    $handle->disconnect;
    return;
}

# A fresh, empty database that USER may do all in; gives its name.
sub create_database {
    my ($self) = @_;
    our $made;
    my $name = sprintf 'smartsupp_%d_%d', $$, ++$made;
    $self->administer($self->create_statements($name));
    return $name;
}

sub failure {
    my ($self, $what) = @_;
    return "$self->{name}: $what ($self->{root}):\n"
        . (eval { slurp($self->path('log')) } // '');
}

# Ends it, and removes its folder.
sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);
    return if $$ != $self->{owner};
    local @SIG{qw(HUP INT TERM)} = ('IGNORE') x 3;
    $self->abort;
    $self->remove_folder;
    return;
}

# The safety net, which also ends the shared server of a test that runs alone:
# what is still there when perl itself ends may be destroyed in any order, and
# without its folder.
END {
    our @made;
    local $?;
    $_->DESTROY for grep { defined } @made;
}

1;
