-- Asks for the paths of a file in turn; its first line is the Authorization header, or empty. Each thread begins elsewhere.

local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(arguments)
   local file = assert(io.open(arguments[1]))
   local authorization = file:read("*l")
   local headers = {}
   if authorization ~= "" then
      headers["Authorization"] = authorization
   end
   requests = {}
   for path in file:lines() do
      requests[#requests + 1] = wrk.format("GET", path, headers)
   end
   file:close()
   last = math.floor(#requests / 2) * number
end

function request()
   last = last % #requests + 1
   return requests[last]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      "result %d %d %d %d %d %d %d\n",
      summary.requests, summary.duration, summary.bytes,
      latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout
   ))
end
