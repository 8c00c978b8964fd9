"""The way in: a view's definition, or an expression about one table, as PostgreSQL prints it; None where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from tsdb.errors import TsdbError
from tsdb.model.catalog import Series
from tsdb.model.relations import Definition, SqlSequence, Use
from tsdb.sql import dialect, trees
from tsdb.sql.catalog import oids, static
from tsdb.sql.catalog.live import Glance
from tsdb.sql.catalog.names import relation_name
from tsdb.sql.catalog.outline import Entry, quote_ident
from tsdb.sql.catalog.type_texts import format_type
from tsdb.sql.deparse import calls, constants, facts, queries
from tsdb.sql.deparse.coercion import coerced
from tsdb.sql.deparse.expressions import analysed, condition
from tsdb.sql.deparse.nodes import Call, Const, Node, Range, Unprintable
from tsdb.sql.deparse.scope import Scope, Surroundings
from tsdb.sql.deparse.write_expressions import write
from tsdb.sql.deparse.write_queries import write_view
from tsdb.sql.deparse.writer import FormatType, Writer

# Their analysers register themselves as they are imported.
_ANALYSERS = (calls, queries)


def view_text(glance: Glance, entry: Entry, definition: Definition, pretty: bool) -> str | None:
    """pg_get_viewdef without its semicolon."""
    context = replace(glance.context, written_in=definition.time_zone)
    frame = {(use.schema, use.name): use for use in definition.uses}

    def relation(schema: str, name: str) -> Range:
        return _relation(glance, frame.get((schema, name)), schema, name)

    def text() -> str:
        tree = dialect.parse(definition.text)
        made = queries.query_of(tree, Scope(Surroundings(context, relation, definition.text)))
        writer = Writer(_types(glance), quote_ident, pretty)
        write_view(made, [a.name for a in entry.attributes], writer)
        return writer.text

    return _tried(text)


def _types(glance: Glance) -> FormatType:
    def text(oid: int, typmod: int) -> str:
        return format_type(glance, oid, typmod) or "???"

    return text


def _tried(make: Callable[[], str]) -> str | None:
    try:
        return make()
    except (Unprintable, TsdbError, RecursionError):
        return None


def _relation(glance: Glance, use: Use | None, schema: str, name: str) -> Range:
    if use is None:
        return _system_relation(schema, name)
    entry = glance.outline.by_oid.get(oids.of(use.relation))
    if entry is None or isinstance(entry.model, SqlSequence):
        raise Unprintable(f"relation {name}")
    then = dict(use.columns)
    columns, printed = [], {}
    for place, attribute in enumerate(entry.attributes, 1):
        number = entry.model.columns[place - 1].number if isinstance(entry.model, Series) else place
        if number in then:
            columns.append((then[number], attribute.type.oid, attribute.typmod))
            printed[then[number]] = attribute.name
    shown = relation_name(glance.outline, entry.oid)
    # The text may name the relation as it was called when the view was made.
    return Range("relation", None, columns, shown or "", entry.name, printed=printed, then=name)


def _system_relation(schema: str, name: str) -> Range:
    found = static.relations().get((schema or static.PG_CATALOG, name))
    if found is None:
        raise Unprintable(f"relation {name}")
    text = (
        quote_ident(name) if found.schema == static.PG_CATALOG else f"{quote_ident(found.schema)}.{quote_ident(name)}"
    )
    return Range("relation", None, [(c.name, c.type.oid, c.typmod) for c in found.columns], text, name)


# --- expressions ---


def expression_nodes(glance: Glance, entry: Entry | None, text: str) -> tuple[Sequence[exp.Expr], Scope]:
    """The items of a text with commas, and a scope of one table's columns."""
    columns = [] if entry is None else [(a.name, a.type.oid, a.typmod) for a in entry.attributes]
    scope = Scope(Surroundings(glance.context, _system_relation, text), ranges=[Range("relation", None, columns)])
    return dialect.parse(f"SELECT {text}").expressions, scope


def expression_text(
    glance: Glance, entry: Entry | None, text: str, *, pretty: bool, indented: bool = True
) -> str | None:
    """pg_get_expr of an expression, or of several with commas between them."""

    def made() -> str:
        items, scope = expression_nodes(glance, entry, text)
        return ", ".join(_written(glance, analysed(i, scope), pretty, indented) for i in items)

    return _tried(made)


def condition_text(glance: Glance, entry: Entry, text: str, *, pretty: bool, indented: bool = True) -> str | None:
    """The same of what is true or false: CHECK, an index's WHERE."""

    def made() -> str:
        (item,), scope = expression_nodes(glance, entry, text)
        return _written(glance, condition(item, scope), pretty, indented)

    return _tried(made)


def index_key_text(glance: Glance, entry: Entry, text: str, *, pretty: bool) -> str | None:
    """An index's expression: in parentheses unless it looks like a function (looks_like_function)."""

    def made() -> str:
        (item,), scope = expression_nodes(glance, entry, text)
        node = analysed(item, scope)
        shown = _written(glance, node, pretty, indented=False)
        return shown if isinstance(node, Call) else f"({shown})"

    return _tried(made)


def default_text(glance: Glance, text: str, oid: int) -> str | None:
    """A column's default: a constant is one of the column's type; the assignment's own cast is not shown."""

    def made() -> str:
        item = trees.expression(text)
        scope = Scope(Surroundings(glance.context, _system_relation, text))
        node = analysed(item, scope)
        if isinstance(node, Const) and node.type == facts.UNKNOWN:
            node = constants.typed(node, oid, glance.context)
        else:
            coerced(node, oid, glance.context, explicit=True)
        return _written(glance, node, pretty=False, indented=True)

    return _tried(made)


def _written(glance: Glance, node: Node, pretty: bool, indented: bool) -> str:
    writer = Writer(_types(glance), quote_ident, pretty, qualified=False, indented=indented)
    write(node, writer, False)
    return writer.text
