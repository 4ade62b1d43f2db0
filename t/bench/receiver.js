// The rows that the module stores, by Node.js and pg: a pool, one transaction
// a delivery, named (prepared) statements, one execution a row.
//
// PORT, POOL (its size) and pg's own PGHOST, PGPORT, PGUSER, PGPASSWORD and
// PGDATABASE come from the environment.
'use strict';

const crypto = require('crypto');
const http = require('http');
const { Pool } = require('pg');

const pool = new Pool({ max: Number(process.env.POOL) });

const KEY = 'account_id, channel_id, begin_at';

function statement(table, columns) {
  const values = columns.split(',').map((_, i) => `$${i + 1}`).join(', ');
  return {
    name: table,
    text: `INSERT INTO smartsupp_${table} (${columns}) VALUES (${values})`,
  };
}

const conversation = statement('conversation', `${KEY}, end_at, is_chat,
  is_missed, is_triggered, is_offline, is_completed, is_dropped, duration,
  avg_response, first_response, messages_count, words_count, rating,
  rating_desc, visitor_id, visitor_name, visitor_email, visitor_note,
  visitor_group, visitor_ip_address, visitor_city, visitor_country_code,
  visitor_country, visitor_user_agent, visitor_platform, visitor_referer,
  generation, warnings, message_rows, received_at, updated_at, body_sha256,
  body`);
const message = statement('message', `${KEY}, seq, type, name, sender_kind,
  sender_id, content, sent_at, triggered_by, email`);
const path = statement('path', `${KEY}, seq, url, title`);
const variable = statement('variable', `${KEY}, seq, name, label, value,
  value_type`);

function conversationRow(json, body) {
  const c = json.channel;
  const v = json.visitor || {};
  return [
    json.accountId, String(c.id), json.beginAt, json.endAt, c.isChat,
    c.isMissed, c.isTriggered, c.isOffline, c.isCompleted, c.isDropped,
    c.duration, c.avgResponse, c.firstResponse, c.messagesCount, c.wordsCount,
    c.rating, c.ratingDesc, v.id, v.name, v.email, v.note, v.group,
    v.ipAddress, v.city, v.countryCode, v.country, v.userAgent, v.platform,
    v.referer, 2, null, (json.messages || []).length, Date.now(), null,
    crypto.createHash('sha256').update(body).digest('hex'), body.toString(),
  ];
}

function messageRow(m) {
  const from = (m.from || 'unknown').split(/:(.*)/s);
  return [m.type, m.name, from[0], from[1], m.content, m.sentAt,
    m.triggeredBy, m.email];
}

function variableRow([name, v]) {
  const value = v.value === undefined ? null : v.value;
  return [name, v.label, value === null ? null : String(value),
    value === null ? 'null' : typeof value];
}

async function insertChildren(client, insert, key, rows) {
  for (let seq = 0; seq < rows.length; seq++) {
    await client.query({ ...insert, values: [...key, seq, ...rows[seq]] });
  }
}

async function store(body) {
  const json = JSON.parse(body);
  const row = conversationRow(json, body);
  const key = row.slice(0, 3);
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query({ ...conversation, values: row });
    await insertChildren(client, message, key,
      (json.messages || []).map(messageRow));
    await insertChildren(client, path, key,
      (json.paths || []).map((p) => [p.url, p.title]));
    await insertChildren(client, variable, key,
      Object.entries((json.visitor || {}).variables || {}).map(variableRow));
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

function answer(response, status, text) {
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  });
  response.end(text);
}

// GET tells how many deliveries are on their way.
let busy = 0;

const server = http.createServer((request, response) => {
  if (request.method === 'GET') {
    answer(response, 200, String(busy));
    return;
  }
  busy++;
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    store(Buffer.concat(pieces)).then(
      () => answer(response, 200, '{"result":"stored"}'),
      (error) => {
        console.error(error);
        answer(response, 500, '{}');
      }).then(() => busy--);
  });
});
server.keepAliveTimeout = 60000; // as httpd has it here
server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
