"""Several workers keep limits only together: without a Redis between them each would let the whole limit through."""

from router.config.document import Table, node_at, text_of
from router.config.problems import Findings


def check_workers(tree: Table, findings: Findings) -> None:
    workers = node_at(tree, "server", "workers")
    count = text_of(workers).strip()
    if workers is None or not count.isdecimal() or int(count) < 2 or text_of(node_at(tree, "redis", "url")):
        return
    findings.wrong(
        workers.mark,
        "server.workers",
        f"{count} workers and no redis.url",
        'redis: {url: "redis://127.0.0.1:6379/0"}, in which they count limits together; or workers: 1',
    )
