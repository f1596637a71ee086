"""The tools of `rackrate mcp`: the questions as an agent asks them (extra `agent`). All of them only read."""
