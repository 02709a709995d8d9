"""The wire's I/O: a session on a socket, with awaitable calls and streams that read and write themselves.

Both ends of a channel use it, the host and the runtime inside the sandbox, so it stands below both and knows neither.
"""

from tenantry.channel.peer import Answered, ChannelClosed, Handler, Peer
from tenantry.channel.streams import RemoteStream
from tenantry.channel.turns import Lane, Turns

__all__ = ["Answered", "ChannelClosed", "Handler", "Lane", "Peer", "RemoteStream", "Turns"]
