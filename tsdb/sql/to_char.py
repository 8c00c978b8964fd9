"""to_char's common patterns in DuckDB's text. PostgreSQL 15 manual, 9.8. What it does not know is 0A000."""

from __future__ import annotations

import re

from tsdb.errors import FeatureNotSupported
from tsdb.sql import literal
from tsdb.sql.context import Context

_DATETIME = {
    "YYYY": "strftime({0}, '%Y')", "YY": "strftime({0}, '%y')", "Y,YYY": "format('{{:,}}', year({0}))",
    "IYYY": "strftime({0}, '%G')", "IW": "strftime({0}, '%V')", "MM": "strftime({0}, '%m')",
    "MON": "upper(strftime({0}, '%b'))", "Mon": "strftime({0}, '%b')", "mon": "lower(strftime({0}, '%b'))",
    "MONTH": "rpad(upper(strftime({0}, '%B')), 9, ' ')", "Month": "rpad(strftime({0}, '%B'), 9, ' ')",
    "month": "rpad(lower(strftime({0}, '%B')), 9, ' ')", "FMMonth": "strftime({0}, '%B')",
    "FMMONTH": "upper(strftime({0}, '%B'))", "FMmonth": "lower(strftime({0}, '%B'))",
    "DAY": "rpad(upper(strftime({0}, '%A')), 9, ' ')", "Day": "rpad(strftime({0}, '%A'), 9, ' ')",
    "day": "rpad(lower(strftime({0}, '%A')), 9, ' ')", "FMDay": "strftime({0}, '%A')",
    "FMDAY": "upper(strftime({0}, '%A'))", "FMday": "lower(strftime({0}, '%A'))",
    "DY": "upper(strftime({0}, '%a'))", "Dy": "strftime({0}, '%a')", "dy": "lower(strftime({0}, '%a'))",
    "DDD": "strftime({0}, '%j')", "DD": "strftime({0}, '%d')", "D": "CAST(dayofweek({0}) + 1 AS VARCHAR)",
    "ID": "CAST(isodow({0}) AS VARCHAR)", "Q": "CAST(quarter({0}) AS VARCHAR)", "WW":
    "printf('%02d', (dayofyear({0}) - 1) // 7 + 1)", "W": "CAST((day({0}) - 1) // 7 + 1 AS VARCHAR)",
    "HH24": "strftime({0}, '%H')", "HH12": "strftime({0}, '%I')", "HH": "strftime({0}, '%I')",
    "MI": "strftime({0}, '%M')", "SS": "strftime({0}, '%S')", "MS": "strftime({0}, '%g')",
    "US": "strftime({0}, '%f')", "AM": "strftime({0}, '%p')", "PM": "strftime({0}, '%p')",
    "am": "lower(strftime({0}, '%p'))", "pm": "lower(strftime({0}, '%p'))",
    "FMHH24": "CAST(hour({0}) AS VARCHAR)", "FMMI": "CAST(minute({0}) AS VARCHAR)",
    "FMSS": "CAST(second({0}) AS VARCHAR)", "FMDD": "CAST(day({0}) AS VARCHAR)",
    "FMMM": "CAST(month({0}) AS VARCHAR)", "FMHH12": "strftime({0}, '%-I')",
}  # fmt: skip
_DATETIME["MS"] = "left(strftime({0}, '%f'), 3)"
_WORDS = sorted({*_DATETIME, *(w.lower() for w in _DATETIME if w.isupper())}, key=len, reverse=True)
_TOKEN = re.compile(r'"([^"]*)"|(' + "|".join(map(re.escape, _WORDS)) + r"|TZ|tz|OF|SSSSS?|J|CC|RM)|(.)", re.DOTALL)
_NUMBER = re.compile(r"(FM)?([0-9,]*)(?:([.D])([09]*))?")


def datetime_text(sql: str, pattern: str, context: Context) -> str:
    """The text of a timestamp in the session's time zone. ``sql`` is a TIMESTAMP."""
    parts: list[str] = []
    for quoted, word, other in _TOKEN.findall(pattern):
        if word:
            text = _DATETIME.get(word) or _DATETIME.get(word.upper())
            if text is None:
                raise FeatureNotSupported(f'to_char pattern "{word}" is not supported')
            parts.append(text.format(f"({sql})"))
        else:
            parts.append(literal.quote(quoted or other))
    return f"({' || '.join(parts)})" if parts else "''"


def number_text(sql: str, pattern: str) -> str:
    """The text of a numeric by a pattern of 9, 0, comma, point and FM."""
    found = _NUMBER.fullmatch(pattern)
    if found is None or set(found[2]) - set("09,"):
        raise FeatureNotSupported(f'to_char pattern "{pattern}" is not supported for numbers')
    fill, whole, _, fraction = found.groups()
    digits = whole.replace(",", "")
    scale = len(fraction or "")
    width = len(whole)
    required = len(digits) - digits.index("0") if "0" in digits else 0
    rounded = f"round(abs({sql}), {scale})"
    number = f"format('{{:{',' if ',' in whole else ''}}}', CAST(trunc({rounded}) AS HUGEINT))"
    if required:
        number = f"lpad({number}, CAST(greatest(length({number}), {required}) AS INTEGER), '0')"
    elif scale:
        number = f"CASE WHEN trunc({rounded}) = 0 THEN '' ELSE {number} END"
    tail = f"split_part(CAST(CAST({rounded} AS DECIMAL(38,{scale})) AS VARCHAR), '.', 2)" if scale else "''"
    if fill and scale and "0" not in (fraction or ""):
        tail = f"rtrim({tail}, '0')"
    point = "'.'" if scale else "''"
    sign = f"CASE WHEN {sql} < 0 THEN '-' ELSE '{'' if fill else ' '}' END"
    body = f"({number} || {point} || {tail})"
    total = width + 1 + (scale + 1 if scale else 0)
    text = f"({sign} || {body})"
    if not fill:
        text = f"lpad({text}, {total}, ' ')"
    return f"CASE WHEN length(CAST(CAST(trunc({rounded}) AS HUGEINT) AS VARCHAR)) > {len(digits)} THEN " \
        f"'{'' if fill else ' '}' || repeat('#', {total - 1}) ELSE {text} END"  # fmt: skip
