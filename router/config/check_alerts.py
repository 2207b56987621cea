"""Alerts that could not be sent: no mail server, nobody as sender, a password in the clear."""

from router.config.alert_settings import sender_of
from router.config.document import Table, items_of, node_at, quoted, text_of, words_at
from router.config.problems import Findings

_FALSE = ("off", "false", "no", "0")


def check_alerts(tree: Table, findings: Findings) -> None:
    host = node_at(tree, "smtp", "host")
    if host is None or not text_of(host):
        _warn_of_lost_mail(tree, findings)
        return
    sender, username = node_at(tree, "smtp", "from"), node_at(tree, "smtp", "username")
    if not sender_of(text_of(sender), text_of(username)):
        mark = host.mark if sender is None else sender.mark
        found = quoted(sender) if text_of(sender) else "nothing"
        findings.wrong(mark, "smtp.from", found, "the address mail comes from, such as routerd@example.com")
    tls = node_at(tree, "smtp", "tls")
    if tls is not None and text_of(tls).lower() in _FALSE and text_of(username):
        findings.warn(tls.mark, "smtp.tls", "name and password travel in the clear; use starttls or tls")


def _warn_of_lost_mail(tree: Table, findings: Findings) -> None:
    places = [("budgets.alerts.emails", node_at(tree, "budgets", "alerts", "emails"))]
    for index, row in enumerate(items_of(node_at(tree, "bootstrap", "tenant_budgets"))):
        places.append((f"bootstrap.tenant_budgets[{index}].alert_emails", node_at(row, "alert_emails")))
    for key, node in places:
        if node is not None and words_at(node):
            findings.warn(node.mark, key, "no mail is sent: smtp.host is not set")
