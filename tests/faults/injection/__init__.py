"""What the fault tests share: a disk that can be told to fail, services under one handle, and a ledger of promises."""
