"""The stores of KV: `memory` for tests, `sqlite` for one machine."""
