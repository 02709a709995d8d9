"""What runs inside the sandbox, around a tenant's code: the channel, the invocations and the loader.

It is what every tenant pays for in memory and start-up, so it stays small; `site/` holds what tenants import.
"""
