/**
 * AE-01 and PH-10 over the whole gateway, and the sequence of record and effect: the sink's log and ours agree call by call, both ways;
 * where a record cannot be made durable nothing leaves, or nothing is answered; no error tells what is behind the gateway.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { LedgerFault } from '../../src/audit/ledger.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ALL_SCOPES, ERAS, PEOPLE, TOOLS, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';
import type { Intercepted } from '../support/upstreams/sink.ts';
import { argumentsDigest as digest } from './arguments-digest.ts';

let rig: Rig;
let atConnect: (() => void) | null = null;
beforeAll(async () => {
  rig = await startRig({
    servers: { notes: {}, old: { era: 'legacy' }, stream: { answer: 'sse' } },
    wrap: (deps) => ({
      ...deps,
      pool: {
        ...deps.pool,
        connection: async (id, target) => {
          const connection = await deps.pool.connection(id, target);
          atConnect?.();
          return connection;
        },
      },
    }),
  });
});
afterAll(() => rig.stop());
afterEach(() => {
  atConnect = null;
  rig.faults.before = null;
  rig.faults.after = null;
  for (const server of ['notes', 'old', 'stream']) rig.sink(server).intercept(null);
});

/** What every server received, as server, tool and digest of arguments. */
const delivered = (on: Rig, servers: readonly string[]): readonly string[] =>
  servers
    .flatMap((server) =>
      on
        .sink(server)
        .calls()
        .map(({ message }) => {
          const params = message!['params'] as { name: string; arguments: JsonObject };
          return `${server} ${params.name} ${digest(params.arguments)}`;
        }),
    )
    .toSorted();

/** What the log says was sent: everything with an outcome that does not say otherwise. */
const recorded = (entries: readonly AuditEntry[]): readonly string[] =>
  entries
    .filter(({ call, outcome }) => call?.method === 'tools/call' && outcome && outcome.status !== 'not_dispatched')
    .map(({ call }) => `${call?.server} ${call?.tool} ${call?.args}`)
    .toSorted();

/** Seeded, so that a failure can be repeated (mulberry32). */
function random(seed: number): <T>(from: readonly T[]) => T {
  let state = seed;
  return (from) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return from[((t ^ (t >>> 14)) >>> 0) % from.length]!;
  };
}

describe('AE-01: the log and the servers tell the same story', () => {
  test('AE-01: 300 mixed calls reconcile one to one, both ways, and every answer has its entry', async () => {
    const servers = ['notes', 'old', 'stream'];
    const pick = random(20261122);
    const names = [...TOOLS.map(({ definition }) => definition['name'] as string), 'no_such_tool'];
    for (const server of servers) {
      let nth = 0;
      rig.sink(server).intercept(({ message }): Intercepted => {
        if (message?.['method'] !== 'tools/call') return null;
        nth++;
        if (nth % 11 === 0) return { status: 500 };
        return nth % 13 === 0 ? 'drop' : null;
      });
    }
    const ask = (n: number): Promise<Answer> => {
      const args: JsonObject = pick([
        { text: `call ${n}` },
        { text: `another ${n}` },
        { text: `third ${n}` },
        { text: `${n}`, count: 0 },
        { text: `call ${n}`, count: n },
        { text: n },
        { wrong: `call ${n}` },
      ]);
      const as = pick(['dana', 'dana', 'dora', 'omar', 'sven', 'aiko', 'petra']);
      const scopes = pick([ALL_SCOPES, ALL_SCOPES, ALL_SCOPES, ['notes:read']]);
      const era = pick(ERAS);
      return rig.call(pick(servers), pick(names), args, { as, era, scopes });
    };
    const answers: Answer[] = [];
    for (let batch = 0; batch < 10; batch++)
      answers.push(...(await Promise.all(Array.from({ length: 30 }, (_, i) => ask(batch * 30 + i)))));

    const entries = await rig.entries();
    const sent = delivered(rig, servers);
    expect(sent.length).toBeGreaterThan(50);
    expect(recorded(entries)).toEqual(sent);

    const byReference = Map.groupBy(entries, ({ ref }) => ref);
    const shapes = new Set<string>();
    for (const { reference, text } of answers) {
      const kinds = (byReference.get(reference) ?? []).map(({ kind }) => kind).join(' ');
      expect(['call', 'denial', 'intent outcome'], text).toContain(kinds);
      shapes.add(kinds);
    }
    expect(shapes.size).toBe(3);
    // Every outcome names its intent, every intent has one outcome.
    const intents = entries.filter(({ kind }) => kind === 'intent');
    expect(entries.filter(({ kind }) => kind === 'outcome')).toHaveLength(intents.length);
  });

  test('AE-01: an entry names person, agent, token, tool, definition, policy revision and risk', async () => {
    const token = rig.token('dana', { client: 'agent-7', claims: { jti: 'jti-7', act: { sub: 'orchestrator' } } });
    const answer = await rig.call('notes', 'read_note', { text: 'x' }, { token });
    const [entry] = await rig.about(answer.reference);
    expect(entry).toMatchObject({
      kind: 'call',
      node: 'rig-1',
      org: 'default',
      actor: {
        issuer: rig.issuer.issuer,
        subject: 'dana@corp',
        person: 'dana',
        client: 'agent-7',
        token: 'jti-7',
        chain: ['orchestrator'],
      },
      call: {
        era: 'modern',
        method: 'tools/call',
        server: 'notes',
        tool: 'read_note',
        args: digest({ text: 'x' }),
        definition: rig.gateway.snapshot().servers.get('notes')!.tools.get('read_note')!.approved!.digest,
        risk: 'read',
      },
      decision: {
        verdict: 'allow',
        reason: null,
        rules: ['baseline.developer'],
        revision: rig.view.revision,
        guard: null,
      },
      outcome: { status: 'ok', detail: null, result: digest(withoutReceipt(answer.result!)) },
    });
    expect(answer.result?.['_meta']).toMatchObject({
      'remit/reference': answer.reference,
      'remit/receipt': { log: 'remit/default/rig' },
    });
  });

  test('AE-01 twin: a call that goes past the gateway shows up as one the log does not know', async () => {
    const params = { name: 'read_note', arguments: { text: 'past' } };
    await fetch(rig.sink().url, {
      method: 'POST',
      headers: modernHeaders('tools/call', params),
      body: JSON.stringify(modernMessage('tools/call', params)),
    });
    const known = new Set(recorded(await rig.entries()));
    expect(delivered(rig, ['notes']).filter((one) => !known.has(one))).toEqual([
      `notes read_note ${digest({ text: 'past' })}`,
    ]);
  });
});

/** The result as its digest was made: before the receipt was added. */
function withoutReceipt(result: JsonObject): JsonObject {
  const { 'remit/receipt': _receipt, 'remit/reference': _reference, ...meta } = result['_meta'] as JsonObject;
  const { _meta, ...rest } = result;
  return Object.keys(meta).length === 0 ? rest : { ...rest, _meta: meta };
}

const failing = (kind: AuditEntry['kind'], error: Error): void => {
  rig.faults.before = (entry) => {
    if (entry.kind === kind) throw error;
  };
};
const LEDGER_FAULTS: ReadonlyArray<readonly [string, Error]> = [
  ['refuses', new LedgerFault('ledger_overloaded', 'queue of /var/lib/remit/ledger.db is full')],
  ['is broken', new LedgerFault('ledger_failed', 'EIO: i/o error, write at /var/lib/remit/ledger.db')],
  ['throws what it should not', new TypeError("Cannot read properties of undefined (reading 'db')")],
];

describe('record before effect', () => {
  test.each(LEDGER_FAULTS.flatMap((row) => ERAS.map((era) => [row[0], era, row[1]] as const)))(
    'the ledger %s at the intent (%s client): 503, and nothing reaches the server',
    async (_title, era, error) => {
      await rig.openSession('notes', rig.token('dana'));
      await rig.call('notes', 'read_note', { text: 'x' }, { era });
      const before = rig.sink().calls().length;
      failing('intent', error);
      const answer = await rig.call('notes', 'write_note', { text: 'x' }, { era });
      expect(answer.status).toBe(503);
      expect(answer.error).toMatchObject({ code: 5030 });
      expect(answer.error?.message).toContain('The gateway cannot record this call, so it does not make it.');
      expect(answer.headers['retry-after']).toBe('5');
      expect(answer.text).not.toMatch(/var\/lib|EIO|queue|undefined/);
      expect(rig.sink().calls()).toHaveLength(before);
    },
  );

  test.each(LEDGER_FAULTS)(
    'the ledger %s at the outcome: the server acted, the answer is withheld, the intent stands',
    async (_title, error) => {
      const before = rig.sink().calls().length;
      failing('outcome', error);
      const answer = await rig.call('notes', 'write_note', { text: 'PRIVATE' });
      expect(answer.status).toBe(503);
      expect(answer.text).not.toContain('PRIVATE');
      expect(rig.sink().calls()).toHaveLength(before + 1);
      expect((await rig.about(answer.reference)).map(({ kind }) => kind)).toEqual(['intent', 'denial']);
    },
  );

  test.each(LEDGER_FAULTS)(
    'the ledger %s at the one entry of a reading call or a list: the answer is withheld',
    async (_title, error) => {
      failing('call', error);
      for (const answer of [
        await rig.call('notes', 'read_note', { text: 'PRIVATE' }),
        await rig.ask('notes', 'tools/list', {}),
      ]) {
        expect(answer.status).toBe(503);
        expect(answer.text).not.toMatch(/PRIVATE|read_note/);
      }
    },
  );

  test('the ledger fails at a denial: still no, and no word of why', async () => {
    rig.faults.before = () => {
      throw LEDGER_FAULTS[1]![1];
    };
    const answer = await rig.call('notes', 'delete_note', { text: 'x' });
    expect(answer.status).toBe(503);
    expect(answer.result).toBeUndefined();
  });

  test('a mistake of ours between intent and dispatch leaves no intent without an outcome', async () => {
    let times = 0;
    atConnect = () => {
      if (++times === 1) throw new TypeError('undefined is not a function at dispatch (/srv/remit/src/x.ts:1:1)');
    };
    const before = rig.sink().calls().length;
    const answer = await rig.call('notes', 'write_note', { text: 'x' });
    expect(answer.text).toContain('Whether the call had an effect is unknown');
    expect(answer.text).not.toMatch(/\/srv\/|TypeError|undefined is not/);
    const entries = await rig.about(answer.reference);
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome']);
    expect(entries[1]?.outcome).toMatchObject({ status: 'failed', detail: 'unexpected' });
    expect(rig.sink().calls()).toHaveLength(before);
  });

  test('twin: a gateway that answers first and records afterwards has acted without a record', async () => {
    const open = await startRig({
      wrap: (deps) => ({
        ...deps,
        audit: { ...deps.audit, record: (entry) => deps.audit.record(entry).catch(() => ({ log: 'x', index: 0 })) },
      }),
    });
    try {
      open.faults.before = () => {
        throw LEDGER_FAULTS[1]![1];
      };
      const answer = await open.call('notes', 'write_note', { text: 'x' });
      expect(answer.status).toBe(200);
      expect(open.sink().calls()).toHaveLength(1);
      expect(await open.about(answer.reference)).toEqual([]);
    } finally {
      await open.stop();
    }
  });
});

const STACK = 'Error: connect to http://10.1.2.3:8080/internal failed\n    at Socket.connect (/srv/app/server.js:10:5)';
const FAULTS: ReadonlyArray<readonly [string, Intercepted]> = [
  ['400', { status: 400, body: STACK }],
  ['401', { status: 401, headers: { 'www-authenticate': 'Bearer realm="internal"' }, body: STACK }],
  ['403', { status: 403, body: STACK }],
  ['404', { status: 404, body: STACK }],
  ['429', { status: 429, headers: { 'retry-after': '99', 'x-internal': '10.1.2.3' }, body: STACK }],
  ['500', { status: 500, body: STACK }],
  ['502', { status: 502, headers: { server: 'internal-proxy/1.0' }, body: STACK }],
  ['a redirect', { status: 307, headers: { location: 'http://10.1.2.3:8080/internal' } }],
  ['a cut connection', 'drop'],
  ['HTML', { status: 200, headers: { 'content-type': 'text/html' }, body: `<pre>${STACK}</pre>` }],
  ['no JSON', { status: 200, headers: { 'content-type': 'application/json' }, body: STACK }],
  [
    'an event stream that breaks off',
    { status: 200, headers: { 'content-type': 'text/event-stream' }, body: 'data: {"jso' },
  ],
  [
    'another id',
    { status: 200, headers: { 'content-type': 'application/json' }, body: '{"jsonrpc":"2.0","id":"x","result":{}}' },
  ],
  ['an empty body', { status: 200, headers: { 'content-type': 'application/json' }, body: '' }],
  ['too much', { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.alloc(6_000_000, 0x20) }],
];

describe('PH-10: errors tell nothing of what is behind', () => {
  // A server that failed often enough in a row would be left alone for a while (RL-04).
  beforeEach(async () => {
    for (const server of ['notes', 'old', 'stream'])
      expect((await rig.call(server, 'read_note', { text: 'x' })).status).toBe(200);
  });

  /** What an answer must never hold, whatever went wrong. */
  const clean = (answer: Answer, on: Rig = rig): void => {
    const text = JSON.stringify(answer.headers) + answer.text;
    for (const server of ['notes', 'old', 'stream']) expect(text).not.toContain(new URL(on.sink(server).url).host);
    expect(text).not.toMatch(
      /10\.1\.2\.3|internal|server\.js|\.ts:|node:|at \w+ \(|Error:|ECONN|\bEIO\b|sqlite|baseline\.|remit-rig/i,
    );
    expect(text).not.toContain(on.dir);
    expect(text).not.toMatch(/\beyJ[\w-]{10,}\.|"eyJ/);
    expect(answer.headers['x-powered-by'] ?? answer.headers.server).toBeUndefined();
  };

  test.each(FAULTS.flatMap(([title, fault]) => ERAS.map((era) => [title, era, fault] as const)))(
    'PH-10: the server answers with %s (%s client)',
    async (_title, era, fault) => {
      for (const server of ['notes', 'old', 'stream']) {
        rig.sink(server).intercept(({ message }) => (message?.['method'] === 'tools/call' ? fault : null));
        const answer = await rig.call(server, 'write_note', { text: 'x' }, { era });
        clean(answer);
        expect(answer.result?.['isError']).toBe(true);
        expect(answer.reference).toMatch(/^call_/);
        const [, outcome] = await rig.about(answer.reference);
        expect(['failed', 'not_dispatched', 'withheld']).toContain(outcome?.outcome?.status);
        expect(JSON.stringify(outcome)).not.toMatch(/10\.1\.2\.3|server\.js/);
      }
    },
  );

  test('PH-10: a JSON-RPC error of the server is told by its code alone', async () => {
    for (const server of ['notes', 'old', 'stream']) {
      rig.sink(server).intercept(({ message }) => {
        if (message?.['method'] !== 'tools/call') return null;
        const error = { code: -32603, message: STACK, data: { url: 'http://10.1.2.3:8080/internal' } };
        return {
          status: 200,
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ jsonrpc: '2.0', id: message['id'], error }),
        };
      });
      const answer = await rig.call(server, 'write_note', { text: 'x' });
      clean(answer);
      expect(answer.text).toContain('The server answered with an error (code -32603).');
    }
  });

  test('PH-10: a server that is gone, refusals of every kind, and unreadable requests', async () => {
    const authorization = `Bearer ${rig.token('dana')}`;
    const answers = [
      await rig.post('notes', 'x'),
      await rig.post('notes', '{', { authorization }),
      await rig.post('notes', '[]', { authorization }),
      await rig.post('notes', 'x'.repeat(1_200_000), { authorization }),
      await rig.send('GET', rig.endpoint('notes'), { authorization }),
      await rig.send('TRACE', rig.endpoint('notes'), { authorization }),
      await rig.send('GET', '/'),
      await rig.send('GET', '/.well-known/oauth-protected-resource/x'),
      await rig.send('POST', rig.endpoint('notes'), { Host: 'evil' }, '{}'),
      ...(await Promise.all(Object.keys(PEOPLE).map((as) => rig.call('notes', 'delete_note', { text: 'x' }, { as })))),
      await rig.call('notes', 'read_note', { text: 7 }),
      await rig.call('notes', 'write_note', { text: 'x' }, { scopes: [] }),
    ];
    for (const answer of answers) clean(answer);
    await rig.sink('stream').close();
    const gone = await rig.call('stream', 'write_note', { text: 'x' });
    clean(gone);
    expect(gone.result?.['isError']).toBe(true);
  });

  test.each(['down', 'garbage'] as const)(
    'PH-10: an issuer whose keys are %s: 503, and nothing of it but the metadata',
    async (mode) => {
      const own = await startRig({ servers: { notes: {}, old: {}, stream: {} } });
      try {
        own.issuer.setMode(mode);
        const answer = await own.call('notes', 'read_note', { text: 'x' });
        expect(answer.status).toBe(503);
        clean(answer, own);
        expect(answer.text).not.toContain(new URL(own.issuer.issuer).host);
        expect(own.sink().calls()).toHaveLength(0);
      } finally {
        await own.stop();
      }
    },
  );

  test('PH-10 twin: a relay that passes the server’s error on shows its address and stack', async () => {
    rig.sink().intercept(() => ({ status: 500, body: STACK }));
    const response = await fetch(rig.sink().url, { method: 'POST', body: '{}' });
    expect(await response.text()).toMatch(/10\.1\.2\.3.*\n.*server\.js/);
  });
});
