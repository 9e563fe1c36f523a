// Node clients against PGHOST, PGPORT, PGUSER, PGPASSWORD: "ok CLIENT: NAME" or "FAIL CLIENT: NAME: reason" a line.
import assert from 'node:assert';

const ssl = { rejectUnauthorized: false };
const to = { host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER,
  password: process.env.PGPASSWORD, database: 'revgauge', ssl };

async function attempt(client, name, work) {
  try { await work(); console.log(`ok ${client}: ${name}`); }
  catch (error) { console.log(`FAIL ${client}: ${name}: ${String(error.message).split('\n').join(' ').slice(0, 120)}`); }
}

const { default: pg } = await import('pg');
const client = new pg.Client(to);
await attempt('node-pg', 'connect over TLS', () => client.connect());
await attempt('node-pg', 'parameters', async () => {
  const { rows } = await client.query('select $1::int + 1 as n', [41]);
  assert.equal(rows[0].n, 42);
});
await attempt('node-pg', '= any($1)', async () => {
  const sql = 'select count(*)::int as n from information_schema.tables where table_name = any($1)';
  assert.equal((await client.query(sql, [['deals', 'scores']])).rows[0].n, 2);
});
await client.end();

const { default: postgres } = await import('postgres');
const sql = postgres(to);
await attempt('postgres.js', 'parameters', async () => {
  const [row] = await sql`select ${41}::int + 1 as n`;
  assert.equal(row.n, 42);
});
await sql.end();
