"""User data that somebody wrote for cloud-init: what kind it is, and how it goes together with ours."""

from __future__ import annotations

import hashlib
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

HEADER = "#cloud-config"
LONGEST = 64 * 1024
"""Bytes of what a person may write."""
DEEPEST = 32
"""Levels of YAML; its parser needs the stack for each."""
PARTS = {
    "#!": "x-shellscript",
    "#cloud-boothook": "cloud-boothook",
    "#cloud-config-archive": "cloud-config-archive",
    "#cloud-config-jsonp": "cloud-config-jsonp",
    "#include": "x-include-url",
    "#include-once": "x-include-once-url",
    "#part-handler": "part-handler",
    "## template: jinja": "jinja2",
}
"""By how a text begins, what cloud-init takes it for (`text/...`). Any other is a mapping of YAML."""
JOINED = ("users", "packages", "runcmd", "ssh_authorized_keys")
"""Lists of which a machine gets ours and theirs."""
NOT_YAML = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError)
"""What PyYAML raises for values that are not what their tags or their looks say: `!!bool x`, `2001-99-99`."""


def as_yaml(value: dict[str, Any]) -> str:
    """A mapping as a document, its long lines kept whole."""
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=LONGEST)


def combined(ours: dict[str, Any], written: str) -> str:
    """User data of our settings and of what a person wrote, which may be nothing. ValueError where it is neither.

    A mapping is merged at its top level, where theirs wins except for lists that are JOINED. Anything else, such as a
    script, goes beside ours.
    """
    try:
        size = len(written.encode())
    except UnicodeEncodeError:
        raise ValueError("The user data holds signs that are no characters: take them out.") from None
    if size > LONGEST:
        raise ValueError(f"The user data is too long: {LONGEST // 1024} KiB at most.")
    # Browsers send a form's lines with CR LF, which no script survives.
    text = written.replace("\r\n", "\n").lstrip()
    kind = kind_of(text)
    if kind:
        return side_by_side(f"{HEADER}\n{as_yaml(ours)}", text, kind)
    theirs = mapping_of(text)
    joined = {key: [*ours[key], *theirs[key]] for key in JOINED if is_list(ours.get(key)) and is_list(theirs.get(key))}
    try:
        return f"{HEADER}\n{as_yaml({**ours, **theirs, **joined})}"
    except NOT_YAML as error:
        # Numbers too long to be written.
        raise ValueError(f"The user data cannot be used: {error}.") from error


def is_list(value: object) -> bool:
    return isinstance(value, list)


def kind_of(text: str) -> str:
    """What cloud-init takes a text for, of PARTS; empty for YAML."""
    begins = [header for header in PARTS if text.lower().startswith(header)]
    return PARTS[max(begins, key=len)] if begins else ""


def mapping_of(text: str) -> dict[str, Any]:
    """The mapping that is written in YAML; {} for nothing. ValueError where it is anything else."""
    try:
        check_shape(text)
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"The user data is not YAML: {error.problem} in line {line}.") from error
    except NOT_YAML as error:
        reason, *_ = str(error).splitlines() or ["a value is not what it says"]
        raise ValueError(f"The user data is not YAML: {reason}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError("The user data must be a mapping, such as “packages: [nginx]”, or begin with “#!”.")
    return found


def check_shape(text: str) -> None:
    """Raise ValueError for YAML that takes more to load than it looks: aliases, which multiply, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"aliases such as *{event.anchor} are not taken: write the value again.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep.")


def side_by_side(ours: str, theirs: str, kind: str) -> str:
    """Both as parts of one MIME message, the same for the same texts."""
    parts = [MIMEText(ours, "cloud-config", "utf-8"), MIMEText(theirs, kind, "utf-8")]
    # The parts are in base64, which has no two such signs in a row.
    whole = MIMEMultipart(boundary=f"=={hashlib.sha256((ours + theirs).encode()).hexdigest()[:32]}==", _subparts=parts)
    return whole.as_string()
