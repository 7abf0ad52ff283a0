-- The load of one cell: requests from a file, each thread its own share of them and its own process to send them to.
-- PORTS: ports, comma-separated; REQUESTS: a file of lines "method, path, caller, key, body", separated by tabs.

local threads = 0

function setup(thread)
  local ports = {}
  for port in os.getenv("PORTS"):gmatch("%d+") do ports[#ports + 1] = port end
  thread.addr = wrk.lookup("127.0.0.1", ports[threads % #ports + 1])[1]
  thread:set("place", threads)
  threads = threads + 1
end

function init(arguments)
  local count, number = tonumber(os.getenv("THREADS")), 0
  requests, at, sent = {}, 0, 0
  for line in io.lines(os.getenv("REQUESTS")) do
    if number % count == place then
      local method, path, caller, key, body = line:match("([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)")
      local headers = { ["Authorization"] = "Bearer " .. key, ["X-Floor-Caller"] = caller }
      if body ~= "" then headers["Content-Type"] = "application/json" end
      requests[#requests + 1] = { method, path, headers, body ~= "" and body or nil }
    end
    number = number + 1
  end
  run = os.getenv("RUN")
end

function request()
  at = at % #requests + 1
  sent = sent + 1
  local one = requests[at]
  if one[1] == "POST" then one[3]["Idempotency-Key"] = run .. "-" .. place .. "-" .. sent end
  return wrk.format(one[1], one[2], one[3], one[4])
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d, "longest_us": %d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
