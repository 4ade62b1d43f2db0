package SmartsuppBench::Instructions;

# How many machine instructions the scanner and the decoder take for fixed
# bodies, counted by valgrind's callgrind: a number that does not depend on how
# busy the machine is, but on the compiler and on the libraries. So the figures
# that are kept in t/bench/instructions.txt stand under the toolchain that they
# are of.

use strict;
use warnings;

use Cwd ();
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp ();

use SmartsuppBench::Body ();
use SmartsuppTest::Process qw(slurp spew);

our @EXPORT_OK = qw(cases toolchain figures update);

my $checkout = Cwd::realpath(dirname(__FILE__) . '/../../../..');
my $file = "$checkout/t/bench/instructions.txt";
my $build = $ENV{SMARTSUPP_BUILD} // 'build'; # as make knows it

# What callgrind counts in: all that happens from its call to its return.
my %function = (scan => 'smartsupp_json_scan',
    decode => 'smartsupp_conversation_decode');

use constant CHANNEL => 55039;

# [action, KB] of each figure. The decoder's include the scanner's.
sub cases { return map { my $what = $_; map { [$what, $_] } 2, 20, 200 }
    qw(scan decode) }

# The output of our program under that command; it is built first.
sub run {
    my ($wrapper, @arguments) = @_;
    our $built;
    my $program = "$build/bench/instructions";
    if (!$built++) {
        # not another make's flags
        delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
        system('make', '-s', '-C', $checkout, "BUILD=$build", $program) == 0
            or die "$program cannot be built\n";
    }
    open my $out, '-|', 'sh', '-c', 'cd "$1" && shift && exec "$@" 2>&1', 'sh',
        $checkout, @$wrapper, $program, @arguments or die "sh: $!\n";
    my $text = do { local $/; <$out> } // '';
    close $out or die "@$wrapper $program @arguments failed:\n$text";
    return $text;
}

sub toolchain {
    my $text = run([], 'toolchain');
    chomp $text;
    return $text;
}

# The instructions of one case.
sub count {
    my ($what, $kilobytes) = @_;
    my $body = File::Temp->new;
    spew("$body", SmartsuppBench::Body->new($kilobytes)->with(CHANNEL));
    my $text = run(['valgrind', '--tool=callgrind', '--collect-atstart=no',
        "--toggle-collect=$function{$what}",
        '--callgrind-out-file=/dev/null'], $what, "$body");
    $text =~ /Collected : (\d+)/ or die "callgrind counts nothing:\n$text";
    return $1;
}

# The figures that are kept: {toolchain => {"scan 2" => count}}.
sub figures {
    my (%figures, $toolchain);
    for my $line (split /\n/, eval { slurp($file) } // '') {
        if ($line =~ /^(\w+ \d+) KB: (\d+)$/) { $figures{$toolchain}{$1} = $2 }
        elsif ($line =~ /^[^#\s]/) { $toolchain = $line }
    }
    return \%figures;
}

# Keep new figures for the toolchain that is here.
sub update {
    my $figures = figures();
    $figures->{toolchain()} = {map { ("@$_" => count(@$_)) } cases()};
    my $text = <<'TEXT';
# Machine instructions of the scanner and the decoder (which includes the
# scanner's) for ten times the same body, by toolchain. Written by
# t/bench/instructions --update, compared by t/930-*.t.
TEXT
    for my $toolchain (sort keys %$figures) {
        $text .= "\n$toolchain\n" . join '', map { exists
            $figures->{$toolchain}{"@$_"} ? "@$_ KB: "
            . $figures->{$toolchain}{"@$_"} . "\n" : () } cases();
    }
    spew($file, $text);
    return $file;
}

1;
