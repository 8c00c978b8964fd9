"""Op bodies of format version 1, which logs of older servers hold: decoded from bytes that its own encoder wrote."""

from __future__ import annotations

import base64
import zlib

import pytest

from tests.storage_formats.values import bits
from tsdb.errors import DataCorrupted
from tsdb.model.points import encode_tagset
from tsdb.storage.op import WriteBody, decode_write

# zlib and base 85. Two series, five kinds, nulls; then 300 rows, whose columns are compressed.
TWO_SERIES = (
    b"c-pN}F%H5o47Afw3aUg0g!%+Ve!$Ae16bG?8N0#A$jHcw#K6eT2Y3z=Lvg5!!l^AFVJW(t?~*u)nTU*xHWd-bXlX9dTxJS%z|LT-b2^(1oj+0|"
    b"^ZaPc<v`y@E^%g}zVes`6iNk=%;IN3mQsQ9YeiRhOjaCS=jWo%z}vIea9#?C`B-sSUP*BTz6t14&=;UDLEnJB1-=8mS1kYJ1Ul&-25_%B&VS-1"
    b"YKzc4F9K_8y;X4=Ls{#vqAw&?r5;r4IquID=dm|3dKdhASe;*g?O*!bze!F1&Q$Z?$~K%A0b<@?YhYih;2q!(RMRkV"
)
COMPRESSED = (
    b"c-p<x4@8`C7{Kx8eeZYgy;rBQH*<1o&LlarWoBjOWG1ua%p}R2Nis7tGn1KQCdo`PshOEcGRY(}lbOlM<fJ9ZWG2aEGHH{w?|Z#hyCcT*{$3xy"
    b"_j%qw&)w_sXd<FH>=n^=W1o|Y8r!>W^Vk=)7Uz;|u{PKXoj4#tF~ln-X8}9mQ4+G>;gy{gAX6Y}=bjFPoOeXD-TPGP5HV!$^+|2-b1E~Rj!V-C"
    b"Z`OlOT=`eZlT}~-A&&c<-x|IUj7QtYDQofZtQ=FULKLG66*z^nh@k;ZxQ;t$M;9LB8HO;5aU?K}1uWq^ewh+hnqRCuf*`_(-~^&LhfBDO7Tm;L"
    b"JisIL;RS~A8t?HDvslCme&9ESOg$;q0fG=paTHZJgId(%3a;Tc+R%v}JjEbh;VmYR#5}%Y6&n=MJqfV_1P5^l<v5PhsKG@vq8T^Piu-toUOdN3"
    b"jNu(7F@w)o#u_#$WGMbk0YMQC;|NZo8s|}mIIiLr?x6$Sc!B|p;0-=t3Ul~^Z&;^@coQx)fsu5n34Cref$3Hg`1ijF)K8x~Es)!*{cj7j4d-Ue"
    b"wGovu*YY_nVXoQZzCX72{0oaS|1@5!^9gjx52l_<tz)t5`TYmo4%~7"
)


def body(kept: bytes) -> bytes:
    return zlib.decompress(base64.b85decode(kept))


def points(found: WriteBody) -> tuple[int, list[int], list[bytes], list[int], dict[int, list[object]]]:
    fields = {number: bits(values) for number, values in found.fields.items()}
    return found.series, found.times.tolist(), list(found.tagsets), found.tagset.tolist(), fields


def test_two_series_of_all_kinds() -> None:
    cpu, mem = decode_write(body(TWO_SERIES))
    fields: dict[int, list[object]] = {
        2: [0x3FF8 << 48, None, -(1 << 63)],
        3: [None, 2**63 - 1, -(2**63)],
        4: [0, 2**64 - 1, None],
        5: [True, None, False],
        6: ["x", None, ""],
    }
    assert points(cpu) == (7, [1, 2, -5], [encode_tagset([(1, "a"), (300, "é")]), b""], [0, 1, 0], fields)
    assert points(mem) == (2**40, [9], [b""], [0], {})


def test_compressed_columns() -> None:
    (found,) = decode_write(body(COMPRESSED))
    times, values = [10 * i for i in range(300)], [i % 3 for i in range(300)]
    assert points(found) == (1, times, [encode_tagset([(1, "h")])], [0] * 300, {2: values})


def test_what_is_cut_off_is_found() -> None:
    for kept in (TWO_SERIES, COMPRESSED):
        whole = body(kept)
        for end in range(0, len(whole), 7):
            with pytest.raises(DataCorrupted):
                decode_write(whole[:end])
