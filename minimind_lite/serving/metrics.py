"""What /metrics shows, in Prometheus' format: requests, seconds, tokens, queue and slots."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from minimind_lite.generation.continuous import Statistics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_NOW = {"queued": "requests that wait for a slot", "running": "slots that make a token at every step",
        "reading": "slots whose prompt is being read", "free": "slots that are free"}  # fmt: skip
_SINCE_START = {"prompt_tokens": "prompt tokens read", "reused_tokens": "prompt tokens found in a slot, not read again",
                "new_tokens": "tokens made", "done": "answers finished", "cancelled": "answers cancelled"}  # fmt: skip


class Metrics:
    """The counters of one server, in a registry of their own: two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "minimind_requests", "answered requests", ["route", "status"], registry=self.registry
        )  # fmt: skip
        self._seconds = Histogram(
            "minimind_request_seconds", "from arrival to the end of the answer", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._first = Histogram(
            "minimind_first_token_seconds", "from arrival to the first token", ["model"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._open = Gauge(
            "minimind_open_requests", "requests that are being answered, this one included", registry=self.registry
        )  # fmt: skip
        texts = _NOW | _SINCE_START
        self._engine = {
            name: Gauge(f"minimind_{name}", text, ["model"], registry=self.registry) for name, text in texts.items()
        }

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered; 499 stands for a client that left."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        """An answer has begun."""
        self._first.labels(model).observe(seconds)

    def text(self, engines: Mapping[str, Statistics], open_requests: int) -> bytes:
        """Everything, with the engines' numbers as they are now."""
        self._open.set(open_requests)
        for model, statistics in engines.items():
            for name, gauge in self._engine.items():
                gauge.labels(model).set(getattr(statistics, name))
        return bytes(generate_latest(self.registry))
