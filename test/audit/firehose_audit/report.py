"""The result of an audit as text or JSON."""

import json

LABELS = {
    "lost": "lost",
    "excused": "missing, but elsewhere",
    "phantom": "phantom (never committed)",
    "corrupt": "corrupt (other bytes)",
    "resent_unacknowledged": "resent, unacknowledged",
    "resent_acknowledged": "resent though acknowledged",
    "unconfirmed": "arrived, never acknowledged",
    "disordered": "first attempt out of order",
}


def as_text(result, faults):
    lines = [f"committed {result.committed}, arrived {result.arrived}, "
             f"acknowledged {result.acknowledged}, refused attempts "
             f"{result.refused}, requests {result.requests}"]
    for kind, label in LABELS.items():
        count = result.counts[kind]
        if not count:
            continue
        mark = "FAULT" if kind in faults else "note"
        lines.append(f"{mark}: {label}: {count}")
        lines += [f"    {example}" for example in result.examples[kind]]
    lines.append("not clean" if faults else "clean")
    return "\n".join(lines)


def as_json(result, faults):
    return json.dumps({
        "clean": not faults, "faults": faults,
        "committed": result.committed, "arrived": result.arrived,
        "acknowledged": result.acknowledged, "refused": result.refused,
        "requests": result.requests, **result.counts,
        "examples": result.examples})
