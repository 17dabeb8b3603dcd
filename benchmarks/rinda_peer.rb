# Ruby's Rinda, as a peer: `serve` a tuple space, or `call URI` one. Both obey lines of JSON on
# standard input, answer with lines of JSON, and end when standard input does.

require 'json'
require 'drb/drb'
require 'rinda/tuplespace'

PAYLOAD = 'x' * 16

def seconds
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  yield
  Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
end

class Server
  attr_reader :uri

  def initialize
    @space = Rinda::TupleSpace.new
    DRb.start_service('druby://127.0.0.1:0', @space)
    @uri = DRb.uri
  end

  def fill(from, count)
    count.times { |number| @space.write(['task', from + number, PAYLOAD.dup]) }
  end
end

class Client
  def initialize(uri)
    DRb.start_service('druby://127.0.0.1:0') # the safe take answers to an object of ours
    @space = Rinda::TupleSpaceProxy.new(DRbObject.new_with_uri(uri))
    @turn = -1
  end

  # One at a time, because Rinda's cost grows with what is there.
  def pairs(count)
    write = take = 0.0
    count.times do |number|
      write += seconds { @space.write(['task', number, PAYLOAD]) }
      take += seconds { @space.take(['task', number, nil]) }
    end
    { write: count / write, take: count / take }
  end

  def keyed(numbers)
    took = seconds { numbers.each { |number| @space.take(['task', number, nil]) } }
    numbers.each { |number| @space.write(['task', number, PAYLOAD]) }
    numbers.size / took
  end

  def write(count)
    took = seconds { count.times { |number| @space.write(['task', number, PAYLOAD]) } }
    count.times { |number| @space.take(['task', number, nil]) }
    count / took
  end

  def park(count)
    @arrivals = Queue.new
    @parked = count
    count.times do |number|
      Thread.new do
        loop do
          @space.take(['park', number, nil])
          @arrivals << Process.clock_gettime(Process::CLOCK_MONOTONIC)
        end
      end
    end
  end

  # Round and round, so that each taker has parked again long before its next turn.
  def hand_off(count)
    Array.new(count) do
      @turn += 1
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @space.write(['park', @turn % @parked, PAYLOAD])
      @arrivals.pop - started
    end
  end
end

$stdout.sync = true
what = ARGV[0] == 'serve' ? Server.new : Client.new(ARGV[1])
puts JSON.generate(what.respond_to?(:uri) ? what.uri : nil)
$stdin.each_line do |line|
  verb, *args = JSON.parse(line)['do']
  puts JSON.generate(what.public_send(verb, *args))
end
exit!
