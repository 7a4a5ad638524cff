"""What is odd in texts: empty ones, numbers or addresses only, markup, wrong decoding, control characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from patchword.checks.findings import Finding, Harm, shown

_CONTINUED = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # bytes 80 to BF in Latin-1 or Windows-1252
_MOJIBAKE = re.compile(f"[ÂÃ]{_CONTINUED}|[âðï]{_CONTINUED}{{2}}|â€")
_HTML = re.compile(
    r"</?(?:a|b|body|br|div|em|font|h[1-6]|head|html|i|img|li|ol|p|script|span|strong|style|table|td|tr|ul)\b[^<>]*>"
    r"|&(?:amp|lt|gt|quot|nbsp|apos|#\d{2,5});",
    re.I,
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\u0080-\u009f]")
_NUMBER = re.compile(r"(?=.*\d)[\d\s.,:;/()+*%$€£-]+", re.S)
_ADDRESS = re.compile(r"\s*(?:(?:https?://|www\.)\S+\s*)+")

_ODD: tuple[tuple[Harm, str, Callable[[str], object], str], ...] = (
    (Harm.WRONG_TEXT, "empty texts", lambda text: not text.strip(), "Remove these rows, or find their texts."),
    (
        Harm.WRONG_TEXT,
        "texts that were decoded wrongly (such as Ã© for é)",
        lambda text: not text.isascii() and _MOJIBAKE.search(text),
        "Read the original file as UTF-8 again; new data will not look like this.",
    ),
    (
        Harm.WRONG_TEXT,
        "texts with the character U+FFFD, where another one is lost",
        lambda text: "\ufffd" in text,
        "Take these texts from their source again.",
    ),
    (Harm.ODD_INPUT, "texts with control characters", _CONTROL.search, "Remove the characters if they mean nothing."),
    (Harm.ODD_INPUT, "texts with HTML", _HTML.search, "Take the markup out unless new texts will have it, too."),
    (Harm.ODD_INPUT, "texts of numbers alone", _NUMBER.fullmatch, "Is this the right column?"),
    (Harm.ODD_INPUT, "texts of addresses (URLs) alone", _ADDRESS.fullmatch, "A model learns little from an address."),
    (
        Harm.ODD_INPUT,
        "texts without a letter or a digit",
        lambda text: text.strip() and not any(map(str.isalnum, text)),
        "Remove these rows unless signs are what is to be learnt.",
    ),
)


def odd_texts(texts: Sequence[str], origins: Sequence[str], name: str) -> list[Finding]:
    """A finding for each kind of odd text, with the rows; `name` is that of the split."""
    findings = []
    for harm, title, is_odd, what in _ODD:
        rows = [row for row, text in enumerate(texts) if is_odd(text)]
        if rows:
            counted = f"{name}: {title}: {len(rows):,} of {len(texts):,}"
            findings.append(Finding(harm, counted, shown(origins, rows), what, len(rows)))
    return findings
