"""How native kernels are compiled: numba, without the GIL, cached on disk.

numba's cache knows neither a changed callee in another file nor NUMBA_BOUNDSCHECK (stale and unchecked code ran when
tried), so the cache directory is named by a hash of all of the package's sources that define kernels, of numba's
version and of whether bounds are checked. It must be set before numba is imported: nothing else in the package
imports numba.

``TSDB_BOUNDSCHECK=1`` compiles every kernel with bounds checks, in a cache of its own. ``TSDB_KERNEL_CACHE`` names
the parent directory; by default it is the user's cache directory.

Kernels that move octets do so by the word (``copy``, ``store_word`` …), and those that take any number of arrays take
their addresses (``int64_at`` …): numba knows neither. All of these check bounds where bounds are checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import numpy

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound="numpy.ndarray[Any, Any]")

BOUNDSCHECK = os.environ.get("TSDB_BOUNDSCHECK") == "1"


def _sources_hash() -> str:
    digest = hashlib.sha256(importlib.metadata.version("numba").encode())
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if any(mark in source for mark in (b"@kernel", b"@borrowing", b"@inlined")):
            digest.update(str(path.relative_to(package)).encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def _cache_directory() -> Path:
    parent = os.environ.get("TSDB_KERNEL_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "tsdb", "kernels"
    )
    return Path(parent) / (_sources_hash() + ("-checked" if BOUNDSCHECK else ""))


os.environ["NUMBA_CACHE_DIR"] = str(_cache_directory())

# The cache directory must be set first.
import numba  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
from llvmlite import ir  # noqa: E402
from numba import extending  # noqa: E402
from numba.core import caching, cgutils  # noqa: E402

_caching: Any = caching


class CacheFile(_caching.IndexDataCacheFile):  # type: ignore[misc]
    """The compiled code of one kernel on disk: a file for each signature, and an index of these.

    Several processes may add to it at the same time, which numba's own does not stand: it gives signatures numbers, two
    processes gave one number to two signatures, and a third ran code that was compiled for other types. Here the file's
    name follows from the signature, it is there before the index names it, and the index is changed under a lock, so
    that it loses nothing. What cannot be read is compiled anew.
    """

    def save(self, key: Any, data: Any) -> None:
        name = self._data_name(int.from_bytes(hashlib.sha256(self._dump(key)).digest()[:8]))
        self._save_data(name, data)
        with self._locked():
            self._save_index({**self._load_index(), key: name})

    def load(self, key: Any) -> Any:
        try:
            return super().load(key)
        except Exception:  # whatever a torn file makes of unpickling
            return None

    def _load_index(self) -> dict[Any, str]:
        try:
            found: dict[Any, str] = super()._load_index()
        except Exception:
            found = {}
        return found

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(os.path.join(self._cache_path, "lock"), "ab") as lock:
            with contextlib.suppress(OSError):  # not every file system has locks; what is lost then is compiled again
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


_caching.IndexDataCacheFile = CacheFile


def _compiled(**options: Any) -> Callable[[Any], Any]:
    return numba.njit(nogil=True, cache=True, boundscheck=BOUNDSCHECK, error_model="numpy", **options)


def readonly(array: A) -> A:
    """The same numbers, not to be written. A kernel is compiled for what may be written and for what may not, so one
    that gets numbers from buffers of either sort says which."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def kernel(function: F) -> F:
    """Compile ``function`` when it is first called; it runs without the GIL and is cached on disk."""
    return cast(F, _compiled()(function))


def borrowing(function: F) -> F:
    """A kernel that makes no arrays: it counts no references to those that it is given, nor do the kernels in it.

    Where a kernel calls another for each value, counting takes longer than writing a few digits.
    """
    return cast(F, _compiled(_nrt=False)(function))


def inlined(function: F) -> F:
    """A borrowing kernel that becomes part of those that call it."""
    return cast(F, _compiled(_nrt=False, forceinline=True)(function))


# --- octets by the word: at any place, in little-endian order ---

Octets = npt.NDArray[np.uint8]
_memcpy: Any = cgutils.raw_memcpy
_INT64, _WORD, _HALF = numba.types.int64, numba.types.uint64, numba.types.uint32


def intrinsic(typing: Callable[..., Any]) -> Callable[..., Any]:
    return extending.intrinsic(typing)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any, bits: int) -> Any:
    place = builder.gep(context.make_array(array_type)(context, builder, array).data, [at])
    return builder.bitcast(place, ir.IntType(bits).as_pointer())


def _loads(word: Any) -> Callable[..., Any]:
    def load(typing: Any, octets: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.load(
                _pointer(context, builder, signature.args[0], given[0], given[1], word.bitwidth), align=1
            )

        return word(octets, _INT64), generate

    return intrinsic(load)


def _stores(word: Any) -> Callable[..., Any]:
    def store(typing: Any, octets: Any, at: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            place = _pointer(context, builder, signature.args[0], given[0], given[1], word.bitwidth)
            builder.store(given[2], place, align=1)
            return context.get_dummy_value()

        return numba.types.void(octets, _INT64, word), generate

    return intrinsic(store)


_load_word, _store_word = _loads(_WORD), _stores(_WORD)
_load_half, _store_half = _loads(_HALF), _stores(_HALF)


@intrinsic
def _copy(typing: Any, source: Any, start: Any, out: Any, at: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        origin = _pointer(context, builder, signature.args[0], given[0], given[1], 8)
        place = _pointer(context, builder, signature.args[2], given[2], given[3], 8)
        _memcpy(builder, place, origin, given[4], 1)
        return context.get_dummy_value()

    return numba.types.void(source, _INT64, out, _INT64, _INT64), generate


@inlined
def _check(octets: Octets, at: int, count: int) -> None:
    if BOUNDSCHECK and (at < 0 or count < 0 or at + count > len(octets)):
        raise IndexError("octets beyond the end")


@inlined
def load_word(octets: Octets, at: int) -> np.uint64:
    """Eight octets, the first the lowest."""
    _check(octets, at, 8)
    return _load_word(octets, at)


@inlined
def load_half(octets: Octets, at: int) -> np.uint32:
    """Four octets, the first the lowest."""
    _check(octets, at, 4)
    return _load_half(octets, at)


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """How many low bits of a word are zero, as another word; 64 of zero."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 0))

    return _WORD(_WORD), generate


@inlined
def store_word(octets: Octets, at: int, word: np.uint64) -> None:
    _check(octets, at, 8)
    _store_word(octets, at, word)


@inlined
def store_half(octets: Octets, at: int, half: np.uint32) -> None:
    """Four octets, the first the lowest."""
    _check(octets, at, 4)
    _store_half(octets, at, half)


@inlined
def copy(source: Octets, start: int, out: Octets, at: int, count: int) -> None:
    """Copy octets, which do not overlap. Words at both ends cover what is short."""
    _check(source, start, count)
    _check(out, at, count)
    if count > 16:
        _copy(source, start, out, at, count)
    elif count >= 8:
        head, tail = _load_word(source, start), _load_word(source, start + count - 8)
        _store_word(out, at, head)
        _store_word(out, at + count - 8, tail)
    elif count >= 4:
        first, last = _load_half(source, start), _load_half(source, start + count - 4)
        _store_half(out, at, first)
        _store_half(out, at + count - 4, last)
    else:
        for k in range(count):
            out[at + k] = source[start + k]


# --- arrays by their address: ``count`` elements, which whoever passes it keeps alive ---


def _elements(element: Any) -> Callable[..., Any]:
    def load(typing: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            array = builder.inttoptr(given[0], ir.IntType(element.bitwidth).as_pointer())
            value = builder.load(builder.gep(array, [given[1]]), align=1)
            return context.cast(builder, value, element, _INT64)

        return _INT64(_INT64, _INT64), generate

    return intrinsic(load)


_octet, _int32, _int64 = _elements(numba.types.uint8), _elements(numba.types.int32), _elements(_INT64)
_uint16, _uint32 = _elements(numba.types.uint16), _elements(numba.types.uint32)


@intrinsic
def _copy_from(typing: Any, address: Any, out: Any, at: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _pointer(context, builder, signature.args[1], given[1], given[2], 8)
        _memcpy(builder, place, builder.inttoptr(given[0], cgutils.voidptr_t), given[3], 1)
        return context.get_dummy_value()

    return numba.types.void(_INT64, out, _INT64, _INT64), generate


@inlined
def _check_element(address: int, index: int, count: int) -> None:
    if BOUNDSCHECK and (address == 0 or index < 0 or index >= count):
        raise IndexError("element beyond the end")


@inlined
def octet_at(address: int, index: int, count: int) -> int:
    _check_element(address, index, count)
    return _octet(address, index)


@inlined
def uint16_at(address: int, index: int, count: int) -> int:
    _check_element(address, index, count)
    return _uint16(address, index)


@inlined
def uint32_at(address: int, index: int, count: int) -> int:
    _check_element(address, index, count)
    return _uint32(address, index)


@inlined
def int32_at(address: int, index: int, count: int) -> int:
    _check_element(address, index, count)
    return _int32(address, index)


@inlined
def int64_at(address: int, index: int, count: int) -> int:
    _check_element(address, index, count)
    return _int64(address, index)


@inlined
def copy_from(address: int, start: int, total: int, out: Octets, at: int, count: int) -> None:
    """``copy`` from the ``total`` octets at an address."""
    if count > 0:
        _check_element(address, start, total)
        _check_element(address, start + count - 1, total)
    _check(out, at, count)
    origin = address + start
    if count > 16:
        _copy_from(origin, out, at, count)
    elif count >= 8:
        head, tail = _int64(origin, 0), _int64(origin + count - 8, 0)
        _store_word(out, at, np.uint64(head))
        _store_word(out, at + count - 8, np.uint64(tail))
    elif count >= 4:
        first, last = _int32(origin, 0), _int32(origin + count - 4, 0)
        _store_half(out, at, np.uint32(first))
        _store_half(out, at + count - 4, np.uint32(last))
    else:
        for k in range(count):
            out[at + k] = _octet(origin, k)
