import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** What a JDBC user does in the first ten minutes. Each line is one finding; a test compares them with PostgreSQL's. */
public class Tour {
    interface Step { Object run() throws Exception; }

    static void say(String what, Step step) {
        String found;
        try {
            found = String.valueOf(step.run());
        } catch (SQLException error) {
            found = "error " + error.getSQLState();
        } catch (Exception error) {
            found = "error " + error;
        }
        System.out.println(what + ": " + found);
    }

    static String rows(ResultSet set) throws SQLException {
        StringBuilder out = new StringBuilder();
        ResultSetMetaData about = set.getMetaData();
        for (int i = 1; i <= about.getColumnCount(); i++)
            out.append(about.getColumnLabel(i)).append(':').append(about.getColumnTypeName(i)).append('/')
                .append(about.getColumnType(i)).append(' ');
        int many = 0;
        while (set.next()) {
            out.append('(');
            for (int i = 1; i <= about.getColumnCount(); i++) out.append(set.getString(i)).append('|');
            out.append(')');
            many++;
        }
        set.close();
        return out.append(" rows=").append(many).toString();
    }

    static String picked(ResultSet set, String... columns) throws SQLException {
        StringBuilder out = new StringBuilder();
        while (set.next()) {
            out.append('(');
            for (String column : columns) out.append(set.getString(column)).append('|');
            out.append(')');
        }
        set.close();
        return out.toString();
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "tsdb");
        properties.setProperty("prepareThreshold", "2");
        properties.setProperty("ApplicationName", "tour");
        try (Connection c = DriverManager.getConnection(arguments[0], properties)) {
            Statement s = c.createStatement();
            say("create", () -> s.execute("CREATE TABLE jm (time timestamptz NOT NULL, host text NOT NULL, cpu double precision,"
                + " mem real, n bigint, i integer, s smallint, ok boolean, d date, num numeric(12,3), PRIMARY KEY (time, host))"));
            say("insert", () -> {
                PreparedStatement p = c.prepareStatement("INSERT INTO jm VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
                for (int k = 0; k < 5; k++) {
                    p.setObject(1, OffsetDateTime.of(2026, 1, 1, 0, 0, k, 123456000, ZoneOffset.UTC));
                    p.setString(2, "h" + k % 2);
                    p.setDouble(3, k * 1.5);
                    p.setFloat(4, k * 0.25f);
                    p.setLong(5, 1L << (k * 10));
                    p.setInt(6, -k);
                    p.setShort(7, (short) k);
                    p.setBoolean(8, k % 2 == 0);
                    p.setObject(9, LocalDate.of(2026, 1, 1 + k));
                    p.setBigDecimal(10, new BigDecimal("12.340").add(new BigDecimal(k)));
                    p.addBatch();
                }
                return Arrays.toString(p.executeBatch());
            });
            say("select", () -> rows(s.executeQuery("SELECT * FROM jm ORDER BY time")));
            PreparedStatement by = c.prepareStatement("SELECT time, host, cpu FROM jm WHERE host = ? AND time >= ? AND cpu < ? ORDER BY time");
            for (int k = 0; k < 6; k++) {
                say("prepared " + k, () -> {
                    by.setString(1, "h0");
                    by.setTimestamp(2, Timestamp.from(Instant.parse("2026-01-01T00:00:01Z")));
                    by.setDouble(3, 100);
                    return rows(by.executeQuery());
                });
            }
            say("objects", () -> {
                ResultSet r = s.executeQuery("SELECT time, host, cpu, mem, n, i, s, ok, d, num FROM jm ORDER BY time LIMIT 2");
                StringBuilder out = new StringBuilder();
                while (r.next())
                    for (int k = 1; k <= 10; k++) out.append(r.getObject(k).getClass().getSimpleName()).append('=').append(k == 1
                        ? r.getObject(1, OffsetDateTime.class) : r.getObject(k)).append(' ');
                return out;
            });
            say("aggregate", () -> rows(s.executeQuery("SELECT host, count(*), avg(cpu), max(n), sum(i), min(d) FROM jm GROUP BY host ORDER BY host")));
            say("null", () -> {
                PreparedStatement p = c.prepareStatement("SELECT ?::int, ?::text, ?::timestamptz IS NULL");
                p.setNull(1, Types.INTEGER);
                p.setNull(2, Types.VARCHAR);
                p.setNull(3, Types.TIMESTAMP_WITH_TIMEZONE);
                return rows(p.executeQuery());
            });
            say("array", () -> {
                PreparedStatement p = c.prepareStatement("SELECT host, n FROM jm WHERE host = ANY(?) ORDER BY n");
                p.setArray(1, c.createArrayOf("text", new String[] {"h1", "x,\"y"}));
                return rows(p.executeQuery());
            });
            say("array back", () -> {
                ResultSet r = s.executeQuery("SELECT array_agg(n ORDER BY n), ARRAY['a','b,c',NULL]::text[] FROM jm");
                r.next();
                return Arrays.toString((Object[]) r.getArray(1).getArray()) + Arrays.toString((Object[]) r.getArray(2).getArray());
            });
            say("error", () -> s.executeQuery("SELECT nothing FROM jm"));
            say("error table", () -> s.executeQuery("SELECT 1 FROM nowhere"));
            say("division", () -> s.executeQuery("SELECT 1/0"));
            say("update", () -> s.executeUpdate("UPDATE jm SET cpu = 50 WHERE host = 'h1'"));
            say("delete", () -> s.executeUpdate("DELETE FROM jm WHERE time < '2026-01-01 00:00:01+00'"));
            c.setAutoCommit(false);
            say("in transaction", () -> s.executeUpdate("INSERT INTO jm (time, host, cpu) VALUES ('2026-01-02 00:00:00+00', 'tx', 1)"));
            say("seen", () -> rows(s.executeQuery("SELECT count(*) FROM jm WHERE host = 'tx'")));
            Savepoint[] point = new Savepoint[1];
            say("savepoint", () -> { point[0] = c.setSavepoint("sp"); return s.executeUpdate("INSERT INTO jm (time, host) VALUES (now(), 'tx2')"); });
            say("rolled to", () -> { c.rollback(point[0]); return rows(s.executeQuery("SELECT count(*) FROM jm WHERE host LIKE 'tx%'")); });
            say("fail", () -> s.executeQuery("SELECT broken"));
            say("aborted", () -> s.executeQuery("SELECT 1"));
            say("rollback", () -> { c.rollback(); return rows(s.executeQuery("SELECT count(*) FROM jm WHERE host LIKE 'tx%'")); });
            c.commit();
            say("fetch size", () -> {
                Statement f = c.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY);
                f.setFetchSize(100);
                ResultSet r = f.executeQuery("SELECT g FROM generate_series(1, 1050) g");
                long sum = 0;
                while (r.next()) sum += r.getLong(1);
                r.close();
                return sum;
            });
            c.commit();
            c.setAutoCommit(true);
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            say("copy in", () -> copy.copyIn("COPY jm (time, host, cpu) FROM STDIN WITH (FORMAT csv)",
                new StringReader("2026-01-03 00:00:00+00,c1,1.25\n2026-01-03 00:00:01+00,\"c,2\",\n")));
            say("copy out", () -> { StringWriter w = new StringWriter();
                long n = copy.copyOut("COPY (SELECT time, host, cpu FROM jm WHERE host LIKE 'c%' ORDER BY time) TO STDOUT", w);
                return n + " " + w.toString().replace('\n', '/').replace('\t', '~'); });
            DatabaseMetaData about = c.getMetaData();
            say("product", () -> about.getDatabaseProductName() + " " + about.getDatabaseMajorVersion());
            say("schemas", () -> picked(about.getSchemas(), "TABLE_SCHEM"));
            say("tables", () -> picked(about.getTables(null, "public", "jm%", new String[] {"TABLE", "VIEW"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE"));
            say("columns", () -> picked(about.getColumns(null, "public", "jm", "%"), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE",
                "DECIMAL_DIGITS", "NULLABLE", "COLUMN_DEF", "ORDINAL_POSITION", "IS_NULLABLE", "IS_AUTOINCREMENT"));
            say("primary key", () -> picked(about.getPrimaryKeys(null, "public", "jm"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"));
            say("indexes", () -> picked(about.getIndexInfo(null, "public", "jm", false, false), "INDEX_NAME", "NON_UNIQUE", "COLUMN_NAME", "ORDINAL_POSITION"));
            say("foreign keys", () -> picked(about.getImportedKeys(null, "public", "jm"), "PKTABLE_NAME"));
            say("best row", () -> picked(about.getBestRowIdentifier(null, "public", "jm", 2, true), "COLUMN_NAME", "DATA_TYPE"));
            say("privileges", () -> picked(about.getTablePrivileges(null, "public", "jm"), "GRANTEE", "PRIVILEGE", "IS_GRANTABLE"));
            say("procedures", () -> picked(about.getProcedures(null, "public", "%"), "PROCEDURE_NAME"));
            say("types", () -> { ResultSet r = about.getTypeInfo(); Set<String> seen = new TreeSet<>(); while (r.next()) seen.add(r.getString(1));
                return seen.containsAll(List.of("int4", "int8", "float8", "text", "timestamptz", "bool", "numeric", "date", "_text")); });
            say("timeout", () -> { Statement t = c.createStatement(); t.setQueryTimeout(1); return rows(t.executeQuery("SELECT pg_sleep(20)")); });
            say("multi", () -> { boolean has = s.execute("SELECT 1; SELECT 2, 'x'"); StringBuilder out = new StringBuilder();
                while (has) { out.append(rows(s.getResultSet())); has = s.getMoreResults(); } return out; });
            say("generated keys", () -> { PreparedStatement p = c.prepareStatement("INSERT INTO jm (time, host) VALUES ('2026-02-01 00:00:00+00', 'g') RETURNING time, host");
                return rows(p.executeQuery()); });
            say("time zone", () -> { s.execute("SET TimeZone = 'Europe/Berlin'"); return rows(s.executeQuery("SELECT '2026-07-01 00:00:00+00'::timestamptz")); });
            say("read only", () -> { c.setReadOnly(true); try { return s.executeUpdate("DELETE FROM jm"); } finally { c.setReadOnly(false); } });
            say("isolation", () -> { c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE); return c.getTransactionIsolation(); });
            say("valid", () -> c.isValid(2));
            say("drop", () -> s.executeUpdate("DROP TABLE jm"));
        }
    }
}
