// What a node-postgres user does in the first ten minutes. Each line is one finding; a test compares them with PostgreSQL's.
'use strict';
const { Client, Pool, types } = require('pg');
const url = process.argv[2];

const say = async (what, step) => {
  let found;
  try {
    found = await step();
  } catch (error) {
    found = 'error ' + (error.code || error.message) + (error.position ? ' at ' + error.position : '');
  }
  console.log(what + ': ' + (typeof found === 'string' ? found : JSON.stringify(found)));
};
const shape = (r) => [r.command, r.rowCount, r.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeModifier, f.dataTypeSize]), r.rows];

(async () => {
  const c = new Client({ connectionString: url, application_name: 'tour' });
  await c.connect();
  await say('create', async () => shape(await c.query(
    'CREATE TABLE nm (time timestamptz NOT NULL, host text NOT NULL, cpu float8, n int8, ok bool, num numeric(12,3), arr text[], doc jsonb, PRIMARY KEY (time, host))')));
  await say('insert', async () => shape(await c.query(
    'INSERT INTO nm (time, host, cpu, n, ok, num, arr, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING time, host, num',
    [new Date(Date.UTC(2026, 0, 1)), 'h0', 1.5, '9007199254740993', true, '12.5', ['a', 'b"c', null], { a: [1, 2] }])));
  await say('more', async () => shape(await c.query(
    "INSERT INTO nm (time, host, cpu) VALUES ('2026-01-01 00:00:01+00', 'h1', 2), ('2026-01-01 00:00:02+00', 'h0', NULL)")));
  await say('select', async () => shape(await c.query('SELECT * FROM nm ORDER BY time')));
  await say('array mode', async () => (await c.query({ text: 'SELECT host, cpu FROM nm ORDER BY time', rowMode: 'array' })).rows);
  for (let k = 0; k < 3; k++) {
    await say('prepared ' + k, async () => shape(await c.query({ name: 'by host', text: 'SELECT time, cpu FROM nm WHERE host = $1 AND cpu > $2 ORDER BY time', values: ['h' + (k % 2), 0.5] })));
  }
  await say('any', async () => shape(await c.query('SELECT host FROM nm WHERE host = ANY($1) ORDER BY time', [['h1', 'x']])));
  await say('date range', async () => shape(await c.query('SELECT count(*)::int AS c FROM nm WHERE time BETWEEN $1 AND $2', [new Date(Date.UTC(2026, 0, 1)), new Date(Date.UTC(2026, 0, 1, 0, 0, 1))])));
  await say('number', async () => shape(await c.query('SELECT $1::int + 1 AS a, $2::text AS b, $3::float8 AS f', [41, 'x', 0.1])));
  await say('json', async () => shape(await c.query("SELECT doc->'a'->>1 AS x, doc FROM nm WHERE doc IS NOT NULL")));
  await say('several', async () => (await c.query('SELECT 1 AS a; SELECT 2 AS b, now() IS NOT NULL AS c')).map(shape));
  await say('error', async () => shape(await c.query('SELECT nothing FROM nm')));
  await say('error in prepared', async () => shape(await c.query('SELECT $1::int', ['x'])));
  await say('after error', async () => shape(await c.query('SELECT 1 AS one')));
  await say('transaction', async () => {
    await c.query('BEGIN');
    await c.query("INSERT INTO nm (time, host) VALUES ('2026-02-01 00:00:00+00', 'tx')");
    const inside = (await c.query("SELECT count(*) FROM nm WHERE host = 'tx'")).rows[0].count;
    await c.query('ROLLBACK');
    return [inside, (await c.query("SELECT count(*) FROM nm WHERE host = 'tx'")).rows[0].count];
  });
  await say('notice', async () => {
    const seen = [];
    c.once('notice', (n) => seen.push([n.severity, n.code]));
    await c.query('DROP TABLE IF EXISTS nothing_there');
    return seen;
  });
  await say('notify', async () => {
    const other = new Client({ connectionString: url });
    await other.connect();
    await c.query('LISTEN tour_channel');
    const heard = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('nothing heard')), 5000);
      c.once('notification', (m) => resolve([m.channel, m.payload]));
    });
    await other.query("NOTIFY tour_channel, 'hello'");
    const found = await heard;
    await other.end();
    await c.query('UNLISTEN *');
    return found;
  });
  await say('pool', async () => {
    const pool = new Pool({ connectionString: url, max: 5 });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, k) => pool.query('SELECT $1::int AS k', [k])));
    await pool.end();
    return answers.map((a) => a.rows[0].k);
  });
  await say('timeout', async () => { await c.query('SET statement_timeout = 200'); try { return shape(await c.query('SELECT pg_sleep(10)')); } finally { await c.query('RESET statement_timeout'); } });
  await say('bytes', async () => shape(await c.query("SELECT $1::bytea AS b", [Buffer.from([0, 1, 255])])));
  await say('empty', async () => shape(await c.query('')));
  await say('drop', async () => shape(await c.query('DROP TABLE nm')));
  await c.end();
})().catch((error) => { console.error(error); process.exit(1); });
