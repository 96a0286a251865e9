-- What wrk sends, and what it tells at its end as one line of JSON.
--
--   GET PATHS               cycles through the paths of a file, one a line
--   PUT PATTERN FIRST BODY [HEADER]
--                           puts the bytes of a file under PATTERN, in which a number that rises
--                           from FIRST takes the place of %d or %x
--
-- A GET is a lookup in a table, and a PUT two texts put together: wrk must have time left for the
-- answers. It is to be run with one thread, as each thread would count for itself.

local requests, sent = {}, 0

local function get(paths)
   for path in io.lines(paths) do
      requests[#requests + 1] = wrk.format("GET", path)
   end
   local count = #requests
   return function()
      sent = sent % count + 1
      return requests[sent]
   end
end

local function put(pattern, first, body, header)
   local file = assert(io.open(body, "rb"))
   local bytes = file:read("*a")
   file:close()
   local rest = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nContent-Type: image/jpeg\r\n"
      .. (header and header .. "\r\n" or "") .. "Content-Length: " .. #bytes .. "\r\n\r\n" .. bytes
   local number = tonumber(first) - 1
   pattern = "PUT " .. pattern
   return function()
      number = number + 1
      return pattern:format(number) .. rest
   end
end

function init(args)
   if args[1] == "GET" then
      request = get(args[2])
   else
      request = put(args[2], args[3], args[4], args[5])
   end
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "bytes": %d, "failed": %d, "bad_status": %d, '
         .. '"p50_us": %d, "p99_us": %d, "p999_us": %d, "max_us": %d}\n',
      summary.requests, summary.duration / 1e6, summary.bytes, failed, errors.status,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max
   ))
end
