"""Scripts and languages of texts, roughly: by the names of letters, and by the commonest words of ten languages.

It tells that data are mixed, not which language a text is surely in.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence

from patchword.checks.findings import Finding, Harm, shown

UNKNOWN = "unknown"
_LEAST_WORDS = 6  # of a text whose language is asked for
_LEAST_COMMON = 3  # of its words are common ones of the language
_LEAST_SHARE = 0.1  # of its words are
_TIMES = 2  # as many as of any other language
CERTAIN = "a language is named where 3 words are common in it, and twice as many as in any other"
"""Of 23,805 English texts (descriptions, reviews, articles) none is taken for another language, 89 % for English."""
_FEW = 0.1  # share of the texts up to which another script or language looks out of place

# Words that are common in one of the languages and rare in the others, ten or more of each.
_WORDS = {
    "English": "the and of to is that for with was this are on it as be have not you from they which by",
    "German": "der die und das ist nicht den mit sich auf für ein eine auch von dem zu im wird als bei sind",
    "French": "le les et est des une dans pour que qui pas sur avec du au ce sont par plus cette il elle",
    "Spanish": "el los las y es que una por con para del se no lo como más pero su al está son",
    "Italian": "il di che è non per una sono gli della con del nel anche come più ma dei alla questo",
    "Portuguese": "o os as e é que não uma para com por do da dos em mais como mas foi são ao pelo",
    "Dutch": "de het een en van is niet dat op te zijn met voor er ook maar bij aan naar wordt",
    "Polish": "i w nie na się że jest z do to jak ale po co tak za od dla są przez",
    "Swedish": "och att det som är en på för av med inte den till jag ett har om var men",
    "Turkish": "ve bir bu için çok ile de da ne daha gibi olarak ama olan kadar var sonra değil",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)


@functools.lru_cache(maxsize=1 << 16)
def _script_of(character: str) -> str:
    """The first word of a letter's name: LATIN, CYRILLIC, CJK."""
    name = unicodedata.name(character, "").split(" ")[0] if character.isalpha() else ""
    return name.split("-")[0].capitalize() if name not in ("CJK", "") else name


def script(text: str) -> str:
    """The one that most letters of a text are written in; UNKNOWN where there are none."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else UNKNOWN
    counts = Counter(filter(None, map(_script_of, text)))
    return counts.most_common(1)[0][0] if counts else UNKNOWN


def language(text: str) -> str:
    """The one that a text is in where that is certain (`CERTAIN`), else UNKNOWN."""
    words = [word.strip(".,;:!?()\"'«»„“”") for word in text.casefold().split()]
    if len(words) < _LEAST_WORDS:
        return UNKNOWN
    votes = Counter(language for word in words for language in _LANGUAGES_OF.get(word, ()))
    (best, most), *others = votes.most_common(2) or [(UNKNOWN, 0)]
    different = {word for word in words if best in _LANGUAGES_OF.get(word, ())}
    enough = most >= max(_LEAST_COMMON, _LEAST_SHARE * len(words)) and len(different) > 1
    return best if enough and all(most >= _TIMES * count for _, count in others) else UNKNOWN


def language_findings(
    texts: Sequence[str], origins: Sequence[str], name: str
) -> tuple[dict[str, dict[str, float]], list[Finding]]:
    """Shares of the scripts and of the languages, the commonest first, and what stands out from them.

    Args:
        texts: of one split.
        origins: their places.
        name: of the split.
    """
    shares: dict[str, dict[str, float]] = {}
    findings = []
    for kind, find in (("script", script), ("language", language)):
        found = list(map(find, texts))
        counts = Counter(found)
        shares[kind + "s"] = {value: count / len(texts) for value, count in counts.most_common()}
        known = [value for value, _ in counts.most_common() if value != UNKNOWN]
        # Single texts of another language may be quotations.
        least = 1 if kind == "script" else max(2, len(texts) // 200)
        for value in known[1:4]:
            if least <= counts[value] <= _FEW * counts[known[0]]:
                rows = [row for row, other in enumerate(found) if other == value]
                title = f"{name}: texts that look {_in(kind, value)}, where most are {_in(kind, known[0])}"
                what = "Are they meant to be here?" + (f" ({CERTAIN})" if kind == "language" else "")
                counted = f"{title}: {len(rows):,} of {len(texts):,}"
                findings.append(Finding(Harm.LANGUAGE, counted, shown(origins, rows), what, len(rows)))
    return shares, findings


def _in(kind: str, value: str) -> str:
    return f"{value} ({kind})" if kind == "language" else f"written in {value} letters"
