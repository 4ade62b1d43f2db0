package SmartsuppBench::Machine;

# What a figure is worth nothing without: the machine and the versions.

use strict;
use warnings;

use POSIX ();

use SmartsuppTest::Httpd ();
use SmartsuppTest::Process qw(slurp);

# What a program says first of itself, or nothing.
sub words {
    my ($pattern, @command) = @_;
    open my $out, '-|', @command or return ();
    my $text = do { local $/; <$out> } // '';
    close $out;
    return $text =~ $pattern ? $1 : ();
}

# How busy it is, before we make it so.
sub load { return (split ' ', eval { slurp('/proc/loadavg') } // '')[0] }

# {name => words}; of programs, those that are there.
sub facts {
    my ($bench) = @_;
    my $cpu = eval { slurp('/proc/cpuinfo') } // '';
    my $memory = eval { slurp('/proc/meminfo') } // '';
    my @cores = $cpu =~ /^processor\s*:/mg;
    my %fact = (
        machine => join(', ', scalar(@cores) . ' cores',
            $cpu =~ /^model name\s*:\s*(.+)$/m ? "$1" : (),
            $memory =~ /^MemTotal:\s+(\d+)/m ? int($1 / 1024) . ' MiB' : ()),
        system => join(' ', (POSIX::uname())[0, 2, 4]),
        'load before' => $bench->{load} // '',
        httpd => words(qr{version: \S+?/(\S+)}, SmartsuppTest::Httpd::program(),
            '-v'),
        PHP => php_version(),
        'Node.js' => words(qr/v(\S+)/, 'sh', '-c', 'node --version 2>&1'),
    );
    for my $server (values %{$bench->{servers}}) {
        $fact{$server->{name}} = $server->connect->selectrow_array(
            $server->{name} eq 'mariadb' ? 'SELECT version()'
                : 'SHOW server_version');
    }
    return {map { defined $fact{$_} && length $fact{$_} ? ($_ => $fact{$_})
        : () } keys %fact};
}

# mod_php's, told by its file.
sub php_version {
    my ($file) = reverse sort glob
        SmartsuppTest::Httpd::apxs('LIBEXECDIR') . '/libphp*.so';
    return undef if !$file;
    return (slurp($file) =~ m{X-Powered-By: PHP/([\w.+~-]+)})[0];
}

1;
