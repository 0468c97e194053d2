"""Was this stage done, with these very inputs? The done-markers of common.sh. Standard library only; starts in a blink.

    done_marker.py start MARKER --exp DIR --root DIR [--force] INPUT... -- COMMAND ARGUMENT...
    done_marker.py finish MARKER --seconds N

`start` exits with 0 when the stage is done and nothing it depends on changed; with 10 when it must run, having printed
why and written the fingerprint of its inputs as they are now to MARKER.started; with 2 when an input is missing.
`finish` turns MARKER.started into MARKER. The fingerprint is taken before the command runs: an input that changes
meanwhile makes the stage run again next time.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

MUST_RUN = 10
READ_AT_MOST = 64 * 2**20
"""Bytes of one input that are read; a larger file or tree is known by its names, sizes and modification times."""
READ_AT_MOST_FILES = 2000
CODE_AND_CONFIG = {".yaml", ".yml", ".json", ".toml", ".conf", ".py", ".sh"}
"""Files named on the command line with these endings are inputs even when the stage does not list them."""


def tree(path: Path) -> dict[Path, os.stat_result | None]:
    """Every file at or below `path` with its status (None for a link to nowhere), without markers and temporary files.

    Raises:
        FileNotFoundError: `path` does not exist.
    """
    if not path.is_dir():
        return {path: path.stat()}
    found: dict[Path, os.stat_result | None] = {}
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name != ".done"]
        for name in files:
            file = Path(folder, name)
            if file.suffix != ".tmp":
                found[file] = file.stat() if file.exists() else None
    return found


def digests(path: Path) -> dict[str, str]:
    """What tells one state of an input from another, by file."""
    files = tree(path)
    sizes = [status.st_size for status in files.values() if status]
    read = sum(sizes) <= READ_AT_MOST and len(sizes) <= READ_AT_MOST_FILES
    result = {}
    for file, status in files.items():
        if status is None:
            result[str(file)] = "link to nowhere"
        elif read:
            result[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            result[str(file)] = f"{status.st_size} bytes, {status.st_mtime_ns} ns"
    return result or {str(path): "empty folder"}


def named_on(command: list[str], exp: Path) -> list[Path]:
    """Scripts and configs that the command names, as an argument or after `=`; outputs of the run itself are none."""
    values = [Path(argument.split("=", 1)[-1] if argument.startswith("-") else argument) for argument in command]
    return [
        path
        for path in values
        if path.suffix in CODE_AND_CONFIG and path.is_file() and exp not in path.absolute().parents
    ]


def fingerprint(inputs: list[Path], command: list[str], exp: Path, root: Path) -> dict[str, Any]:
    """The state of everything that the stage depends on. It survives moving the experiment, or the checkout with it."""
    places = {str(exp): "$exp"}
    if root in exp.parents:
        places[str(root)] = "$root"

    def neutral(text: str) -> str:
        for place, name in places.items():
            text = re.sub(re.escape(place) + r"(?=/|$)", name.replace("\\", r"\\"), text)
        return text

    files: dict[str, str] = {}
    for path in [*inputs, *named_on(command, exp)]:
        files.update((neutral(name), digest) for name, digest in digests(path).items())
    source = (root / "speechnlp_tl" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.*)"', source, re.MULTILINE)
    return {
        "version": version[1] if version else "unknown",
        "command": [neutral(argument) for argument in command],
        "inputs": dict(sorted(files.items())),
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What changed, in a line for a person: at most three things by name, the others counted."""
    found = []
    if old["command"] != new["command"]:
        was, now = old["command"], new["command"]
        for tag, i, j, k, m in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
            if tag != "equal":
                found.append(f"command: {' '.join(was[i:j]) or 'nothing'} -> {' '.join(now[k:m]) or 'nothing'}")
    before, after = old["inputs"], new["inputs"]
    found += [f"{name} is new" for name in after if name not in before]
    found += [f"{name} is gone" for name in before if name not in after]
    found += [f"{name} changed" for name in after if before.get(name, after[name]) != after[name]]
    if old["version"] != new["version"]:
        found.append(f"version: {old['version']} -> {new['version']}")
    rest = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + rest


def load(marker: Path) -> dict[str, Any] | None:
    """The marker's content; None when there is none or a crash left it unreadable, which only costs a run."""
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and {"version", "command", "inputs"} <= content.keys() else None


def save(marker: Path, content: dict[str, Any]) -> None:
    """Write a marker, whole or not at all."""
    temporary = marker.with_name(f".{marker.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(marker)


def start(marker: Path, inputs: list[Path], command: list[str], exp: Path, root: Path, force: bool) -> int:
    """Decide whether the stage must run, and say why."""
    missing = [path for path in inputs if not path.exists()]
    for path in missing:
        print(
            f"{path}: missing input; an earlier stage makes it: start from that stage with --stage N, "
            "and with --force when it says that it is done already",
            file=sys.stderr,
        )
    if missing:
        return 2
    started = marker.with_name(marker.name + ".started")
    now = fingerprint(inputs, command, exp, root)
    done, interrupted = load(marker), load(started)
    if done:
        changes = differences(done, now)
        if not changes and not force:
            return 0
        print(f"again: {changes}" if changes else "again: forced")
    elif interrupted:
        changes = differences(interrupted, now)
        print("was started, but not finished" + (f"; since then: {changes}" if changes else ""))
    marker.parent.mkdir(parents=True, exist_ok=True)
    save(started, now)
    # from here on the outputs are neither the old nor the new ones, also if the old inputs should come back
    if marker.exists():
        marker.replace(marker.with_name(marker.name + ".before"))
    return MUST_RUN


def finish(marker: Path, seconds: int) -> int:
    """Mark the stage as done."""
    started = marker.with_name(marker.name + ".started")
    content = load(started)
    if content is None:
        print(f"{started}: gone or damaged while the stage ran; the stage will run again next time", file=sys.stderr)
        return 0
    content["seconds"] = seconds
    content["finished"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    save(marker, content)
    started.unlink()
    return 0


def main() -> int:
    """Parse the arguments and do the verb."""
    arguments = sys.argv[1:]
    command: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["start", "finish"])
    parser.add_argument("marker", type=Path)
    parser.add_argument("inputs", type=Path, nargs="*")
    parser.add_argument("--exp", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--seconds", type=int, default=0)
    options = parser.parse_intermixed_args(arguments)
    try:
        if options.verb == "finish":
            return finish(options.marker, options.seconds)
        return start(options.marker, options.inputs, command, options.exp, options.root, options.force)
    except OSError as error:
        print(f"{error.filename or options.marker}: {error.strerror or error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
