package SmartsuppTest::Fault;

# A disk that fails on demand, for folders of a private httpd: t/fault/fault.c
# stands between httpd and the C library.
#
#   my $fault = SmartsuppTest::Fault->new($httpd, 'spool');
#   $httpd->start;
#   $fault->watch;
#   ... a delivery ...
#   for my $call ($fault->calls('tmp')) {
#       $fault->set({start => 'tmp', number => $call->{number},
#           action => 'kill'});
#       ... the same once more ...
#       ok $fault->hit;
#   }
#   $fault->watch; # no fault any more
#
# A running httpd obeys at once. Each thread counts its calls from 1 again with
# every watch or set.

use strict;
use warnings;

use Cwd ();

use SmartsuppTest::Preload;
use SmartsuppTest::Process qw(slurp spew);

# Before the httpd's start: its children and it get the library. The folders are
# named from the ServerRoot, or absolute.
sub new {
    my ($class, $httpd, @folders) = @_;
    my $root = $httpd->path('fault');
    mkdir $root, 0700;
    $httpd->give($root);
    @folders = map { m{\A/} ? $_ : $httpd->path($_) } @folders;
    for my $folder (@folders) {
        (Cwd::realpath($folder) // $folder) eq $folder
            or die "$folder is a symbolic link or in one: set TMPDIR\n";
    }
    my $self = bless {root => $root, run => 0}, $class;
    preload($httpd, 'fault',
        SMARTSUPP_FAULT_FOLDERS => join(':', @folders),
        SMARTSUPP_FAULT_CONTROL => "$root/control",
        SMARTSUPP_FAULT_TRACE => "$root/trace");
    $self->watch;
    return $self;
}

# Do this at the first call that one of the rules fits, in this order. A rule
# (of the first five, what is not given may be anything):
#   start    the folder of the first call that the thread makes after the set,
#            which tells the thread
#   call     open, write, fsync, close, truncate, flock, rename, link, unlink,
#            mkdir
#   folder, name  of the file; a folder itself is "." in it
#   number   which of the thread's calls that fit these three; "3-" is the third
#            and all later ones
#   when     before (the call is not done), which is the default, or after
#   action   kill, short, or an error such as ENOSPC
#   always   1: each time; else once over all processes
sub set {
    my ($self, @rules) = @_;
    my $run = ++$self->{run};
    my $text = "run $run\n";
    my $count = 0;
    for my $rule (@rules) {
        $text .= join ' ', (map { $_ // '*' } @$rule{qw(start number call
            folder name)}), $rule->{when} // 'before', $rule->{action},
            $rule->{always} ? () : "$self->{root}/marker-$run-" . ++$count;
        $text .= "\n";
    }
    spew("$self->{root}/control.new", $text);
    chmod 0644, "$self->{root}/control.new";
    rename "$self->{root}/control.new", "$self->{root}/control"
        or die "$self->{root}/control: $!\n";
    return;
}

# No fault, from now on.
sub watch { $_[0]->set; return }

# Whether a rule of the last set was done, or which of them (the first is 1).
sub hit {
    my ($self, $rule) = (@_, 1);
    return -e "$self->{root}/marker-$self->{run}-$rule";
}

# The calls since the last set, as a list of {thread, number, call, folder,
# name}. With a folder, only those of threads that started there.
sub calls {
    my ($self, $start) = @_;
    my (@calls, %start);
    for my $line (split /\n/, eval { slurp("$self->{root}/trace") } // '') {
        my ($run, %call);
        ($run, @call{qw(thread number call folder name)}) = split / /, $line, 6;
        next if $run != $self->{run};
        $start{$call{thread}} //= $call{folder};
        push @calls, \%call
            if !defined $start || $start{$call{thread}} eq $start;
    }
    return @calls;
}

1;
