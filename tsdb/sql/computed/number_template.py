"""Templates of numbers: to_char and to_number.

A template is taken apart once (``Description``); ``_Writer`` then walks over it with the digits of the rounded number,
as PostgreSQL does, whose odd corners (where the sign goes, what FM drops) follow from that walk.

Source: PostgreSQL 15 manual, 9.8 (tables 9.28 and 9.29); formatting.c (NUMDesc_prepare, NUM_numpart_to_char,
NUM_processor, numeric_to_char, float8_to_char).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

from tsdb.errors import InvalidTextRepresentation, SqlSyntaxError
from tsdb.sql.computed.datetime_template import ordinal
from tsdb.sql.computed.registry import computed

_TOKEN = re.compile(
    r'"((?:[^"\\]|\\.)*)"?|(EEEE|FM|MI|PL|PR|RN|SG|SP|TH|[,.0-9BCDGLSV])|\\?(.)', re.DOTALL | re.IGNORECASE
)
_FLOAT_DIGITS = 15
_EXACT = Context(prec=1200)
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
    (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip


@dataclass(slots=True)
class Description:
    """``pre`` and ``post`` count the digits; ``nodes`` are (keyword, text)."""

    nodes: list[tuple[str, str]] = field(default_factory=list)
    pre: int = 0
    post: int = 0
    multi: int = 0
    zero_start: int = 0
    zero_end: int = 0
    sign: str = ""
    before_sign: int = 0
    flags: set[str] = field(default_factory=set)

    def add(self, keyword: str) -> None:
        flags = self.flags
        if keyword in ("9", "0"):
            self._digit(keyword)
        elif keyword in (".", "D"):
            if "." in flags:
                raise SqlSyntaxError("multiple decimal points")
            flags.add(".")
        elif keyword == "S":
            if self.sign or flags & {"PL", "MI", "PR"}:
                raise SqlSyntaxError('cannot use "S" twice or with "PL"/"MI"/"SG"/"PR"')
            self.sign = "after" if "." in flags else "before"
            self.before_sign = self.pre
        elif keyword == "SG":
            flags |= {"MI", "PL"}
        elif keyword == "V":
            flags.add("V")
        else:
            flags.add(keyword)

    def _digit(self, keyword: str) -> None:
        if keyword == "0" and not self.flags & {"0", "."}:
            self.flags.add("0")
            self.zero_start = self.pre + 1
        if "V" in self.flags and "." not in self.flags and keyword == "9":
            self.multi += 1
        elif "." in self.flags:
            self.post += 1
        else:
            self.pre += 1
        if keyword == "0":
            self.zero_end = self.pre + self.post


@lru_cache(maxsize=512)
def description(template: str) -> Description:
    made = Description()
    for quoted, word, other in _TOKEN.findall(template):
        if word and not (word.isdigit() and word not in "09"):
            keyword = word.upper()
            made.add(keyword)
            made.nodes.append((keyword, word))
        else:
            made.nodes.append(("", re.sub(r"\\(.)", r"\1", quoted) if quoted else other or word))
    return made


class _Writer:
    """One number on its way through a template."""

    def __init__(self, shape: Description, number: str, negative: bool, pre: int, post: int) -> None:
        flags = shape.flags
        self.shape = shape
        self.number = number
        self.negative = negative
        self.fill = "FM" in flags
        self.bracket = "PR" in flags and (negative or not self.fill)
        self.zero = "0" in flags
        self.zero_start = max(0, shape.zero_start - 1)
        self.spaces = 0
        self.post = post
        self.sign = shape.sign
        if flags & {"PL", "MI"}:
            self.wrote_sign = "MI" in flags
        else:
            self.wrote_sign = not negative and self.fill and not self.sign
            if self.sign == "before" and shape.before_sign == shape.pre:
                self.sign = "after"
        self.count = post + pre - 1
        whole = number.partition(".")[0]
        self.spaces = max(0, pre - len(whole))
        self.last = self._last_relevant() if self.fill and "." in flags else None
        if not self.wrote_sign and self.spaces == 0:
            self.count += 1
        self.at = self.current = 0
        self.started = False
        self.out: list[str] = []

    def _last_relevant(self) -> int | None:
        """The last digit that FM keeps: the last that is not a zero, or stands at a 0 of the template."""
        point = self.number.find(".")
        if point < 0:
            return None
        last = point + len(self.number[point:].rstrip("0")) - 1
        if self.shape.zero_end > self.spaces:
            last = max(last, min(len(self.number) - 1, self.shape.zero_end - self.spaces))
        return last

    def _ends_at_point(self) -> bool:
        return self.last is not None and self.number[self.last : self.last + 1] == "."

    def _before_point(self) -> bool:
        """The zero before the point that 9.9 leaves blank."""
        return not self.zero and self.at == 0 and self.number[:1] == "0" and self.post != 0

    def digit(self, keyword: str) -> None:
        self.started = False
        self._leading_sign()
        if self.current < self.spaces and (self.zero_start > self.current or not self.zero):
            self.out.append("" if self.fill else " ")
        elif self.zero and self.current < self.spaces:
            self.out.append("0")
            self.started = True
        else:
            self._one(keyword)
        self._trailing_sign()
        self.current += 1

    def _leading_sign(self) -> None:
        due = self.current >= self.spaces or (self.zero and self.zero_start == self.current)
        if self.wrote_sign or not due or (self._before_point() and not self._ends_at_point()):
            return
        if self.sign:
            if self.sign == "before":
                self.out.append("-" if self.negative else "+")
                self.wrote_sign = True
            return
        self.wrote_sign = True
        if self.bracket:
            self.out.append("<" if self.negative else " ")
        elif self.negative:
            self.out.append("-")
        elif not self.fill:
            self.out.append(" ")

    def _one(self, keyword: str) -> None:
        here = self.number[self.at : self.at + 1]
        if here == ".":
            if not self._ends_at_point() or self.fill:
                self.out.append(".")
        elif self.last is not None and self.at > self.last and keyword != "0":
            pass
        elif self._before_point():
            if not self.fill:
                self.out.append(" ")
            elif self._ends_at_point():
                self.out.append("0")
        else:
            self.out.append(here)
            self.started = True
        self.at += bool(here)

    def _trailing_sign(self) -> None:
        end = self.count + (1 if self.spaces else 0) + (1 if "." in self.shape.flags else 0)
        if self.last is not None and self.last == self.at:
            end = self.current
        if self.current + 1 != end:
            return
        if self.wrote_sign and self.bracket:
            self.out.append(">" if self.negative else " ")
        elif self.sign == "after":
            self.out.append("-" if self.negative else "+")

    def other(self, keyword: str, text: str) -> None:
        if keyword in (",", "G"):
            if self.started or not self.fill:
                self.out.append("," if self.started else " ")
        elif keyword == "L":
            self.out.append(" ")
        elif keyword == "MI":
            self.out.append("-" if self.negative else "" if self.fill else " ")
        elif keyword == "PL":
            self.out.append("+" if not self.negative else "" if self.fill else " ")
        elif keyword == "SG":
            self.out.append("-" if self.negative else "+")
        elif keyword == "TH":
            if not (self.negative or "." in self.shape.flags or self.number.startswith("#")):
                self.out.append(ordinal(self.number, "TH" if text == "TH" else "th"))
        elif not keyword:
            self.out.append(text)

    def run(self) -> str:
        for keyword, text in self.shape.nodes:
            if keyword in ("9", "0", ".", "D"):
                self.digit(keyword)
            else:
                self.other(keyword, text)
        return "".join(self.out)


def roman(value: int) -> str:
    if not 1 <= value <= 3999:
        return "#" * 15
    parts = []
    for unit, letters in _ROMAN:
        count, value = divmod(value, unit)
        parts.append(letters * count)
    return "".join(parts)


def _roman_text(value: Decimal, shape: Description) -> str:
    text = roman(int(value.to_integral_value(ROUND_HALF_UP))) if value.is_finite() else "#" * 15
    written = text if "FM" in shape.flags else text.rjust(15)
    return written.lower() if any(t == "rn" for _, t in shape.nodes) else written


@computed("py_to_char_number", "VARCHAR", "VARCHAR", "BOOLEAN", result="VARCHAR")
def number_text(number: str, template: str, is_float: bool) -> str | None:
    """to_char of a number by its text; a float8 has 15 digits at most."""
    if not template:
        return None
    shape, value = description(template), Decimal(number)
    if "RN" in shape.flags:
        return _roman_text(value, shape)
    if "EEEE" in shape.flags:
        if not value.is_finite():
            return " " + "#" * (shape.pre + shape.post + 6)
        mantissa = f"{value:.{shape.post}e}"
        head, _, exponent = mantissa.partition("e")
        return f"{'' if value < 0 else ' '}{head}e{exponent[0]}{exponent[1:].zfill(2)}"
    pre, post = shape.pre + shape.multi, shape.post
    if value.is_finite():
        value = _EXACT.scaleb(value, shape.multi)
        whole = len(f"{abs(value):f}".partition(".")[0])
        if is_float:
            post = 0 if whole >= _FLOAT_DIGITS else min(post, _FLOAT_DIGITS - whole)
        digits = f"{abs(value.quantize(Decimal(1).scaleb(-post), ROUND_HALF_UP, _EXACT)):f}"
        negative = value < 0 and (is_float or any(c in "123456789" for c in digits))
    else:
        digits, negative = ("NaN" if value.is_nan() else "Infinity"), value.is_signed() and not value.is_nan()
    if len(digits.partition(".")[0]) > pre:
        digits = "#" * pre + "." + "#" * post
    return _Writer(shape, digits, negative, pre, post).run()


@computed("py_to_number", "VARCHAR", "VARCHAR", result="VARCHAR")
def to_number(text: str, template: str) -> str:
    """The number that a text spells by a template, as a text. Raises InvalidTextRepresentation."""
    shape = description(template)
    digits: list[str] = []
    negative = text.strip().startswith(("-", "<")) or text.strip().endswith("-")
    at = 0
    rest = text.lstrip().removeprefix("-").removeprefix("+").removeprefix("<").lstrip()
    for keyword, literal in shape.nodes:
        here = rest[at : at + 1]
        if not here:
            break
        if keyword in ("9", "0"):
            if here == "." and "." not in shape.flags:
                break
            if here.isdigit():
                digits.append(here)
                at += 1
        elif keyword in (".", "D"):
            if here == ".":
                digits.append(".")
                at += 1
        elif keyword in (",", "G"):
            at += here == ","
        elif keyword == "L":
            at += not (here.isdigit() or here in "+-.,")
        elif keyword == "" and literal:
            at = min(len(rest), at + len(literal))
    if not any(d.isdigit() for d in digits):
        raise InvalidTextRepresentation('invalid input syntax for type numeric: " "')
    value = Decimal("".join(digits))
    if shape.multi:
        value = _EXACT.scaleb(value, -shape.multi)
    return f"{-value if negative else value:f}"
