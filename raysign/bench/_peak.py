"""Memory of a run: this process and the Ray workers below it."""

import threading

import psutil


class Peak:
    """Largest sum of the resident memory of this process and the Ray workers below it, seen ten times a second."""

    def __enter__(self):
        self.megabytes, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.1):
            total = me.memory_info().rss
            for process in me.children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.megabytes = max(self.megabytes, total / 2**20)
