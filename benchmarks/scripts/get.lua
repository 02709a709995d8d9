-- GET of one key after the other: wrk … URL -- PREFIX COUNT

local requests = {}
local turn = 0

function init(arguments)
  for number = 0, tonumber(arguments[2]) - 1 do
    requests[number] = wrk.format("GET", wrk.path .. "?key=" .. arguments[1] .. number)
  end
end

function request()
  turn = (turn + 1) % (#requests + 1)
  return requests[turn]
end
