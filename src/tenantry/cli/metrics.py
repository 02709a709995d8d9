"""What `/metrics` shows, in Prometheus' text format. Read when it is asked for: counting costs requests nothing more.

No label holds a tenant's name: how much there is to show does not grow with the tenants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tenantry.gateway import SECONDS_BOUNDS, RequestStats
from tenantry.host import Host

__all__ = ["metrics_of"]

_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


def metrics_of(requests: RequestStats, host: Host) -> Callable[[], bytes]:
    """Gives the text of now, each time that it is called."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(_Platform(requests, host))
    return lambda: generate_latest(registry)


class _Platform(Collector):
    def __init__(self, requests: RequestStats, host: Host) -> None:
        self._requests = requests
        self._host = host

    def collect(self) -> Iterator[Metric]:
        requests, host = self._requests, self._host
        answered = CounterMetricFamily(
            "tenantry_requests", "Tenants' requests by the class of their status.", labels=["status"]
        )
        for name, count in zip(_CLASSES, requests.by_class, strict=True):
            answered.add_metric([name], count)
        yield answered
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*SECONDS_BOUNDS, float("inf")), requests.seconds_counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        durations = HistogramMetricFamily(
            "tenantry_request_seconds", "From the head of a tenant's request to the head of its response."
        )
        durations.add_metric([], buckets, requests.seconds_sum)
        yield durations
        for name, text, value in (
            ("requests_in_flight", "Tenants' requests that are being answered.", requests.in_flight),
            ("workers", "Workers that are deployed, those of dispatch namespaces among them.", host.worker_count),
            ("worker_processes", "Worker processes that are alive.", host.process_count),
            ("invocations_in_flight", "Invocations that worker processes hold.", host.invocation_count),
        ):
            yield GaugeMetricFamily(f"tenantry_{name}", text, value)
        yield CounterMetricFamily(
            "tenantry_worker_process_starts", "Worker processes that were started.", host.processes_started
        )
        yield CounterMetricFamily(
            "tenantry_worker_process_ends", "Worker processes that ended, for whatever reason.", host.processes_ended
        )
