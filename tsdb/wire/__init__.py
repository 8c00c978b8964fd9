"""The PostgreSQL wire protocol, version 3.0, from the server's side. It knows no SQL and runs no statement.

    socket ── listener ── connection ── session (tsdb.session) ── rows, parameters

How a statement passes through:

1.  ``listener`` accepts a socket and feeds its bytes to a ``Connection``, the core: a state machine without I/O.
2.  ``connection`` cuts bytes into events by the tables of ``_state``; ``startup`` knows the packets before
    authentication, ``messages`` those after it.
3.  The client's ``Session`` handles one event after the other and answers by the connection's methods, whose bytes
    ``backend`` forms. What listener and session owe each other is written in ``contract``: read it first to write a
    session.
4.  ``parameters`` turns the values of a Bind message, text or binary, into Python values by PostgreSQL's input rules
    (``datetimes`` for dates and times).
5.  ``rows`` turns Arrow record batches into DataRow messages by column, with native kernels.

``copy_out`` does as ``rows`` for COPY TO, with ``copy_out_kernels``; ``copy_data`` takes many CopyData messages at
once.

Errors: what cannot be right at the level of framing raises ``ProtocolViolation`` and ends the connection; a body that
is wrong is the event ``Malformed``; errors of statements are the session's.

What is not here: statements, settings and transactions (``tsdb.session``), results (``tsdb.sql``), TLS settings and
addresses (``tsdb.server``). Importing this package does not load the kernels; ``tsdb.wire.rows`` does.
"""

from tsdb.wire.backend import FieldDescription
from tsdb.wire.connection import Connection, Event
from tsdb.wire.contract import Client, Session, SessionFactory
from tsdb.wire.listener import Limits, Listener, Tls
from tsdb.wire.messages import (
    BINARY_FORMAT,
    TEXT_FORMAT,
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    Malformed,
    Parse,
    Password,
    Query,
    SaslInitialResponse,
    SaslResponse,
    Sync,
    Terminate,
    format_codes,
)
from tsdb.wire.startup import CancelRequest, GssRequest, SslRequest, Startup

__all__ = [
    "BINARY_FORMAT",
    "TEXT_FORMAT",
    "Bind",
    "CancelRequest",
    "Client",
    "Close",
    "Connection",
    "CopyData",
    "CopyDone",
    "CopyFail",
    "Describe",
    "Event",
    "Execute",
    "FieldDescription",
    "Flush",
    "GssRequest",
    "Limits",
    "Listener",
    "Malformed",
    "Parse",
    "Password",
    "Query",
    "SaslInitialResponse",
    "SaslResponse",
    "Session",
    "SessionFactory",
    "SslRequest",
    "Startup",
    "Sync",
    "Terminate",
    "Tls",
    "format_codes",
]
