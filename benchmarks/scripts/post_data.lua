-- POST of JSON under one key after the other: wrk … URL -- PREFIX COUNT VALUE

local requests = {}
local turn = 0

function init(arguments)
  wrk.headers["Content-Type"] = "application/json"
  for number = 0, tonumber(arguments[2]) - 1 do
    local body = '{"key": "' .. arguments[1] .. number .. '", "value": ' .. arguments[3] .. "}"
    requests[number] = wrk.format("POST", nil, nil, body)
  end
end

function request()
  turn = (turn + 1) % (#requests + 1)
  return requests[turn]
end
