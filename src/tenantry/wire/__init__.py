"""The protocol between the host and a worker process: bytes in, events out. No I/O, no clock, no asyncio.

`frames` cuts bytes into frames, `values` turns Python values into payloads and back, `session` keeps the state of one
connection: its calls, and with `capabilities` and `flow` what may be reached, and the credit of streams. Both ends run
the same code and trust each other equally little.
"""
