"""The node's answers as tables for people."""

from typing import Any

from gpunode_engines.confinement import FULL_LEVEL
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from rich.console import Console, Group, RenderableType
from rich.table import Table


def show(kind: str, answer: dict[str, Any]) -> None:
    """Print the answer of a control command: ``status``, ``earnings``, ``link`` or ``pause``."""
    render = {"status": status_table, "earnings": earnings_table, "link": link_table, "pause": pause_table}[kind]
    Console().print(render(answer))


def status_table(answer: dict[str, Any]) -> RenderableType:
    """Return the node, its models and what is wrong."""
    facts = _facts(
        {
            "node": answer["peer_id"],
            "network": answer["network"],
            "region": " ".join(filter(None, (answer["region"], answer["country"]))) or "not known yet",
            "up": f"{answer['uptime_s']:.0f} s" + (", draining" if answer["draining"] else ""),
            "serves": _serving(answer["pause"]),
            "tracker": answer["tracker"]["url"] + (" (no answer)" if answer["tracker"]["problem"] else ""),
            "jobs": str(answer["jobs_unfinished"]),
            **(_pull_facts(answer) if answer.get("mode") == "pull" else _mesh_facts(answer)),
            "problems": "\n".join(answer["problems"]) or "none",
        }
    )
    models = Table()
    models.add_column("model", no_wrap=True)  # in a narrow terminal the others wrap
    for name in ("jobs", "speed", "engine"):
        models.add_column(name)
    for model in answer["models"]:
        models.add_row(
            f"{model['name']}\n{model['task']}",
            f"{model['active']}/{model['slots']} running\n{model['queued']} waiting",
            model["speed"],
            f"{model['device']}, {model['restarts']} restarts\nsandbox {_sandbox(model['sandbox'])}",
        )
    return Group(facts, models)


def _mesh_facts(answer: dict[str, Any]) -> dict[str, str]:
    mesh, outbox = answer["mesh"], answer["outbox"]
    return {
        "mesh": f"{mesh['state']}, {mesh['peers_known']} peers known",
        "reachable": {True: "yes", False: "through relays", None: "not known"}[mesh["reachable"]],
        "addresses": "\n".join(answer["addresses"]),
        "to settle": f"{outbox['ready']} ready, {outbox['held']} held, {outbox['unwritten']} not written",
    }


def _pull_facts(answer: dict[str, Any]) -> dict[str, str]:
    outbox, reasons = answer["outbox"], answer["kept_away"]
    return {
        "mode": "pull: jobs come from the tracker's queue" + (", in maintenance" if answer["maintenance"] else ""),
        "worker": answer["worker_id"] or "not registered yet",
        "not for it": ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "no queued job",
        "to deliver": f"{outbox['ready']} ready, {outbox['unwritten']} not written",
    }


def _sandbox(sandbox: dict[str, Any]) -> str:
    level = f"{sandbox['level']} of {FULL_LEVEL}"
    if sandbox["lacks"]:
        level += f", without {', '.join(sandbox['lacks'])}"
    return level + (f", {sandbox['denials']} refused" if sandbox["denials"] else "")


def earnings_table(answer: dict[str, Any]) -> RenderableType:
    """Return the balance and what is on its way."""
    settlements = ", ".join(f"{count} {status}" for status, count in answer["settlements"].items())
    outbox = answer["outbox"]
    # of a pull worker what is not written is among what is ready, and nothing is held
    on_the_way = outbox["ready"] + (0 if answer.get("mode") == "pull" else outbox["held"] + outbox["unwritten"])
    return _facts(
        {
            "account": answer["account"],
            "balance": f"{_credits(answer['spendable_microcredits'])} credits",
            "paid to this node": f"{_credits(answer['paid_microcredits'])} credits",
            "settlements": settlements or "none yet",
            "on the way": str(on_the_way),
        }
    )


def link_table(answer: dict[str, Any]) -> RenderableType:
    """Return what the link did."""
    return _facts(
        {"account": answer["account"], "moved": f"{_credits(answer['moved_microcredits'])} credits earned before"}
    )


def pause_table(answer: dict[str, Any]) -> RenderableType:
    """Return what a pause or its end has come to."""
    return _facts({"serves": _serving(answer)})


def _serving(pause: dict[str, Any]) -> str:
    state, reasons = pause["state"], pause["reasons"]
    if not reasons:
        return "yes" if state == "serving" else "again in a moment"
    # a node that has a reason and serves has not begun yet: it will before anybody reads this
    words = "no, and no model is in memory" if state == "paused" else "no new jobs; those that run are finished"
    return f"{words}: {'; '.join(reasons)}"


def _facts(facts: dict[str, str]) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, value)
    return table


def _credits(microcredits: int) -> str:
    return f"{microcredits / MICROCREDITS_PER_CREDIT:,.6f}".rstrip("0").rstrip(".")
