package SmartsuppBench::Body;

# What is delivered: the published sample (2 KB), or the same with more
# messages. @CHANNEL@ stands for the digits of channel.id, which differ from
# delivery to delivery.
#
#   my $body = SmartsuppBench::Body->new(20);   # KB
#   $body->text, $body->with($channel), $body->messages

use strict;
use warnings;

use SmartsuppTest::Delivery qw(sample conversation body_of);

use constant MARK => '@CHANNEL@';

# A channel's number is so many digits long, whichever it is; run after run
# begins so far behind the one before.
use constant FIRST => 10_000_000_000_000;
use constant STEP  => 1_000_000_000;

sub new {
    my ($class, $kilobytes) = @_;
    my $messages = conversation()->{messages};
    my $text = sample();
    $text =~ s/("channel"\s*:\s*\{\s*"id"\s*:\s*)\d+/$1@{[MARK]}/
        or die "the sample has no channel.id\n";
    my $count = @$messages;
    if ($kilobytes > 2) {
        # the bytes of the last one are those of any other
        my $one = (length(with_messages($messages, 1000))
            - length with_messages($messages, 0)) / 1000;
        $count = int(($kilobytes * 1000
            - length with_messages($messages, 0)) / $one);
        $text = with_messages($messages, $count);
    }
    return bless {kilobytes => $kilobytes, messages => $count, text => $text},
        $class;
}

# A body with exactly so many messages.
sub of_messages {
    my ($class, $count) = @_;
    my $messages = conversation()->{messages};
    return bless {messages => $count,
        text => with_messages($messages, $count)}, $class;
}

# The sample with so many messages, all of its own in turn.
sub with_messages {
    my ($messages, $count) = @_;
    my $text = body_of('channel.id' => MARK, messages => [map {
        {%{$messages->[$_ % @$messages]}, sentAt => 1427470439703 + $_}
    } 0 .. $count - 1]);
    $text =~ s/"(@{[MARK]})"/$1/;
    return $text;
}

sub kilobytes { return $_[0]{kilobytes} }
sub messages  { return $_[0]{messages} }
sub text      { return $_[0]{text} }

# The body of one channel.
sub with {
    my ($self, $channel) = @_;
    my $text = $self->{text};
    $text =~ s/@{[MARK]}/$channel/;
    return $text;
}

# A number that no run has begun with.
sub first {
    our $runs;
    return FIRST + STEP * $runs++;
}

1;
