"""`make fuzz`: inputs that nobody would send, to everything that reads what comes from outside.

Each input follows from the name of its target and its number, so a finding is made again with --only TARGET:NUMBER.
The counts of what became of the inputs go to build/fuzz.json, inputs that were not handled to build/fuzz/.
The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from broker import fuzz_orders, fuzz_streams  # noqa: E402
from broker_messages import fuzz_messages  # noqa: E402
from configuration_orders import fuzz_orders_to_configure  # noqa: E402
from feedback_files import fuzz_feedback  # noqa: E402
from file_inputs import fuzz_bundles, fuzz_configurations  # noqa: E402
from models import fuzz_models  # noqa: E402
from page_requests import fuzz_page  # noqa: E402
from receiver_answers import fuzz_receivers  # noqa: E402

COUNTS = {"bundle": 20_000, "tflite": 5_000, "onnx": 5_000, "configuration": 5_000, "order": 2_000, "stream": 1_000}
COUNTS |= {"page": 5_000, "receiver": 1_000, "feedback": 5_000, "message": 10_000, "request": 5_000}
_FAULTS = ("traceback", "accepted unsigned", "passed, and", "daemon ended", "no live event", "no answer", "lost")
_FOLDER = ROOT / "build" / "fuzz"


def keep(target: str, number: int, content: bytes, detail: str) -> None:
    """Keeps an input that was not handled, and what happened."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (_FOLDER / f"{target}-{number}").write_bytes(content)
    (_FOLDER / f"{target}-{number}.txt").write_text(detail)


def is_fault(outcome: str) -> bool:
    """Whether an outcome must not be."""
    return outcome.startswith(_FAULTS)


def run(target: str, numbers: range) -> Counter[str]:
    """Runs one target over these numbers."""
    if target in ("onnx", "tflite"):
        return fuzz_models(target, numbers, keep)
    runs: dict[str, Callable[..., Counter[str]]] = {"bundle": fuzz_bundles, "configuration": fuzz_configurations}
    runs |= {"order": fuzz_orders, "stream": fuzz_streams, "page": fuzz_page}
    runs |= {"receiver": fuzz_receivers, "feedback": fuzz_feedback, "message": fuzz_messages}
    runs |= {"request": fuzz_orders_to_configure}
    return runs[target](numbers, keep)


def main() -> int:
    """Runs the targets that the arguments name, and prints and keeps the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="*", default=list(COUNTS), choices=list(COUNTS))
    parser.add_argument("--share", type=float, default=1.0, help="share of the inputs, for a quick run")
    parser.add_argument("--only", default="", help="one input: TARGET:NUMBER")
    arguments = parser.parse_args()
    jobs = {target: range(round(COUNTS[target] * arguments.share)) for target in arguments.targets}
    if arguments.only:
        target, _, number = arguments.only.partition(":")
        jobs = {target: range(int(number), int(number) + 1)}
    path, faults = ROOT / "build" / "fuzz.json", 0
    results = json.loads(path.read_text()) if path.exists() else {}
    for target, numbers in jobs.items():
        started = time.monotonic()
        counts = run(target, numbers)
        found = sum(count for outcome, count in counts.items() if is_fault(outcome))
        faults += found
        results[target] = {"inputs": len(numbers), "faults": found, "seconds": round(time.monotonic() - started)}
        results[target]["outcomes"] = dict(sorted(counts.items()))
        print(f"{target}: {json.dumps(results[target])}", flush=True)  # noqa: T201
        path.parent.mkdir(exist_ok=True)
        if not arguments.only:
            path.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
