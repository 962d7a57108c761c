/**
 * AN-12: the credential that the gateway holds for a server reaches that server as its header and nobody else: no answer, list, error,
 * log line, API page, entry of the log or file of the installation. Canaries are unique; everything that comes out is searched for them.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERAS, startRig } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

const CANARY = { env: 'canary-env-4f1c9ad2e7b84b0d', file: 'canary-file-b95e0c6f7a2d41e3' } as const;
const NAME = 'REMIT_TEST_CANARY';

let rig: Rig;
let folder: string;
const answers: Answer[] = [];
const keep = async (asked: Promise<Answer>): Promise<Answer> => {
  const answer = await asked;
  answers.push(answer);
  return answer;
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'remit-canary-'));
  writeFileSync(join(folder, 'secret'), `${CANARY.file}\n`, { mode: 0o600 });
  process.env[NAME] = CANARY.env;
  const headers = [
    { name: 'X-Api-Key', value: { secret: `env:${NAME}` } },
    { name: 'Authorization', value: { secret: `file:${join(folder, 'secret')}` } },
  ];
  rig = await startRig({
    admin: true,
    servers: {
      notes: { upstream: { headers } },
      old: { era: 'legacy', upstream: { headers } },
      stream: { answer: 'sse', upstream: { headers } },
    },
  });
});
afterAll(async () => {
  await rig.stop();
  delete process.env[NAME];
  rmSync(folder, { recursive: true, force: true });
});

/** Everything anybody outside the server could read. */
const outside = (): string =>
  [...answers.map(({ headers, text }) => JSON.stringify(headers) + text), JSON.stringify(rig.logged), rig.disk()].join(
    '\n',
  );

test('AN-12: every request to the server carries the credential as its header', async () => {
  for (const server of ['notes', 'old'])
    for (const era of ERAS) {
      await keep(rig.call(server, 'read_note', { text: 'x' }, { era }));
      await keep(rig.call(server, 'write_note', { text: 'x' }, { era }));
      await keep(rig.ask(server, 'tools/list', {}, { era }));
      const { received } = rig.sink(server);
      for (const { headers } of received) {
        expect(headers['x-api-key']).toBe(CANARY.env);
        expect(headers['authorization']).toBe(CANARY.file);
      }
    }
});

test('AN-12: no body, query or path to the server carries it', () => {
  for (const server of ['notes', 'old', 'stream'])
    for (const { body, path } of rig.sink(server).received)
      for (const canary of Object.values(CANARY)) expect(body + path).not.toContain(canary);
});

test.each([
  ['401', { status: 401, body: `no: ${CANARY.env}` }],
  ['403 that repeats the headers', { status: 403, headers: { 'x-echo': CANARY.env }, body: CANARY.file }],
  ['500 with a stack', { status: 500, body: `Error: ${CANARY.file} at connect (x-api-key=${CANARY.env})` }],
  ['redirect that carries it', { status: 302, headers: { location: `http://127.0.0.1:1/?k=${CANARY.env}` } }],
  ['page of HTML', { status: 200, headers: { 'content-type': 'text/html' }, body: `<p>${CANARY.env}</p>` }],
  [
    'JSON-RPC error whose text is the credential',
    {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -1, message: CANARY.env, data: CANARY.file } }),
    },
  ],
] as const)('AN-12: a server that answers a call with a %s does not get it into the answer', async (_title, fault) => {
  for (const server of ['notes', 'old']) {
    rig.sink(server).intercept((request) => {
      if (request.message?.['method'] !== 'tools/call') return null;
      const body = 'body' in fault ? fault.body.replace('"id":1', `"id":${JSON.stringify(request.message['id'])}`) : '';
      return { ...fault, body };
    });
    for (const era of ERAS) {
      const answer = await keep(rig.call(server, 'write_note', { text: 'x' }, { era }));
      expect(answer.status).toBe(200);
      expect(answer.result?.['isError']).toBe(true);
      for (const canary of Object.values(CANARY)) expect(JSON.stringify(answer)).not.toContain(canary);
    }
    rig.sink(server).intercept(null);
  }
});

test.each(['notes', 'old', 'stream'])(
  'AN-12: a tool of %s that echoes the headers of its request does not get them into a result, a list or the log',
  async (server) => {
    const sink = rig.sink(server);
    for (const echoed of [CANARY.env, `Bearer ${CANARY.file}`, `{"x-api-key":"${CANARY.env}"}`]) {
      sink.onCall(() => ({ content: [{ type: 'text', text: `you sent ${echoed}` }] }));
      for (const [tool, era] of [
        ['read_note', 'modern'],
        ['write_note', 'legacy'],
      ] as const) {
        const answer = await keep(rig.call(server, tool, { text: 'x' }, { era }));
        expect(answer.result?.['isError']).toBe(true);
        expect(answer.text).toContain('The server did not give a usable answer.');
      }
    }
    sink.onCall(() => ({ content: [] }));
    expect((await rig.call(server, 'read_note', { text: 'x' })).result?.['isError'] ?? false).toBe(false);
  },
);

test('AN-12: neither do a dead server, a secret that is gone, and a lost session', async () => {
  for (const fault of ['drop', { status: 404 }] as const) {
    rig.sink('old').intercept(({ message }) => (message?.['method'] === 'tools/call' ? fault : null));
    await keep(rig.call('old', 'write_note', { text: 'x' }));
  }
  rig.sink('old').intercept(null);
  delete process.env[NAME];
  await rig.setServer('notes', { title: 'The notes, renamed' });
  const answer = await keep(rig.call('notes', 'write_note', { text: 'x' }));
  expect(answer.text).toMatch(/cannot be reached, so nothing was sent\.|is left alone for \d+ s\. Nothing was sent\./);
  process.env[NAME] = CANARY.env;
});

test('AN-12: the admin API shows the reference and never the value', async () => {
  const paths = [
    '/me',
    '/openapi.json',
    '/status',
    '/people',
    '/people/dana',
    '/servers',
    '/servers/notes',
    '/servers/notes/tools',
    '/servers/notes/tools/read_note',
    '/policies',
    '/locks',
    '/approvals',
    '/audit/entries?limit=500',
    '/audit/entries/5',
    '/audit/export?start=0',
    '/audit/checkpoint',
    '/audit/status',
    '/changes',
    '/history/server/notes',
  ];
  const shown = new Map<string, boolean>();
  for (const path of paths)
    for (const person of ['ada', 'omar', 'aiko', 'sven']) {
      const { status } = await keep(rig.admin(person, 'GET', path));
      shown.set(path, shown.get(path) === true || status === 200);
    }
  expect([...shown].filter(([, ok]) => !ok)).toEqual([]);
  expect((await rig.admin('ada', 'GET', '/servers/notes')).text).toContain(`env:${NAME}`);
  const refresh = await keep(rig.admin('ada', 'POST', '/servers/notes/refresh'));
  expect(refresh.status).toBeLessThan(500);
});

test('AN-12: after all of that no canary is in any answer, log line, entry, or file of the installation', async () => {
  expect(answers.length).toBeGreaterThan(50);
  expect((await rig.entries()).length).toBeGreaterThan(20);
  const everything = outside();
  for (const canary of Object.values(CANARY))
    for (const spelling of [
      canary,
      Buffer.from(canary).toString('base64').slice(0, 20),
      Buffer.from(canary).toString('hex'),
    ])
      expect(everything).not.toContain(spelling);
});

test('AN-12 twin: the search finds a credential that stands in a record, as gateways with literal headers keep it', async () => {
  await rig.commit([{ kind: 'note', org: 'default', id: 'twin', body: { headers: { 'X-Api-Key': CANARY.env } } }]);
  expect(outside()).toContain(CANARY.env);
});
