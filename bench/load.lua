-- The load that wrk puts on a store. Everything comes by environment:
--   BENCH_METHOD, BENCH_PATH   what is asked for; the key's number is appended to the path unless BENCH_KEYS is "one"
--   BENCH_KEYS                 "new": 1, 2, 3, ... ; a number N: any of 1..N ; "one": the path itself
--   BENCH_SIZE                 bytes of the body of a PUT
--   BENCH_COUNT                stop after so many answers (the keys must be "new"); empty: stop when wrk's time is up
--   BENCH_TOKEN, BENCH_RESULT  the token, and the file that takes the figures: answers seconds refused p50 p99 (ms)
local ffi = require("ffi")
ffi.cdef("struct bench_time { long seconds; long nanoseconds; }; int clock_gettime(int, struct bench_time *);")

local method = os.getenv("BENCH_METHOD")
local path = os.getenv("BENCH_PATH")
local keys = os.getenv("BENCH_KEYS")
local count = tonumber(os.getenv("BENCH_COUNT"))
local headers = { ["X-Auth-Token"] = os.getenv("BENCH_TOKEN") }
local body = nil
if method == "PUT" then
   body = string.rep("objstore", math.ceil(tonumber(os.getenv("BENCH_SIZE")) / 8)):sub(1, tonumber(os.getenv("BENCH_SIZE")))
   headers["Content-Type"] = "application/octet-stream"
end

local function now()
   local time = ffi.new("struct bench_time")
   ffi.C.clock_gettime(1, time)
   return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local function write_result(answers, seconds, refused, median, slowest)
   local file = io.open(os.getenv("BENCH_RESULT"), "w")
   file:write(string.format("%d %.6f %d %.3f %.3f\n", answers, seconds, refused, median, slowest))
   file:close()
end

local prepared = {}
local last = -1 -- wrk asks for one request before the first that it sends, so that key 0 is never used
local began = nil

function init(arguments)
   math.randomseed(1)
   if keys == "one" then
      prepared[1] = wrk.format(method, path, headers, body)
   elseif keys ~= "new" then
      for number = 1, tonumber(keys) do
         prepared[number] = wrk.format(method, path .. number, headers, body)
      end
   end
end

function request()
   if #prepared > 0 then
      return prepared[math.random(#prepared)]
   end
   last = last + 1
   if last == 1 then
      began = now()
   end
   return wrk.format(method, path .. last, headers, body)
end

if count then
   local seen, refused = 0, 0
   function response(status)
      seen = seen + 1
      if status >= 300 then
         refused = refused + 1
      end
      if seen == count then
         -- wrk itself would sleep until its time is up
         write_result(seen, now() - began, refused, 0, 0)
         os.exit(0)
      end
   end
end

function done(summary, latency)
   local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   local p50, p99 = latency:percentile(50) / 1000, latency:percentile(99) / 1000
   write_result(summary.requests, summary.duration / 1e6, summary.errors.status + broken, p50, p99)
end
