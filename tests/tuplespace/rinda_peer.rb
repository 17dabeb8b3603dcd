# frozen_string_literal: true

# Ruby's Rinda, as the other side of rinda_play.py: one JSON command a line in, one answer a line out.
# With --drb the space lives in a process of its own, and is used through a TupleSpaceProxy.

require "json"
require "set"
require "rinda/tuplespace"

Thread.report_on_exception = false
NO_SWEEP = 1_000_000 # seconds between two sweeps of the keeper: a script says when one is due

# What a test must see of a space and Rinda tells nobody. It also keeps what it hands out, since
# DRb keeps no object alive for a client.
module Glass
  def sweep
    keep_clean
    nil
  end

  def waiting
    synchronize { [@read_waiter, @take_waiter].sum { |bag| bag.enum_for(:each_entry).count } }
  end

  def events(entry)
    queue = entry.instance_variable_get(:@queue)
    Array.new(queue.size) { queue.pop }
  end

  def write(*)
    super.tap { |entry| (@kept ||= []) << entry }
  end

  def notify(*)
    super.tap { |entry| (@kept ||= []) << entry }
  end
end

# Makes spaces in a process of their own.
class Host
  include DRb::DRbUndumped

  def fresh
    @space = Rinda::TupleSpace.new(NO_SWEEP).extend(Glass)
  end
end

def decode(it)
  return it.map { |each| decode(each) } if it.is_a?(Array)
  return it unless it.is_a?(Hash)

  kind, value = it.first
  case kind
  when "f" then [value].pack("H*").unpack1("G")
  when "b" then [value].pack("H*")
  when "s" then value.to_sym
  when "h" then value.to_h { |key, each| [key, decode(each)] }
  when "t" then Object.const_get(value)
  when "re" then Regexp.new(value)
  when "set" then Set.new(value.map { |each| decode(each) })
  when "r" then Range.new(decode(value[0]), decode(value[1]), value[2])
  end
end

def encode(it)
  case it
  when Float then { f: [it].pack("G").unpack1("H*") }
  when String then it.encoding == Encoding::BINARY ? { b: it.unpack1("H*") } : it
  when Symbol then { s: it.to_s }
  when Array then it.map { |each| encode(each) }
  when Hash then { h: it.map { |key, value| [key, encode(value)] }.sort_by(&:first) }
  when Class then { t: it.name }
  else it
  end
end

# A call in a thread of its own; what the call yields can cancel it.
class Parked
  def initialize
    @thread = Thread.new { answer { yield(->(template) { @template = template }) } }
  end

  def cancel
    @template.cancel
  end

  def running?
    @thread.alive?
  end

  def result
    @thread.value
  end
end

def answer
  { ok: yield }
rescue StandardError, ThreadError => e
  { error: e.class.name.split("::").last }
end

def wait_until(seconds)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  Thread.pass until yield || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
end

# The commands, each a method.
class Peer
  def initialize(host)
    @host = host
    reset
  end

  def reset
    @inside = @host.fresh
    @space = @inside.is_a?(DRb::DRbObject) ? Rinda::TupleSpaceProxy.new(@inside) : @inside
    @entries, @parked = {}, {}
    nil
  end

  def write(name, tuple, lease)
    entry = @entries[name] = @space.write(decode(tuple), lease)
    entry.expires.to_i
  end

  def take(template, timeout) = encode(@space.take(decode(template), timeout))
  def read(template, timeout) = encode(@space.read(decode(template), timeout))
  def read_all(template) = encode(@space.read_all(decode(template)))

  def renew(name, lease)
    @entries.fetch(name).renew(lease)
    nil
  end

  def cancel(name) = @entries.fetch(name).cancel

  def notify(name, event, template)
    @entries[name] = @space.notify(event, decode(template))
    nil
  end

  def events(name) = encode(@inside.events(@entries.fetch(name)))
  def sweep = @inside.sweep

  def park(name, verb, template, timeout)
    before = @inside.waiting
    template = decode(template)
    call = @parked[name] = Parked.new do |yielded|
      encode(@space.public_send(verb, template, timeout, &yielded))
    end
    wait_until(5) { @inside.waiting > before || !call.running? }
    nil
  end

  def call_off(name)
    @parked.fetch(name).cancel
    nil
  end

  # Wait until so many parked calls have ended, for so many seconds at most; give up those that have.
  def ended(expected, seconds)
    wait_until(seconds) { @parked.each_value.count { |call| !call.running? } >= expected }
    over = @parked.reject { |_, call| call.running? }
    over.each_key { |name| @parked.delete(name) }
    over.map { |name, call| [name, call.result] }
  end

  def flood(tuples)
    tuples.each { |tuple| @space.write(decode(tuple)) }
    nil
  end

  def spoil(template)
    found = @space.read(decode(template), 0)
    found.each { |field| field << 9 if field.is_a?(Array) }
    read(template, 0)
  end
end

def start_host
  reader, writer = IO.pipe
  parent = IO.pipe # closes with the parent, and ends the host
  fork do
    parent[1].close
    $stdin.close
    $stdout.reopen(File::NULL)
    DRb.start_service("druby://127.0.0.1:0", Host.new)
    writer.puts(DRb.uri)
    writer.close
    parent[0].read
  end
  parent[0].close
  $parent = parent[1]
  DRb.start_service("druby://127.0.0.1:0")
  DRb::DRbObject.new_with_uri(reader.gets.chomp)
end

$stdout.sync = true
peer = Peer.new(ARGV.include?("--drb") ? start_host : Host.new)
while (line = $stdin.gets)
  command, *arguments = JSON.parse(line)
  puts(JSON.generate(answer { peer.public_send(command, *arguments) }))
end
