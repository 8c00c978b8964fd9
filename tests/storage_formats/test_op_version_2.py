"""Op bodies of format version 2, which logs of older servers hold: decoded from bytes that its own encoder wrote."""

from __future__ import annotations

import pytest

from tests.storage_formats.test_op_version_1 import body, points
from tsdb.errors import DataCorrupted
from tsdb.model.points import encode_tagset
from tsdb.storage.op import decode_write

# zlib and base 85. Two series, five kinds, nulls; then 300 rows, whose columns and tag sets are compressed.
TWO_SERIES = (
    b"c-pN}F%E)25ZpTsL_#8kF+9Q2AJ|&@02@0?OFAtrEiG+LEG+5$fX^|pz&+SAFafl1lFKkVyLWrsY9i9S22{c0<x4D;Sf(qsq-=sVHq)k=K=Mn3!b"
    b"+{LTHi199R(v-L}Sr0O(@_UL;i}(hD_N<{;7yq$7DDoviV$_NZ$^lp7T;*jK{)LcNO6o<SoEog1-TO3;qH8Bj^+8vv4AO1E1s#J-AnwR)5ltWkl#"
    b"zRKVW+Mi<XHw6zaf=7O<vzSr&-xW8&SPt{gNO{0Df_x2C^9p(Je_xVja=65At{a=}$^Fm;Z*K0NGOD%c``VDMrFoF"
)
COMPRESSED = (
    b"c-rmPe|*e!9Ki9<_wIY!-R*3%yUm%IIk%bFba(qLX-SgMl8~gu(vlD(Nm@&iBuQFA5|Wr7Ns^W%mZT*~k|b#%2?<HPKD+NdG>>}pedOUD{^)a$=l"
    b"65(?|tw4xqCd`_x`-kAcRmfa-=H$=W^bz`p@mQ`e%bw6zLDHlP6X22V=%u#auLKXmOgy<FSfpFMLQx1~QR_Y~)ylBUfHisE<#lbe%GE%G4=Kr)-^"
    b"abjtmA4mo?Pjc%`}Q0O=$%7dxeDBttH3(R-%aQo67ri<wV1(O~5#c96WT=CzAtbZq%9a?M?P7xwZ!pt+9JYiHtoUEaiv+uESCX(72xMm#Uw0oo~X"
    b"RlLh9)kP*^Y~1w(SceW7=d_$HqWxuemxNX^?Mu7SzqXg3$**Fu1?N^ywVDmv$KKNt!80&ARfu^p%vO8A3afsff#{OOu$sk!U8Nu1uC%xJFyRkamp"
    b"-Qs$voLZ~`Y>NJSR%&;ec18$}p`Q5cI!n1(qh$4aclCTzoQ?8h;jVIi}jO4y?a;*bOnTB0pFqX+t60EVLk<1qy@F(1pY8tYMo9oUOQIKd(YW2La$"
    b"2x5?c6l9<^+M^44p&tfgB*tJO$}k%Xu>xzb5nHhf)i{FFEEJ;hZ6XO`;YJJOpba{r8w$`L#Tboon2hO|hb35rb=ZvU*n@*O&LYB88Kfi#sR~jOga"
    b"#uC%)v?m%Y{z@^<-#pQXs5MIo}j0DG#ev*OsWY>Kb8*(As2!Rx0HcCapY&!VFmrWn&yxQ|5)JgK$JZHqLbsC1j2Cm-}eMpdOs4k61L&wuFX=M<XP"
    b"lF<fW@HxiMArbtFJq@cMh)ks4NTmlcg@F5);$V3*hk)v$~EpaJY;WD(w<;cSoXoD-!7FVGiu10%YgATYB9nlG$<-Y~w<9c+#4d{v+(GA_v12>^3Z"
    b"bmQMg5J1QZZ)_Keb5($xE=j)2a0ef`r|GPz}*;#K^TmCFa$$UjA0m#docp{VI=OyC_I4Ccn~rH9zrP|#uz+;v3OM5#vj9YJdO!?0u%8hCgCYe#?z"
    b"RBXD}7dq72Vr8lJ~=%)m^%Ah&G1h}n1vb1)b4@G|D(6)eE3ScpX^$6}e%Sc+wM4a@O5R^Sb+#G6=!x3C&-qXO?>4c^6CyoYsoAM0hCfl7RUjrb6o"
    b"@DVoSV^rZ2Y{944D%%%q!{@SP!57$pFR>F}VHduZEfl`N9(;?v_zwH<J*x2o_TvB!;zu09PdJR9aRf(k48PzweuZq~PT~}P!)g4EGqTOoe*6jyFh"
    b"Ye1Aqa&T7FZDm8|ok&5r{-xM8OURq7j37aH2k9(ExF1h<G$Y0vf}GCU7GWNoa~>G(!rSD}UdgxrElADU>|}CE6e&oHb2s&G6=*+h6_(Xt<P0"
)


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


def test_compressed_columns_and_tag_sets() -> None:
    (found,) = decode_write(body(COMPRESSED))
    times, values = [10 * i for i in range(300)], [i % 3 for i in range(300)]
    tagsets = [encode_tagset([(1, f"host-{i:03}")]) for i in range(300)]
    assert points(found) == (1, times, tagsets, list(range(300)), {2: values})


def test_what_is_cut_off_is_found() -> None:
    for kept in (TWO_SERIES, COMPRESSED):
        whole = body(kept)
        for end in range(0, len(whole), 7):
            with pytest.raises(DataCorrupted):
                decode_write(whole[:end])
