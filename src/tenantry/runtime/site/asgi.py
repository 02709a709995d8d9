"""`import asgi`: the older name of `workers.asgi`."""

import sys

from workers import asgi

sys.modules[__name__] = asgi
