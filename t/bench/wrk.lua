-- The sender: each delivery has a channel of its own, the rest is made once.
--
--   wrk ... -s wrk.lua URL -- BODY FIRST
--
-- BODY is a file in which @CHANNEL@ stands for the channel's digits; FIRST has
-- as many digits as they all have. done prints one line of JSON.

local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local body = file:read("*a")
   file:close()
   local at, till = body:find("@CHANNEL@", 1, true)
   local digits = #arguments[2]
   -- a thread's share; numbers of Lua are exact up to 2^53
   channel = tonumber(arguments[2]) + number * 10000000
   format = "%" .. digits .. ".0f"
   head = string.format("POST %s HTTP/1.1\r\nHost: %s\r\n"
      .. "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
      wrk.path, wrk.headers["Host"] or "localhost",
      #body - (till - at + 1) + digits) .. body:sub(1, at - 1)
   tail = body:sub(till + 1)
end

function request()
   channel = channel + 1
   return head .. string.format(format, channel) .. tail
end

function done(summary, latency, requests)
   local errors = summary.errors
   print(string.format('bench {"requests":%d,"seconds":%.6f,"status":%d,'
      .. '"connect":%d,"read":%d,"write":%d,"timeout":%d,'
      .. '"p50":%d,"p99":%d,"p99_9":%d,"max":%d}',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect, errors.read, errors.write, errors.timeout,
      latency:percentile(50), latency:percentile(99),
      latency:percentile(99.9), latency.max))
end
