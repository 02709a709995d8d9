-- POST of a form with a file, under one key after the other: wrk … URL -- PREFIX COUNT PATTERN TIMES
-- The file is PATTERN, so many times.

local requests = {}
local turn = 0

function init(arguments)
  local boundary = "tenantry-benchmark-boundary"
  wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
  local file = string.rep(arguments[3], tonumber(arguments[4]))
  for number = 0, tonumber(arguments[2]) - 1 do
    local body = table.concat({
      "--", boundary, "\r\n",
      'Content-Disposition: form-data; name="key"\r\n\r\n', arguments[1], number, "\r\n",
      "--", boundary, "\r\n",
      'Content-Disposition: form-data; name="file"; filename="file.bin"\r\n',
      "Content-Type: application/octet-stream\r\n\r\n", file, "\r\n",
      "--", boundary, "--\r\n",
    })
    requests[number] = wrk.format("POST", nil, nil, body)
  end
end

function request()
  turn = (turn + 1) % (#requests + 1)
  return requests[turn]
end
