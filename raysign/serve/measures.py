"""What a service measures of itself, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CLIPS = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
    """Counts, times and sizes since the start."""

    def __init__(self):
        self.registry = to = CollectorRegistry()
        self.requests = Counter("raysign_requests_total", "Requests answered", ["route", "status"], registry=to)
        self.seconds = Histogram(
            "raysign_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, registry=to
        )
        self.batch = Histogram("raysign_batch_clips", "Clips asked together", ["bundle"], buckets=_CLIPS, registry=to)
        self.waiting = Gauge("raysign_waiting_clips", "Clips that wait for a replica", ["bundle"], registry=to)
        self.decoding = Gauge("raysign_decoders_busy", "Processes that read a file now", registry=to)
        self.live = Gauge("raysign_live_sessions", "Cameras now", registry=to)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
